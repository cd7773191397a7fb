"""The account in whose name logins are tried, made as declared first: a fault of it must not be taken for one of Keycloak."""

from __future__ import annotations

from collections.abc import Callable

from ops.core.errors import OpsError
from ops.keycloak.admin import secret
from ops.keycloak.probe.verify import PROBE, USER_SECRET, logs_in
from ops.keycloak.realm.live import bring_about, declared
from ops.keycloak.repair.login import PRODUCT, operations
from ops.project import Project


def ready(project: Project, report: Callable[[str], None]) -> None:
    """Make the probe's client and user as declared, its password that of the state folder, and take away its lock.

    What cannot be done is left to be told by the verification that follows.
    """
    try:
        bring_about(declared(project), report, deletions=False, only=(PROBE,))
        if not logs_in(project):
            _set_password(project)
    except OpsError as problem:
        report(f"{PROBE}: {problem.why}")


def _set_password(project: Project) -> None:
    api = operations(project)
    for user in api.call("GET", f"{PRODUCT}/users?username={PROBE}&exact=true"):
        own = f"{PRODUCT}/users/{user['id']}"
        api.call("DELETE", f"{PRODUCT}/attack-detection/brute-force/users/{user['id']}")
        api.call("PUT", own, {**user, "enabled": True, "requiredActions": []})
        password = {"type": "password", "temporary": False, "value": secret(project, USER_SECRET)}
        try:
            api.call("PUT", f"{own}/reset-password", password)
        except OpsError as problem:
            # The policy refuses one of the last five: then it is the present one, and the lock was the reason.
            if "400" not in problem.why:
                raise
