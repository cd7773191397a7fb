"""When, in a deploy or a rotation, who checks a secret is told of the version that containers will have. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ops.core.plan import Step
from ops.secrets.steps import HandOver, VerifySecret
from ops.secrets.table import BY_API, BY_FILE, OWNERS, TARGETS, UNTRIED, Target
from ops.stack.model import Account, Seen, Service, Stack
from ops.stack.wanted import Wanted

FIRST = (1,)
"""What is accepted where nothing was ever told: who checks a secret has taken up the first version by itself."""


def accepted(seen: Seen, secret: str) -> tuple[int, ...]:
    return seen.accepted.get(secret, FIRST)


def told(wanted: Wanted, seen: Seen, service: Service) -> tuple[HandOver, ...]:
    """Whom to tell the secrets of a service between its old container and its new one.

    Where the service needs the one who checks it, each time: a command that was killed may have given it another password, or
    somebody else has. Else only where that is known not to accept it, so that a container is not kept from starting by another
    one that is down. A client, which exists only once the realm does, is told of a change.
    """
    if service.rolls:
        return ()
    last = (seen.release or {}).get("secrets", {})

    def due(name: str, kind: str) -> bool:
        if kind == "client":
            return bool(last.get(name, wanted.versions[name]) != wanted.versions[name])
        return OWNERS[kind] in service.needs or accepted(seen, name) != (wanted.versions[name],)

    return tuple(
        HandOver(f"hand {name}", f"set the secret of {account}", secret=name, version=wanted.versions[name], to=str(account))
        for name, account in service.credentials.items() if due(name, account.kind)
    )  # fmt: skip


def moves_back(wanted: Wanted, target: Target) -> bool:
    """Whether the way back to a release tells who checks a secret, as it replaces the containers that log in with it."""
    running = set(wanted.slots())
    return target.kind != "client" and any(
        target.secret in service.credentials and running.intersection(service.slots())
        for service in wanted.stack.services.values()
    )


def present(owner: Service, versions: Mapping[str, int]) -> list[HandOver]:
    """Set the present secrets at a service that verifies them: after a restore or an undo its data holds those of another time.

    Parameters
    ----------
    versions: secret -> present version. Those that the service takes up by itself whenever it starts are left to it.
    """
    return [
        HandOver(one.to, f"set the current secret of {one.to}", secret=one.secret, version=version, to=one.to)
        for one in TARGETS
        if one.owner == owner.name and one.secret in owner.late_secrets and one.kind not in BY_API
        and (version := versions.get(one.secret))
    ]  # fmt: skip


def verified(
    stack: Stack, owners: Iterable[str], versions: Mapping[str, int], retired: Mapping[str, int]
) -> list[VerifySecret]:  # fmt: skip
    """Log in with every present secret of these services, and see its retired version refused."""
    names = set(owners)
    return [
        VerifySecret(
            f"verify {one.secret}", f"verify that {one.to} can log in", secret=one.secret,
            version=versions[one.secret], to=one.to, before=retired.get(one.secret, 0),
        )
        for one in TARGETS
        if one.to and one.kind not in UNTRIED and one.owner in names and one.secret in stack.secrets and one.secret in versions
    ]  # fmt: skip


def after(steps: Iterable[HandOver], keys: Iterable[str]) -> list[Step]:
    """The steps behind these keys, and behind the start of whom they tell."""
    waits = tuple(keys)

    def checker(step: HandOver) -> tuple[str, ...]:
        kind = Account.parse(step.to).kind
        return () if kind in BY_FILE else (f"healthy {OWNERS[kind]}",)

    return [replace(step, after=(*waits, *checker(step))) for step in steps]


def beside(wanted: Wanted, seen: Seen, service: Service) -> list[HandOver]:
    """What is told before the first container of a service that is replaced one by one: the old version goes on to work."""
    return [
        HandOver(
            f"hand {name}", f"set the new secret of {account} (the old one stays valid)", secret=name,
            version=wanted.versions[name], to=str(account), beside=max(accepted(seen, name), default=0),
        )
        for name, account in service.credentials.items()
        if service.rolls and wanted.versions[name] not in accepted(seen, name)
    ]  # fmt: skip


def settled(wanted: Wanted, seen: Seen, service: Service, keys: Iterable[str]) -> list[Step]:
    """What is told once all of them have the new version: the old one is refused from then on."""
    waits = tuple(keys)
    return [
        HandOver(
            f"settle {name}", f"revoke the old secret of {account}", waits, secret=name,
            version=wanted.versions[name], to=str(account), settles=True,
        )
        for name, account in service.credentials.items()
        if service.rolls and accepted(seen, name) != (wanted.versions[name],)
    ]  # fmt: skip
