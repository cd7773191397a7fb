"""The realm as a part of a deploy: whether it has to be applied, when, and what that means. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ops.core.plan import Step
from ops.deploy.steps import AwaitHealthy
from ops.keycloak.realm.declaration import read_realm
from ops.keycloak.realm.plan import losses, plan_realm
from ops.keycloak.realm.steps import ApplyRealm
from ops.releases.steps import seals
from ops.secrets.steps import GenerateSecret
from ops.stack.model import EDGE, Seen
from ops.stack.wanted import Wanted

STEP = "realm"
"""Key of the step; who needs Keycloak is started after it (`container_steps`)."""
SERVICE = "keycloak"
ONLY = "realm"
"""What stands for `nothing but the realm` where a deploy takes the name of one service."""


def realm_steps(wanted: Wanted, seen: Seen, steps: Iterable[Step]) -> list[ApplyRealm]:
    """None where the live realm is as declared. Where it is not known yet, what is to be done is found out when it is done.

    Parameters
    ----------
    steps: those of the rest of the plan. The admin API is reached through nginx, so that both have to be healthy before.
    """
    if not wanted.realm:
        return []
    declaration = read_realm(wanted.realm)
    gates = [
        step.key for step in steps
        if isinstance(step, GenerateSecret) or seals(step)
        or (isinstance(step, AwaitHealthy) and _leads_to_it(wanted, step.slot))
    ]  # fmt: skip
    versions = {name: wanted.versions[name] for name in sorted(declaration.secrets) if name in wanted.versions}
    if seen.realm is None:
        title = f"apply realm {declaration.name} once Keycloak is healthy"
        return [ApplyRealm(STEP, title, tuple(gates), realm=wanted.realm, versions=versions, deletions=bool(declaration.prune))]
    changes = plan_realm(declaration, seen.realm)
    if not changes:
        return []
    number = len(changes)
    title = f"apply realm {declaration.name}: {number} change{'s' if number > 1 else ''}"
    return [ApplyRealm(
        STEP, title, tuple(gates), realm=wanted.realm, changes=tuple(one.described() for one in changes), versions=versions,
        deletions=bool(losses(changes, declaration.name)),
    )]  # fmt: skip


def _leads_to_it(wanted: Wanted, slot: str) -> bool:
    edge = wanted.stack.services.get(EDGE)
    through = {*edge.reserved_slots(), edge.shares} if edge else set()
    return slot == SERVICE or slot in through


def realm_losses(wanted: Wanted, seen: Seen) -> tuple[str, ...]:
    """What applying the realm deletes, for whoever has to confirm it."""
    if not wanted.realm:
        return ()
    declaration = read_realm(wanted.realm)
    if seen.realm is not None:
        return losses(plan_realm(declaration, seen.realm), declaration.name)
    if not declaration.prune or seen.release is None:
        return ()
    return (f"whatever realm {declaration.name} has of the kinds under `prune` ({', '.join(declaration.prune)})",)
