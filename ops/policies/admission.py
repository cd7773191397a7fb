"""What a release would loosen: policies that its compose.yaml violates, and exemptions that the running release lacks. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ops.core.errors import OpsError
from ops.core.plan import Plan
from ops.policies import Compose, problems
from ops.stack.model import Stack

FLAG = "--accept-policy-violations"


def violations(compose: Compose) -> tuple[str, ...]:
    """A line for each policy violation of compose.yaml."""
    return tuple(f"{one.where}: {one.what} [{one.policy}]; {one.advice}" for one in problems(compose))


def exemptions(stack: Stack) -> Mapping[tuple[str, str], str]:
    """(service, subject) -> reason, of every exemption that compose.yaml declares."""
    return {
        (name, subject): str(reason)
        for name, service in stack.services.items()
        for subject, reason in ((service.definition.get("x-cc03") or {}).get("exempt") or {}).items()
    }


def new_exemptions(stack: Stack, running: Stack | None) -> tuple[str, ...]:
    """Exemptions that the running release does not have; none where nothing runs yet."""
    known = exemptions(running) if running else exemptions(stack)
    return tuple(
        f"{service}: {subject}: {reason}"
        for (service, subject), reason in exemptions(stack).items()
        if (service, subject) not in known
    )


def refuse_violations(plan: Plan, accepted: bool) -> None:
    """Raises OpsError for a plan whose release violates policies, unless the operator has accepted that."""
    if not plan.violations or accepted:
        return
    count = len(plan.violations)
    raise OpsError(
        f"{count} policy {'violation' if count == 1 else 'violations'} in compose/compose.yaml; nothing was changed",
        plan.violations[0],
        f"correct it, or accept all of them, which is entered into the audit log: inv {plan.verb} … {FLAG}",
        plan.violations[1:],
    )
