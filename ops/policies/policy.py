"""What a policy is: a named check of the compose file, which results in violations."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

Key = TypeVar("Key", bound=Hashable)
Compose = Mapping[str, Any]
Violation = tuple[str, str, str]
"""(service or section, what is wrong, how to correct it)"""
Check = Callable[[Compose], Iterator[Violation]]
ServiceCheck = Callable[[str, Mapping[str, Any]], Iterator[tuple[str, str]]]


@dataclass(frozen=True)
class Problem:
    policy: str
    where: str
    what: str
    why: str
    advice: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} [{self.policy}]\n   why: {self.why}\n   advice: {self.advice}"


@dataclass(frozen=True)
class Policy:
    """One policy. `number`: of its control; never reused. `why`: the risk where it is violated."""

    name: str
    number: str
    title: str
    why: str
    check: Check

    def __call__(self, compose: Compose) -> list[Problem]:
        return [Problem(self.name, where, what, self.why, advice) for where, what, advice in self.check(compose)]


POLICIES: dict[str, Policy] = {}


def policy(number: str, title: str, *, why: str) -> Callable[[Check], Policy]:
    """Register a check of the whole file under its function's name."""

    def register(check: Check) -> Policy:
        POLICIES[check.__name__] = Policy(check.__name__, number, title, why, check)
        return POLICIES[check.__name__]

    return register


def service_policy(number: str, title: str, *, why: str) -> Callable[[ServiceCheck], Policy]:
    """Register a check of each service, which yields what is wrong and how to correct it."""

    def register(check: ServiceCheck) -> Policy:
        def every_service(compose: Compose) -> Iterator[Violation]:
            for name, service in services(compose):
                yield from ((name, what, advice) for what, advice in check(name, service))

        every_service.__name__ = check.__name__
        return policy(number, title, why=why)(every_service)

    return register


def problems(compose: Compose) -> list[Problem]:
    """All violations of all policies."""
    return [problem for check in POLICIES.values() for problem in check(compose)]


def services(compose: Compose) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield from (compose.get("services") or {}).items()


def own(service: Mapping[str, Any]) -> Mapping[str, Any]:
    """The keys of a service beyond the compose specification."""
    return service.get("x-cc03") or {}


def exempt(service: Mapping[str, Any], subject: str) -> bool:
    return subject in (own(service).get("exempt") or {})


def shared(owned: Iterable[tuple[Key, str]]) -> Iterator[tuple[Key, list[str]]]:
    """Each thing (a uid, a volume) that has several owners, with these in their order."""
    owners: dict[Key, dict[str, None]] = defaultdict(dict)
    for thing, owner in owned:
        owners[thing][owner] = None
    yield from ((thing, list(names)) for thing, names in owners.items() if len(names) > 1)


def tmpfs(service: Mapping[str, Any]) -> Iterator[tuple[str, set[str]]]:
    """Each tmpfs with its options."""
    yield from ((str(mount), set(re.split("[:,]", str(mount)))) for mount in service.get("tmpfs") or ())
