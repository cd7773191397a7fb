"""What `inv keycloak.rotate` can be asked for. Pure."""

from __future__ import annotations

from ops.core.errors import UsageProblem, did_you_mean
from ops.secrets.table import ADMINISTRATOR, CLIENTS, DATABASE, Target

WHAT = ("client", "admin", "database", "keys")
VERB = "keycloak.rotate"
TO_READ = "inv --help keycloak.rotate"


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
