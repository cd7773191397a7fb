"""What a policy is: a named function that reads the compose mapping and lists what it objects to."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ops.stack.value_types import memory_bytes

Compose = Mapping[str, Any]
Finding = tuple[str, str, str]
"""(service or section, what is wrong, how to mend it)"""


@dataclass(frozen=True)
class Problem:
    policy: str
    where: str
    what: str
    why: str
    cure: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} [{self.policy}]\n   why: {self.why}\n  cure: {self.cure}"


@dataclass(frozen=True)
class Policy:
    """One rule. `why`: what goes wrong in production without it."""

    name: str
    why: str
    findings: Callable[[Compose], Iterator[Finding]]

    def __call__(self, compose: Compose) -> list[Problem]:
        return [Problem(self.name, where, what, self.why, cure) for where, what, cure in self.findings(compose)]


POLICIES: dict[str, Policy] = {}


def policy(why: str) -> Callable[[Callable[[Compose], Iterator[Finding]]], Policy]:
    """Register a policy under its function's name."""

    def register(findings: Callable[[Compose], Iterator[Finding]]) -> Policy:
        POLICIES[findings.__name__] = Policy(findings.__name__, why, findings)
        return POLICIES[findings.__name__]

    return register


def problems(compose: Compose) -> list[Problem]:
    """What all policies object to."""
    return [problem for check in POLICIES.values() for problem in check(compose)]


def services(compose: Compose) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield from (compose.get("services") or {}).items()


def own(service: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the deployer reads of a service beside the compose specification."""
    return service.get("x-cc03") or {}


def exempt(service: Mapping[str, Any], subject: str) -> bool:
    return subject in (own(service).get("exempt") or {})


def executable(mount: Any) -> bool:
    """Whether a tmpfs is declared to hold programs: the deployer mounts all others `noexec`."""
    return "exec" in re.split("[:,]", str(mount))


def limits(service: Mapping[str, Any]) -> Mapping[str, Any]:
    resources = (service.get("deploy") or {}).get("resources") or {}
    return resources.get("limits") or {}


def pairs(value: Any) -> Iterator[tuple[str, str]]:
    """Environment or labels in either of compose's forms: a mapping, or a list of NAME=value."""
    if isinstance(value, Mapping):
        yield from ((str(name), "" if content is None else str(content)) for name, content in value.items())
    else:
        for line in value or ():
            name, _, content = str(line).partition("=")
            yield name, content


def size(value: Any) -> int | None:
    """Bytes of `512m` or the like; None for what is no amount."""
    try:
        return memory_bytes(value)
    except ValueError:
        return None
