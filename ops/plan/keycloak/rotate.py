"""Which secrets can be rotated, who has to be told, and what that means for users. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ops.errors import UsageProblem, did_you_mean
from ops.keycloak_steps import HandOver, VerifySecret
from ops.model import Plan, Seen
from ops.plan.keycloak.facts import OPS_CLIENT, ROLE
from ops.steps import GenerateSecret

WHAT = ("client", "admin", "database", "keys")
VERB = "keycloak.rotate"
TO_READ = "inv --help keycloak.rotate"
ADMIN = "admin"
"""Name of the bootstrap administrator of the realm master (config/keycloak/keycloak.conf)."""


@dataclass(frozen=True)
class Target:
    """A secret that two sides know.

    secret: its name in the state folder. to: who checks it, as HandOver has it. users: who notices, and what.
    """

    secret: str
    to: str
    users: str

    @property
    def destroys(self) -> str:
        return f"the present secret of {self.to}: it is refused from then on, {self.users}"


_OWN = "and the commands of this repository use the new one at once"
CLIENTS = {
    "cc03-grafana": Target(
        "keycloak-grafana", "client cc03-grafana", "and Grafana is replaced: it is away for some seconds, open sessions go on"
    ),
    "cc03-backend": Target("keycloak-backend", "client cc03-backend", "and nobody notices: no program logs in with it"),
    "cc03-probe": Target("keycloak-probe", "client cc03-probe", _OWN),
    "cc03-keeper": Target("keycloak-keeper", "client cc03-keeper", _OWN),
    OPS_CLIENT: Target("keycloak-ops", f"client {OPS_CLIENT}", _OWN),
}
ADMINISTRATOR = Target("keycloak-admin", f"user {ADMIN}", "and open sessions of the administrator end")
DATABASE = Target(
    "postgres-keycloak", f"role {ROLE}",
    "and Keycloak is replaced: whoever logs in or renews a token meanwhile waits in nginx; open sessions go on",
)  # fmt: skip


def target_of(what: str, name: str) -> Target | None:
    """What a command line means; None for the keys, which are no secret that anybody is told.

    Raises UsageProblem, with a suggestion, for what cannot be rotated.
    """
    if what not in WHAT:
        raise UsageProblem(f'keycloak.rotate knows no "{what}"', did_you_mean(what, WHAT), TO_READ)
    if what == "client":
        if not name:
            raise UsageProblem("keycloak.rotate client needs NAME", f"known: {', '.join(sorted(CLIENTS))}", TO_READ)
        if name not in CLIENTS:
            raise UsageProblem(f'keycloak.rotate knows no client "{name}"', did_you_mean(name, CLIENTS), TO_READ)
        return CLIENTS[name]
    if name:
        raise UsageProblem(f"keycloak.rotate {what} takes no NAME", f'"{name}" has no meaning here', TO_READ)
    return {"admin": ADMINISTRATOR, "database": DATABASE}.get(what)


def rotation(plan: Plan, seen: Seen, target: Target, version: int, *, holds: bool) -> Plan:
    """The plan of a release with a new version of a secret, and what no release says: who is told, and that it is verified.

    Parameters
    ----------
    version: the new one. holds: whether who checks the secret accepts that version already.
    """
    secret, keys = target.secret, {step.key for step in plan.steps}
    if holds:
        return plan
    steps = list(plan.steps)
    generated, hand = f"generate {secret}", f"hand {secret}"
    if seen.secret_versions.get(secret, 0) < version and generated not in keys:
        steps.append(GenerateSecret(generated, f"generate secret {secret}", name=secret, version=version))
    if hand not in keys:
        after = tuple(key for key in (generated,) if any(step.key == key for step in steps))
        given = HandOver(hand, f"give {target.to} its secret", after, secret=secret, version=version, to=target.to)
        # Sealed only once it is accepted: a release whose secret is refused would be none.
        steps = [replace(step, after=(*step.after, hand)) if step.key == "release" else step for step in steps]
        place = next((number for number, step in enumerate(steps) if step.key == "release"), len(steps))
        steps.insert(place, given)
    verify = VerifySecret(
        f"verify {secret}", f"see the new secret of {target.to} accepted, and the old one refused",
        tuple(step.key for step in steps), secret=secret, version=version, to=target.to,
        before=seen.secret_versions.get(secret, 0) if seen.secret_versions.get(secret, 0) < version else version - 1,
    )  # fmt: skip
    return replace(plan, steps=(*steps, verify), destroys=(*plan.destroys, target.destroys))
