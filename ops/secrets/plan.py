"""When credentials are set on their servers, revoked and verified; plans of encryption at rest. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ops.core.errors import HostLacks, UsageProblem
from ops.core.plan import Plan, Step, linked
from ops.deploy.steps import await_healthy
from ops.releases.steps import seals
from ops.secrets.steps import Decrypt, Encrypt, ExportKey, GenerateSecret, NoteExported, ProveLogin, SetCredential, VerifySecret
from ops.secrets.table import BY_API, BY_FILE, OWNERS, TARGETS, UNTRIED, Target
from ops.stack.model import Seen, Service, Stack
from ops.stack.render import volume_name
from ops.stack.wanted import Wanted

CIPHER = "backup-cipher"
"""The key of the repositories, of which there is a copy elsewhere."""
FIRST = (1,)
"""What is valid where nothing was ever set: a server has taken up the first version by itself."""


def accepted(seen: Seen, secret: str) -> tuple[int, ...]:
    """Versions that are surely valid."""
    return seen.accepted.get(secret, FIRST)


def told(wanted: Wanted, seen: Seen, service: Service) -> tuple[SetCredential, ...]:
    """Credentials of a service to set on their servers between its old container and its new one.

    Where the service needs the server, each time: a command that was killed may have set another password, or somebody else
    has. Else only where the version is not known to be valid, so that a container is not kept from starting by another one that
    is down. A client, which exists only once the realm does, is set after a change.
    """
    if service.rolls:
        return ()
    last = (seen.release or {}).get("secrets", {})

    def due(name: str, kind: str) -> bool:
        if kind == "client":
            return bool(last.get(name, wanted.versions[name]) != wanted.versions[name])
        return OWNERS[kind] in service.needs or accepted(seen, name) != (wanted.versions[name],)

    return tuple(
        SetCredential(f"hand {name}", f"set the {account}", to=account, secret=name, version=wanted.versions[name])
        for name, account in service.credentials.items() if due(name, account.kind)
    )  # fmt: skip


def beside(wanted: Wanted, seen: Seen, service: Service) -> list[SetCredential]:
    """What is set before the first container of a service that is replaced one by one: the previous version stays valid."""
    return [
        SetCredential(
            f"hand {name}", f"set the new {account} (the previous one stays valid)", to=account, secret=name,
            version=wanted.versions[name], beside=max(accepted(seen, name), default=0),
        )
        for name, account in service.credentials.items()
        if service.rolls and wanted.versions[name] not in accepted(seen, name)
    ]  # fmt: skip


def settled(wanted: Wanted, seen: Seen, service: Service) -> list[Step]:
    """What is set once all containers have the new version: the previous one is refused from then on."""
    return [
        SetCredential(f"settle {name}", f"revoke the previous {account}", to=account, secret=name,
                      version=wanted.versions[name], settles=True)
        for name, account in service.credentials.items()
        if service.rolls and accepted(seen, name) != (wanted.versions[name],)
    ]  # fmt: skip


def awaited(steps: Iterable[SetCredential]) -> list[Step]:
    """The steps, each after the start of its server."""
    return [replace(step, after=() if step.to.kind in BY_FILE else (await_healthy(OWNERS[step.to.kind]),)) for step in steps]


def moves_back(wanted: Wanted, target: Target) -> bool:
    """Whether the way back to a release sets a credential, as it replaces the containers that log in with it."""
    running = set(wanted.slots())
    return target.kind != "client" and any(
        target.secret in service.credentials and running.intersection(service.slots())
        for service in wanted.stack.services.values()
    )


def present(owner: Service, versions: Mapping[str, int]) -> list[SetCredential]:
    """Set the present secrets at a service that verifies them: after a restore or an undo its data holds those of another time.
    `versions`: secret -> present version. Those that the service takes up by itself whenever it starts are left to it."""
    return [
        SetCredential(f"{one.kind} {one.to.name}", f"set the current {one.to}", to=one.to, secret=one.secret, version=version)
        for one in TARGETS
        if one.owner == owner.name and one.secret in owner.late_secrets and one.kind not in BY_API
        and (version := versions.get(one.secret))
    ]  # fmt: skip


def verified(
    stack: Stack, owners: Iterable[str], versions: Mapping[str, int], retired: Mapping[str, int]
) -> list[VerifySecret]:  # fmt: skip
    """Log in with every present secret of these services, and see its retired version refused."""
    names, known = set(owners), versions.keys() & stack.secrets
    return [
        VerifySecret(f"verify {one.secret}", f"verify the {one.to}", to=one.to, secret=one.secret, version=versions[one.secret],
                     before=retired.get(one.secret, 0))
        for one in TARGETS
        if one.can_rotate and one.kind not in UNTRIED and one.owner in names and one.secret in known
    ]  # fmt: skip


def version_for(target: Target, numbers: Sequence[int], taken: Sequence[int], running: int, known: Sequence[int] | None) -> int:
    """The version that a rotation makes; the newest one again, where a rotation to it was interrupted.

    numbers: versions in the state folder. taken: those and all that were withdrawn: a number is never used twice. running: that
    of the release that runs. known: what is surely valid; None where nothing was ever set.
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
    """A secret on its way to a new version. `before`: the one that must be refused afterwards. `again`: whether one that was
    killed is gone on with, wherever it was."""

    target: Target
    version: int
    before: int = 0
    again: bool = False

    def is_done(self, seen: Seen) -> bool:
        """Whether that version alone is valid, as far as the state folder knows."""
        return not self.again and accepted(seen, self.target.secret) == (self.version,)


