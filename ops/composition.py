"""What features do around every command that changes something. ops/cli/execute.py runs these, and knows no feature."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ops.alerts.change import announce
from ops.audit_log.record import record_change
from ops.backup.around import archive, follow_change, refuse_unfinished
from ops.certificates.folder import good_names
from ops.cluster.lock import hold_lease
from ops.core.state import State
from ops.engines.engine import Line
from ops.hooks import run_around
from ops.host.files import owners
from ops.images.steps import warn_of_host_network
from ops.keycloak.failures.log import errors
from ops.keycloak.rotate import credentials
from ops.secrets.facts import write_after
from ops.secrets.secret_files import names
from ops.secrets.verifiers import OWN, Verifier
from ops.store.encrypted_copies import keep_current, sync
from ops.store.releases import config_current, config_loaded, current_manifest, last_gaps
from ops.store.versions import all_accepted, secret_versions

WHILE_LOCKED = (refuse_unfinished, keep_current)
"""Entered once the project's lock is held, left before it is released. Given the project, the command, and where notes go."""

WHILE_LOCKED_ON_CLUSTER = (hold_lease,)
"""The same, where the project runs on a cluster."""

WHILE_EXECUTING = (write_after, follow_change, warn_of_host_network, record_change, run_around, announce)
"""Entered in this order before the first step of a plan, left in the opposite one after the last."""

WHILE_EXECUTING_ON_CLUSTER = (record_change, run_around)
"""The same, where the project runs on a cluster."""

AFTER_STEP = (sync,)
"""Called with the project's state folder after each step, before the next one begins. What they raise fails the step."""

KEPT: Mapping[str, Callable[[State], Any]] = {
    "secret_versions": secret_versions, "accepted": all_accepted, "handed": names,
    "certificates": good_names, "owners": owners,
    "release": current_manifest, "gaps": last_gaps, "config_current": config_current, "config_loaded": config_loaded,
}  # fmt: skip
"""Field of `Seen` -> what reads it from the state folder."""

VERIFIERS: dict[str, Verifier] = {
    **OWN,
    "client": Verifier(credentials.set_client, credentials.client_accepts, credentials.must_answer),
    "user": Verifier(credentials.set_administrator, credentials.administrator_accepts, credentials.must_answer),
    "account": Verifier(credentials.set_account, credentials.account_accepts, credentials.must_answer),
}  # fmt: skip
"""Kind of account -> how its credentials are set and tried."""

LOG_ERRORS: Callable[[Iterable[Line], float], list[str]] = errors
"""What a container's log calls an error from a time on: of services that log JSON."""

ARCHIVE = archive
"""Has the backup's archive of this host hold what it has now."""


def on_cluster() -> Any:
    """What commands do where the stack runs on a cluster: a module with a function for each (ops/cluster/verbs.py)."""
    from ops.cluster import verbs

    return verbs


def check_realm(text: str, where: str) -> None:
    """Raises UsageProblem where a declaration of the realm cannot be meant. where: its file, for the message."""
    from ops.keycloak.realm.declaration import parse_realm

    parse_realm(text, where)


def create_as(state: State, part: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of a release's compose file as its containers are created on this host."""
    from ops.secrets.secret_files import part_as_is

    return part_as_is(state, part)


def in_deploys() -> tuple[Any, ...]:
    """The `Participant` of each feature that takes part in deploys, in the order of their steps."""
    from ops.certificates.participant import Certificates
    from ops.keycloak.participant import Keycloak
    from ops.secrets.participant import Secrets

    return (Secrets(), Certificates(), Keycloak())


def in_restores() -> tuple[Any, ...]:
    """The `Participant` of each feature that takes part in restores."""
    from ops.keycloak.restore.participant import Keycloak

    return (Keycloak(),)
