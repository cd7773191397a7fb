"""Verifiers of secrets: how a new credential is set on its server, and how a login with it is tried.

Secrets travel on standard input alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ops.core import files
from ops.core.errors import OpsError
from ops.engines import postgres
from ops.project import Project
from ops.secrets.steps import SetCredential, VerifySecret
from ops.secrets.table import target_named
from ops.stack.model import Account
from ops.stack.render import login_of, secret_name
from ops.store import encrypted_copies, versions
from ops.store.versions import OTHERS, accepted, note, value_of

SECONDS = 30.0
OPENS_SECONDS = 180.0
"""restic takes about a second of CPU to make of a key what opens a repository, of half a CPU, and a server may be slow."""
HOME = {"app": "app", "app_2": "app", "app_migration": "app", "keycloak": "keycloak", "grafana": "grafana"}
"""Role -> the one database that it reaches; the others reach `postgres`."""
WRONG = 1
"""Exit code of compose/redis/bin/log-in where the password is refused, and of `backup opens` where the key opens nothing."""

Values = Sequence[tuple[int, str]]
"""(version, value) of all that are to be valid, the newest last."""


def set_role(project: Project, name: str, values: Values) -> None:
    """Where it is so already, nothing is written."""
    _set_roles(project, [name], values[-1][1], name)


def set_pair(project: Project, name: str, values: Values) -> None:
    """With one value both roles get it: clients that know one role alone can log in as well. With two, only the newer one's.
    Only the role of the newest version has to be able to log in: the other one may be what a change was reverted for."""
    version, value = values[-1]
    user = login_of(name, version)
    _set_roles(project, [user] if len(values) > 1 else [login_of(name, 1), login_of(name, 2)], value, user)


def _set_roles(project: Project, names: Iterable[str], value: str, user: str) -> None:
    """user: the one that has to be able to log in."""
    wrong = [name for name in names if _refused(project, name, value)]
    if not wrong:
        return
    statements = "\n".join(f"ALTER ROLE {name} PASSWORD :'value';" for name in wrong)
    postgres.execute(project.engine, "postgres", statements, {"value": value})
    if user in wrong and (said := _refused(project, user, value)):
        raise OpsError(f"PostgreSQL refuses {user} with the password that it was just given", said, "inv status")


def _refused(project: Project, name: str, value: str) -> str:
    return postgres.login_problem(project.engine, name, HOME.get(name, "postgres"), value, SECONDS)


def role_accepts(project: Project, name: str, version: int, value: str) -> bool:
    return not _refused(project, name, value)


def pair_accepts(project: Project, name: str, version: int, value: str) -> bool:
    """Whether either of the two can log in."""
    return any(not _refused(project, login_of(name, number), value) for number in (version, version + 1))


def set_user(project: Project, name: str, values: Values) -> None:
    lines = "".join(f"{value}\n" for _, value in values)
    answer = project.engine.exec("redis", ("set-passwords", name), timeout=SECONDS, stdin=lines, ok=None)
    if answer.returncode:
        raise OpsError(f"Redis does not take a password of {name}", answer.last_words(1), "inv logs redis --since 10m")


def user_accepts(project: Project, name: str, version: int, value: str) -> bool:
    """Raises OpsError where Redis does not answer."""
    answer = project.engine.exec("redis", ("log-in", name), timeout=SECONDS, stdin=value + "\n", ok=None)
    if answer.returncode not in (0, WRONG):
        raise OpsError("Redis does not answer", answer.last_words(1), "inv logs redis --since 10m")
    return answer.returncode == 0


def set_signer(project: Project, name: str, values: Values) -> None:
    versions.write_signers(project.state)


def signer_accepts(project: Project, name: str, version: int, value: str) -> bool:
    return versions.public_key(value) in (project.state.backup / versions.SIGNERS).read_text()


def set_cipher(project: Project, name: str, values: Values) -> None:
    """The container that starts next finds the former key in host.tar, and has its own alone open the repositories."""
    project.archive()


def opens(project: Project, name: str, value: str) -> tuple[bool, list[str]]:
    """(whether a key opens every repository that answers, names of those that do not answer) Raises OpsError where a key opens
    some repositories and not others, or nothing could be tried."""
    answer = project.engine.exec(name, ("backup", "opens"), timeout=OPENS_SECONDS, stdin=value + "\n", ok=None)
    if answer.returncode not in (0, WRONG) or not answer.stdout.strip():
        why = answer.stdout.strip() or answer.last_words(1)
        raise OpsError("the key does not open all repositories, or could not be tried", why, "inv logs backup --since 10m")
    return answer.returncode == 0, list(json.loads(answer.stdout)["away"])


def cipher_accepts(project: Project, name: str, version: int, value: str) -> bool:
    """Raises OpsError as `opens` does."""
    fits, away = opens(project, name, value)
    for repository in away:
        print(f"note: repository {repository} does not answer; it takes the new key when it does", flush=True)
    return fits


@dataclass(frozen=True)
class Verifier:
    """How credentials of one kind are set and tried. `tell`: make these values valid and no other. `accepts`: whether an
    account can log in with one. `must_answer`: raises OpsError where none can be set now."""

    tell: Callable[[Project, str, Values], None]
    accepts: Callable[[Project, str, int, str], bool]
    must_answer: Callable[[Project], None] = lambda project: None


OWN = {
    "role": Verifier(set_role, role_accepts),
    "pair": Verifier(set_pair, pair_accepts),
    "redis": Verifier(set_user, user_accepts),
    "signer": Verifier(set_signer, signer_accepts),
    "cipher": Verifier(set_cipher, cipher_accepts),
}
"""Kind of account -> its verifier, of those that no feature adds."""


def verifier_of(kind: str) -> Verifier:
    """The verifier of a kind of account; those of Keycloak are named in ops/composition.py."""
    from ops.composition import VERIFIERS

    return VERIFIERS[kind]


def set_credential(project: Project, step: SetCredential) -> None:
    """Set a credential on its server. Raises OpsError where that is refused or nothing answers. What is surely valid is written
    down before and afterwards: a command that is killed in between leaves no wrong claim."""
    state, secret, version = project.state, step.secret, step.version
    numbers = [step.beside, version] if step.beside else [version]
    values = [(number, value_of(state, secret, number)) for number in numbers]
    present = accepted(state, secret) or ()
    note(state, secret, [OTHERS, *(number for number in numbers if number == step.beside or number in present)])
    verifier_of(step.to.kind).tell(project, step.to.name, values)
    note(state, secret, numbers)


def accepts(project: Project, to: Account, secret: str, version: int) -> bool:
    """Whether a login with this version of a secret succeeds."""
    return verifier_of(to.kind).accepts(project, to.name, version, value_of(project.state, secret, version))


def verify(project: Project, step: VerifySecret) -> None:
    """Log in as its user would. Raises OpsError where the new secret is refused, or the previous one is still valid."""
    if not accepts(project, step.to, step.secret, step.version):
        raise OpsError(f"the new {step.to} is refused", "it was changed, and is not valid", "inv status")
    path = project.state.secrets / step.secret / str(step.before)
    if path.is_file() and accepts(project, step.to, step.secret, step.before):
        raise OpsError(f"the previous {step.to} is still valid", "the login succeeded", "inv status")


def _opens_alone(project: Project, name: str, value: str) -> bool:
    """Whether no repository waits for this key."""
    try:
        fits, away = opens(project, name, value)
    except OpsError:
        return False
    return fits and not away


def retire(project: Project) -> list[str]:
    """Remove former versions that nothing needs any more: from the state folder, from the engine, and from what containers
    mount. Returns names of secrets with their versions.

    A rollback starts containers with today's secrets, so no release needs a former version. One is needed only until today's
    version alone is known to be valid; a key of the repositories, until each opens with the new one. Raises OpsError or OSError
    where something cannot be removed; the next command tries again.
    """
    gone, state = [], project.state
    release = (files.read_json(state.current / "release.json") or {}).get("secrets", {})
    known = versions.all_accepted(state)
    for secret, version in sorted(versions.secret_versions(state).items()):
        found = versions.former(state, secret)
        if not found or release.get(secret) != version:
            continue
        target = target_named(secret)
        if target.can_rotate and known.get(secret) != (version,):
            continue
        if target.kind == "cipher" and not _opens_alone(project, target.to.name, value_of(state, secret, version)):
            continue
        for path in found:
            left = versions.public_key(path.read_text().strip()) if secret == versions.SIGNING else ""
            versions.retire(path, left)
            gone.append(f"{secret} {path.name.partition('.')[0]}")
    _forget_copies(project)
    return gone


def _forget_copies(project: Project) -> None:
    """The engine's copies, and files that containers mounted, of versions that the state folder has no value of. A container
    that has one keeps its own copy, with which it can be started again."""
    state = project.state
    stored, names = project.engine.secrets(), versions.secret_versions(state)
    for secret in names:
        for number in set(versions.taken(state, secret)) - set(versions.numbers(state, secret)):
            name = secret_name(project.name, secret, number)
            if name in stored and not versions.path_of(state, secret, number).exists():
                project.engine.remove_secret(name)
    if not encrypted_copies.is_on(state.root):
        return
    mounted = {path for one in project.engine.containers().values() for path in one.mounts}
    wanted = {secret_name(project.name, name, number) for name in names for number in versions.numbers(state, name)}
    for path in state.handed.glob("*/*"):
        if path.name not in wanted and not mounted & {str(path), str(path.resolve())}:
            path.unlink()
            encrypted_copies.removed(path)
