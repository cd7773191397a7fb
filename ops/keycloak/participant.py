"""Keycloak as a part of a deploy: its realm is applied, and its database is dumped before a newer Keycloak migrates it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ops.core.plan import Change, Plan, Step
from ops.deploy.participant import Participant, Read, Rules
from ops.deploy.steps import AwaitHealthy
from ops.keycloak.realm.declaration import read_realm
from ops.keycloak.realm.plan import losses, plan_realm
from ops.keycloak.realm.steps import ApplyRealm
from ops.releases.steps import seals
from ops.secrets.steps import GenerateSecret
from ops.stack.model import EDGE, Seen
from ops.stack.wanted import Wanted

SERVICE = "keycloak"
ONLY = "realm"
"""What stands for `nothing but the realm` where a deploy takes the name of one service."""


def _concerns(only: str | None) -> bool:
    return only in (None, ONLY, SERVICE)


class Keycloak(Participant):
    @contextmanager
    def reading(self, project: Any, wanted: Wanted, only: str | None) -> Iterator[Read]:
        from ops.keycloak.realm.live import observed_realm

        with observed_realm(project, wanted.realm if _concerns(only) else "") as realm:
            yield lambda wanted, seen: replace(seen, realm=realm(wanted.versions))

    def applied(self, wanted: Wanted, seen: Seen, only: str | None) -> Mapping[str, Step]:
        steps = _realm_steps(wanted, seen) if _concerns(only) else []
        return {SERVICE: steps[0]} if steps else {}

    def applied_after(self, wanted: Wanted, steps: Iterable[Step]) -> Sequence[Step]:
        return _gates(wanted, steps)

    def losses(self, wanted: Wanted, seen: Seen, only: str | None) -> Sequence[str]:
        return _losses(wanted, seen) if _concerns(only) else ()

    def changes(self, steps: Iterable[Step]) -> Sequence[Change]:
        return [
            Change(
                SERVICE, "apply",
                f"its realm is not as declared ({len(step.changes)})" if step.changes else "its realm may not be as declared",
            )
            for step in steps if isinstance(step, ApplyRealm)
        ]  # fmt: skip

    def completed(self, project: Any, plan: Plan, wanted: Wanted, seen: Seen, rules: Rules) -> Plan:
        from ops.keycloak.schema.observed import with_schema

        return with_schema(project, plan, wanted, seen, rules, wanted.number or 0)


def _gates(wanted: Wanted, steps: Iterable[Step]) -> list[Step]:
    """What has to be done before the realm is applied. The admin API is reached through nginx: both have to be healthy."""
    return [
        step for step in steps
        if isinstance(step, GenerateSecret) or seals(step)
        or (isinstance(step, AwaitHealthy) and _leads_to_it(wanted, step.slot))
    ]  # fmt: skip


def _realm_steps(wanted: Wanted, seen: Seen) -> list[ApplyRealm]:
    """None where the live realm is as declared. Where it is not known yet, what is to be done is found out when it is done."""
    if not wanted.realm:
        return []
    declaration = read_realm(wanted.realm)
    versions = {name: wanted.versions[name] for name in sorted(declaration.secrets) if name in wanted.versions}
    if seen.realm is None:
        title = f"apply realm {declaration.name} once Keycloak is healthy"
        return [ApplyRealm("realm", title, realm=wanted.realm, versions=versions, deletions=bool(declaration.prune))]
    changes = plan_realm(declaration, seen.realm)
    if not changes:
        return []
    number = len(changes)
    title = f"apply realm {declaration.name}: {number} change{'s' if number > 1 else ''}"
    return [ApplyRealm(
        "realm", title, realm=wanted.realm, changes=tuple(one.described() for one in changes), versions=versions,
        deletions=bool(losses(changes, declaration.name)),
    )]  # fmt: skip


def _leads_to_it(wanted: Wanted, slot: str) -> bool:
    edge = wanted.stack.services.get(EDGE)
    through = {*edge.reserved_slots(), edge.shares} if edge else set()
    return slot == SERVICE or slot in through


def _losses(wanted: Wanted, seen: Seen) -> tuple[str, ...]:
    """What applying the realm deletes, for whoever has to confirm it."""
    if not wanted.realm:
        return ()
    declaration = read_realm(wanted.realm)
    if seen.realm is not None:
        return losses(plan_realm(declaration, seen.realm), declaration.name)
    if not declaration.prune or seen.release is None:
        return ()
    return (f"whatever realm {declaration.name} has of the kinds under `prune` ({', '.join(declaration.prune)})",)