def rotations(plan: Plan, seen: Seen, wanted: Wanted, changes: Sequence[Rotation]) -> Plan:
    """A plan with what these secrets take besides: set on their servers, tried by each container, the previous ones revoked."""
    left = [one for one in changes if not one.is_done(seen)]
    if not left:
        return plan
    steps = list(plan.steps)
    for one in left:
        steps = _given(steps, seen, one.target, one.version)
    settling = {step.key for step in steps if isinstance(step, SetCredential) and step.settles}
    late = settling | {step.key for step in steps if settling.intersection(step.after_keys)}
    early = [step for step in steps if step.key not in late]
    proofs = _proofs(wanted, [one.target.secret for one in left], tuple(early))
    steps = [*early, *proofs] + [
        replace(step, after=(*step.after, *proofs)) if step.key in settling else step for step in steps if step.key in late
    ]
    everything = tuple(steps)
    for one in left:
        if one.target.kind in UNTRIED:
            continue
        # Keycloak refuses a login of a user while another one of the same user is under way: there one comes after the other.
        gates = (*everything, *_last_in_keycloak(steps, one.target, VerifySecret))
        title = f"verify that the new {one.target.to} is valid, and no other"
        steps.append(VerifySecret(f"verify {one.target.secret}", title, gates, to=one.target.to, secret=one.target.secret,
                                  version=one.version, before=one.before))  # fmt: skip
    return replace(plan, steps=linked(steps), destroys=(*plan.destroys, *(one.target.destroys for one in left)))


def _proofs(wanted: Wanted, secrets: Sequence[str], after: tuple[Step, ...]) -> list[Step]:
    """Containers that log in with one of them show that they can."""
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
    lost at any moment. `path`: of a file that does not exist yet, or was written by the same rotation before it was killed."""
    change = next(one for one in changes if one.target.secret == CIPHER)
    made = tuple(step for step in plan.steps if isinstance(step, GenerateSecret) and step.name == CIPHER)
    export = ExportKey("export", f"write the new key of the repositories to {path}", made, path=path, before=change.before,
                       version=change.version)  # fmt: skip
    used = [replace(step, after=(*step.after, export)) if _uses_cipher(step) else step for step in plan.steps]
    place = 1 + next((number for number, step in enumerate(used) if step in made), -1)
    noted = NoteExported("exported", "note that it was exported", (*used, export))
    return replace(plan, steps=linked((*used[:place], export, *used[place:], noted)))


def _uses_cipher(step: Step) -> bool:
    return seals(step) or (isinstance(step, SetCredential) and step.secret == CIPHER and not step.settles)


def _last_in_keycloak(steps: Sequence[Step], target: Target, kind: type[SetCredential | VerifySecret]) -> tuple[Step, ...]:
    """The last step of its kind that goes to Keycloak, for one that goes there too."""
    if target.owner != "keycloak":
        return ()
    return tuple(step for step in steps if isinstance(step, kind) and step.to.kind in BY_API)[-1:]


def _given(steps: list[Step], seen: Seen, target: Target, version: int) -> list[Step]:
    """The steps, with those that make the secret and set it on its server, where no container's replacement does."""
    secret = target.secret
    made = [step for step in steps if isinstance(step, GenerateSecret) and step.name == secret]
    if seen.secret_versions.get(secret, 0) < version and not made:
        made.append(GenerateSecret(f"generate {secret}", f"generate secret {secret}", name=secret, version=version))
        steps.extend(made)
    if any(isinstance(step, SetCredential) and step.secret == secret for step in steps):
        return steps
    place = next((number for number, step in enumerate(steps) if seals(step)), len(steps))
    # One after the other: the account in whose name Keycloak is changed may be the one whose secret changes. The secret of a
    # container that logs in by itself is set while that is replaced, after all of these.
    gates = (*made, *_last_in_keycloak(steps[:place], target, SetCredential))
    given = SetCredential(f"hand {secret}", f"set the new {target.to}", gates, to=target.to, secret=secret, version=version)
    # Sealed only once it is valid: a release whose secret is refused would be none.
    steps = [replace(step, after=(*step.after, given)) if seals(step) else step for step in steps]
    return [*steps[:place], given, *steps[place:]]


