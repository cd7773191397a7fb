"""Those who check secrets: how each kind is told a new one, and how it is seen to accept or refuse one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ops.core.errors import OpsError
from ops.keycloak.rotate import credentials as keycloak
from ops.project import Project
from ops.secrets import ciphers, databases, signers
from ops.secrets.steps import HandOver, VerifySecret
from ops.secrets.versions import OTHERS, accepted, note, value_of
from ops.stack.model import Account

Values = Sequence[tuple[int, str]]
"""(version, value) of all that are to be accepted, the newest last."""


@dataclass(frozen=True)
class Checker:
    """tell: have an account accept these values and no other. accepts: whether it logs in with one."""

    tell: Callable[[Project, str, Values], None]
    accepts: Callable[[Project, str, int, str], bool]


CHECKERS = {
    "role": Checker(databases.set_role, databases.role_accepts),
    "pair": Checker(databases.set_pair, databases.pair_accepts),
    "redis": Checker(databases.set_user, databases.user_accepts),
    "client": Checker(keycloak.set_client, keycloak.client_accepts),
    "user": Checker(keycloak.set_administrator, keycloak.administrator_accepts),
    "account": Checker(keycloak.set_account, keycloak.account_accepts),
    "signer": Checker(signers.tell, signers.accepts),
    "cipher": Checker(ciphers.tell, ciphers.accepts),
}


def _parts(to: str) -> tuple[Checker, str]:
    account = Account.parse(to)
    return CHECKERS[account.kind], account.name


def hand_over(project: Project, step: HandOver) -> None:
    """Tell who checks a secret its value. Raises OpsError where that is refused or nobody is there.

    What is surely accepted is written down before and afterwards: a command that is killed in between leaves no wrong claim.
    """
    checker, name = _parts(step.to)
    state, secret, version = project.state, step.secret, step.version
    versions = [step.beside, version] if step.beside else [version]
    values = [(number, value_of(state, secret, number)) for number in versions]
    present = accepted(state, secret) or ()
    note(state, secret, [OTHERS, *(number for number in versions if number == step.beside or number in present)])
    checker.tell(project, name, values)
    note(state, secret, versions)


def accepts(project: Project, to: str, secret: str, version: int) -> bool:
    """Whether a login with this version of a secret is accepted."""
    checker, name = _parts(to)
    return checker.accepts(project, name, version, value_of(project.state, secret, version))


def verify(project: Project, step: VerifySecret) -> None:
    """Log in as its user would. Raises OpsError where the new secret is refused, or the old one is still accepted."""
    if not accepts(project, step.to, step.secret, step.version):
        raise OpsError(f"{step.to} is refused with its new secret", "it was changed, and is not accepted", "inv status")
    path = project.state.secrets / step.secret / str(step.before)
    if path.is_file() and accepts(project, step.to, step.secret, step.before):
        raise OpsError(f"{step.to} is still accepted with its old secret", "the login succeeded", "inv status")
