"""The plan of a release with new versions of secrets, and what no release says: who is told, and that it is verified. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ops.backup.steps import ExportKey, NoteExported
from ops.core.plan import Plan, Step
from ops.releases.steps import seals
from ops.secrets.steps import GenerateSecret, HandOver, ProveLogin, VerifySecret
from ops.secrets.table import BY_API, UNTRIED, Target
from ops.secrets.verifying import accepted
from ops.stack.model import Account, Seen
from ops.stack.wanted import Wanted

CIPHER = "backup-cipher"


def version_for(target: Target, numbers: Sequence[int], taken: Sequence[int], running: int, known: Sequence[int] | None) -> int:
    """The version that a rotation makes; the newest one again, where a rotation to it was broken off.

    Parameters
    ----------
    numbers: versions in the state folder. taken: those and all that were taken back: a number is never used twice.
    running: that of the release that runs. known: what is surely accepted; None where nobody was ever told.
    """
    newest = max(numbers, default=0)
    begun = newest and running != newest
    unsettled = known is not None and tuple(known) != (newest,)
    if begun or unsettled:
        return newest
    fresh = max(taken, default=0) + 1
    # The version says which role of the pair it belongs to, and that must not be the one in use.
    return fresh + 1 if target.kind == "pair" and (fresh - newest) % 2 == 0 else fresh


@dataclass(frozen=True)
class Rotation:
    """A secret on its way to a new version.

    before: the one that must be refused afterwards. again: whether one that was killed is gone on with, wherever it was.
    """

    target: Target
    version: int
    before: int = 0
    again: bool = False

    def is_done(self, seen: Seen) -> bool:
        """Whether that version alone is accepted, as far as the state folder knows."""
        return not self.again and accepted(seen, self.target.secret) == (self.version,)


def rotations(plan: Plan, seen: Seen, wanted: Wanted, changes: Sequence[Rotation]) -> Plan:
    """A plan with what these secrets take besides: told, seen to let each container in, the old ones refused, and verified."""
    left = [one for one in changes if not one.is_done(seen)]
    if not left:
        return plan
    steps = list(plan.steps)
    for one in left:
        steps = _given(steps, seen, one.target, one.version)
    settling = {step.key for step in steps if isinstance(step, HandOver) and step.settles}
    late = settling | {step.key for step in steps if settling.intersection(step.after_keys)}
    early = [step for step in steps if step.key not in late]
    shown = _proofs(wanted, [one.target.secret for one in left], tuple(step.key for step in early))
    gates = tuple(step.key for step in shown)
    steps = [*early, *shown] + [
        replace(step, after=(*step.after, *gates)) if step.key in settling else step for step in steps if step.key in late
    ]
    everything = tuple(step.key for step in steps)
    for one in left:
        if one.target.kind in UNTRIED:
            continue
        # Keycloak refuses a login of a user while another one of the same user is under way: there one comes after the other.
        after = (*everything, *_before_in_keycloak(steps, one.target, VerifySecret))
        title = f"verify that {one.target.to} can log in with the new secret only"
        steps.append(VerifySecret(f"verify {one.target.secret}", title, after, secret=one.target.secret, version=one.version,
                                  to=one.target.to, before=one.before))  # fmt: skip
    return replace(plan, steps=tuple(steps), destroys=(*plan.destroys, *(one.target.destroys for one in left)))


def _proofs(wanted: Wanted, secrets: Sequence[str], after: tuple[str, ...]) -> list[Step]:
    """Containers that log in with one of them show that they are let in."""
    running = set(wanted.slots())
    return [
        ProveLogin(f"prove {secret} in {slot}", f"verify that {slot} can log in with {secret}", after, slot=slot, secret=secret,
                   argv=(*service.login_check, secret))
        for secret in secrets
        for service in wanted.stack.services.values()
        if service.login_check and secret in service.credentials and service.credentials[secret].kind not in UNTRIED
        for slot in service.slots() if slot in running
    ]  # fmt: skip


def with_export(plan: Plan, path: str, changes: Sequence[Rotation]) -> Plan:
    """The plan of a rotation in which the new key of the repositories is in a file before anything uses it: this host may be
    lost at any moment.

    Parameters
    ----------
    path: of a file that does not exist yet, or was written by the same rotation before it was killed.
    """
    change = next(one for one in changes if one.target.secret == CIPHER)
    made = tuple(step.key for step in plan.steps if isinstance(step, GenerateSecret) and step.name == CIPHER)
    export = ExportKey("export", f"write the new key of the repositories to {path}", made, path=path, before=change.before,
                       version=change.version)  # fmt: skip
    used = [replace(step, after=(*step.after, export.key)) if _uses_cipher(step) else step for step in plan.steps]
    place = 1 + next((number for number, step in enumerate(used) if step.key in made), -1)
    everything = (*(step.key for step in used), export.key)
    noted = NoteExported("exported", "note that it was exported", everything)
    return replace(plan, steps=(*used[:place], export, *used[place:], noted))


def _uses_cipher(step: Step) -> bool:
    return seals(step) or (isinstance(step, HandOver) and step.secret == CIPHER and not step.settles)


def _before_in_keycloak(steps: Sequence[Step], target: Target, kind: type[HandOver | VerifySecret]) -> tuple[str, ...]:
    """The last step of its kind that goes to Keycloak, for one that goes there too."""
    if target.owner != "keycloak":
        return ()
    return tuple(step.key for step in steps if isinstance(step, kind) and Account.parse(step.to).kind in BY_API)[-1:]


def _given(steps: list[Step], seen: Seen, target: Target, version: int) -> list[Step]:
    """The steps, with those that make the secret and give it to who checks it, where no container's replacement does."""
    secret, hand = target.secret, f"hand {target.secret}"
    made = [step for step in steps if isinstance(step, GenerateSecret) and step.name == secret]
    if seen.secret_versions.get(secret, 0) < version and not made:
        made.append(GenerateSecret(f"generate {secret}", f"generate secret {secret}", name=secret, version=version))
        steps.extend(made)
    if any(isinstance(step, HandOver) and step.secret == secret for step in steps):
        return steps
    after = tuple(step.key for step in made)
    # One after the other: the account in whose name Keycloak is told may be the one whose secret changes.
    after += _before_in_keycloak(steps, target, HandOver)
    given = HandOver(hand, f"give {target.to} its secret", after, secret=secret, version=version, to=target.to)
    # Sealed only once it is accepted: a release whose secret is refused would be none.
    steps = [replace(step, after=(*step.after, hand)) if seals(step) else step for step in steps]
    place = next((number for number, step in enumerate(steps) if seals(step)), len(steps))
    steps.insert(place, given)
    return steps