def lost_secrets(stack: Stack, seen: Seen) -> tuple[str, ...]:
    """Secrets that the project had and that its state folder no longer holds; none where there is no data yet.

    A deploy makes volumes after every secret that is missing. So volumes without a single secret mean that the folder was
    lost, and not that the first deploy was killed half way. Where some are there, one that is missing was lost if Podman
    has a copy of it; otherwise it is new in the stack.
    """
    if not seen.volumes.intersection(volume_name(stack.project, volume) for volume in stack.volumes):
        return ()
    missing = sorted(name for name in stack.secrets if name not in seen.secret_versions)
    if not seen.secret_versions:
        return tuple(missing)
    copies = {name.rpartition("-")[0] for name in seen.given}
    return tuple(name for name in missing if f"{stack.project}-{name}" in copies)


def refuse_lost_secrets(stack: Stack, seen: Seen, state: Path) -> None:
    """Raises HostLacks where the next deploy would generate secrets that do not fit the data. `state`: the project's state
    folder, for the message."""
    lost = lost_secrets(stack, seen)
    if not lost:
        return
    back = f"bring {state} back from a copy, then inv deploy"
    if lost == (CIPHER,):
        back = "inv backup.key --import FILE takes it out of the safe, then inv deploy"
    if all(any(copy.startswith(f"{stack.project}-{name}-") for copy in seen.handed) for name in lost):
        back = "inv secrets.unlock brings back what the encrypted copies have, then inv deploy"
    holds = f"does not hold {', '.join(lost)}" if seen.secret_versions else "holds no secrets"
    raise HostLacks(
        f"volumes of project {stack.project} exist, but {state} {holds}",
        "new secrets would not fit this data: no service could log in to its database, and no backup could be read again",
        f"{back}; or, to start from scratch without the data: inv destroy --no-keep-data, then inv deploy",
    )


ENCRYPT, DECRYPT = "secrets.encrypt", "secrets.decrypt"


def plan_encrypt(seen: Seen, key_file: str, present: str | None, *, unfinished: bool = False) -> Plan:
    """Nothing to do where secrets are encrypted under that key.

    present: key file of an encryption that is on; None where none is. unfinished: whether a command was killed half way. Raises
    UsageProblem where they are encrypted under another one, HostLacks where containers hold copies.
    """
    if present is not None:
        if present != key_file:
            raise UsageProblem(
                f"secrets are encrypted already, with the key {present}", "a second key would leave some under the first",
                f"inv {DECRYPT}, then this again",
            )  # fmt: skip
        if not unfinished:
            return Plan(ENCRYPT)
    _must_be_alone(seen, ENCRYPT)
    return Plan(
        ENCRYPT,
        (Encrypt("encrypt", f"encrypt the secrets for the key {key_file}", key_file=key_file),),
        notes=("what this disk held may be read from its free blocks: docs/how-to/secrets.md#at-rest says what to replace",),
    )


def plan_decrypt(seen: Seen, present: str | None, *, unfinished: bool = False) -> Plan:
    """`present`, `unfinished`: as above. Raises HostLacks where containers mount what would go."""
    if present is None and not unfinished:
        return Plan(DECRYPT)
    _must_be_alone(seen, DECRYPT)
    return Plan(
        DECRYPT, (Decrypt("decrypt", "store secrets unencrypted again"),),
        destroys=("the encryption of secrets at rest: a copy of the disk can be read from then on",),
    )  # fmt: skip


def _must_be_alone(seen: Seen, verb: str) -> None:
    if seen.containers:
        raise HostLacks(
            f"{len(seen.containers)} containers have the secrets in another form",
            "Podman copies its own to the disk, and keeps what it has mounted",
            f"inv destroy, which keeps the data; inv {verb} again; inv deploy",
        )  # fmt: skip
