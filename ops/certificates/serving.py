"""Whether certificates that are put in place are good, and whether the listeners serve them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from functools import partial

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from ops.certificates import check, folder
from ops.certificates import observed as seen
from ops.certificates.leaves import Leaf
from ops.certificates.listening import file_of, listeners
from ops.certificates.served.handshake import Listener, difference, look
from ops.core.errors import OpsError
from ops.core.wait import until
from ops.engines.podman import argv as podman
from ops.engines.podman.supervisor.health import state_of
from ops.project import Project
from ops.stack.render import container_name

SEEN_SECONDS = 15.0
"""Until a certificate that was put in place must be served; PostgreSQL takes up a new one within a second."""


def leaf_of(project: Project, name: str) -> Leaf:
    return next(leaf for leaf in seen.leaves_of(project) if leaf.name == name)


def check_as_client(chain: list[x509.Certificate], key: PrivateKeyTypes, leaf: Leaf, roots: Iterable[x509.Certificate]) -> None:
    """Raises OpsError, with every reason, where clients would refuse it."""
    if found := check.problems(chain, key, leaf.names, roots, dt.datetime.now(dt.UTC)):
        raise OpsError(
            f"the new certificate of {leaf.name} is no good", "; ".join(found), "inv certs shows what is served, as before"
        )  # fmt: skip


def running(project: Project, slots: Iterable[str]) -> dict[str, int]:
    """Container -> its main process, of those that run. One that does not run reads its certificate when it starts."""
    names = sorted({container_name(project.name, slot) for slot in slots})
    if not names:
        return {}
    answer = project.host.run(podman.inspect_containers(names), ok=(0, 125))
    found = json.loads(answer.stdout or "[]")
    return {str(item["Name"]): int(item["State"]["Pid"]) for item in found if state_of(item) == "running"}


def must_be_served(project: Project, leaves: Iterable[Leaf], ca: str = "") -> None:
    """Waits until every listener shows the certificate in place. Raises OpsError, naming the first that does not."""
    listening = listeners(project.state, project.stack, project.deployed.allocation, leaves)
    processes = running(project, (listener.slot for listener in listening))
    for listener in listening:
        if listener.container not in processes:
            continue
        pid = processes[listener.container]
        if why := until(partial(_wrong, listener, pid, ca), SEEN_SECONDS):
            raise OpsError(
                f"{listener.service}:{listener.port} does not serve the certificate of {listener.name} as it should",
                why, f"inv logs {listener.service} --since 5m",
            )  # fmt: skip


def _wrong(listener: Listener, pid: int, ca: str) -> str:
    return difference(listener, look(listener, pid, ca))


def put_back(project: Project, leaves: Iterable[Leaf]) -> list[str]:
    """The certificates before, of those whose successors were not seen: in place, read and served again. Returns their names.

    Raises OpsError where one of them is not served either.
    """
    names = []
    for leaf in leaves:
        file = file_of(project.state, leaf)
        if not folder.put_back(file):
            folder.settle(file)  # what was prepared and is not needed any more
            continue
        names.append(leaf.name)
        for name in running(project, leaf.slots) if leaf.takes_up else ():
            project.host.run(podman.exec_in(name, leaf.takes_up))
        must_be_served(project, [leaf])
        folder.settle(file)
    return names
