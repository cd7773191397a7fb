"""How certificates and their authority are changed on this host. Registered with the Execution when that is imported."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from ops.certificates import authority, check, folder, imported, pki
from ops.certificates import observed as seen
from ops.certificates.leaves import Leaf
from ops.certificates.listening import file_of, listeners
from ops.certificates.served.handshake import Listener, difference, look
from ops.certificates.steps import (
    BringRoot,
    DropOldRoot,
    ExportRoot,
    MakeNextAuthority,
    PrepareCertificate,
    PrepareImported,
    PrepareOwn,
    PromoteAuthority,
    RestartForRoots,
    SwapCertificate,
    TakeUpCertificate,
    TrustBothRoots,
    VerifyRoot,
    VerifyServed,
)
from ops.core import state as files
from ops.core.errors import OpsError
from ops.core.wait import until
from ops.deploy.perform import Execution, does
from ops.deploy.steps import AwaitHealthy, RestartContainer
from ops.engines.podman import argv as podman
from ops.engines.podman.supervisor.health import state_of
from ops.project import Project
from ops.stack.render import container_name

SEEN_SECONDS = 15.0
"""Until a certificate that was put in place must be served; PostgreSQL takes up a new one within a second."""


def leaf_of(project: Project, name: str) -> Leaf:
    return next(leaf for leaf in seen.leaves_of(project) if leaf.name == name)


@does(PrepareCertificate)
def _prepare(self: Execution, step: PrepareCertificate) -> None:
    leaf = leaf_of(self.project, step.name)
    content = authority.new_leaf(self.state, self.project.name, leaf.service, step.names)
    _checked(check.certificates_in(content), check.key_in(content), leaf, seen.roots_of(self.state, leaf))
    folder.stage(file_of(self.state, leaf), content, leaf.owner)
    # Where a change of the root was killed while it handed them out.
    authority.hand_out_roots(self.state)


def _checked(chain: list[x509.Certificate], key: PrivateKeyTypes, leaf: Leaf, roots: Iterable[x509.Certificate]) -> None:
    """Raises OpsError, with every reason, where clients would refuse it."""
    if found := check.problems(chain, key, leaf.names, roots, dt.datetime.now(dt.UTC)):
        raise OpsError(
            f"the new certificate of {leaf.name} is no good", "; ".join(found), "inv certs shows what is served, as before"
        )  # fmt: skip


@does(PrepareImported)
def _prepare_imported(self: Execution, step: PrepareImported) -> None:
    leaf = leaf_of(self.project, step.name)
    given = imported.read(Path(step.certificate), Path(step.private), Path(step.chain) if step.chain else None)
    roots = imported.must_be_good(given, leaf.names)
    authority.trust_elsewhere(self.state, b"".join(pki.pem(one) for one in roots))
    folder.stage(file_of(self.state, leaf), given.served(), leaf.owner)


@does(PrepareOwn)
def _prepare_own(self: Execution, step: PrepareOwn) -> None:
    folder.stage_link(file_of(self.state, leaf_of(self.project, step.name)), folder.TLS)


@does(SwapCertificate)
def _swap(self: Execution, step: SwapCertificate) -> None:
    folder.swap(file_of(self.state, leaf_of(self.project, step.name)))


@does(TakeUpCertificate)
def _take_up(self: Execution, step: TakeUpCertificate) -> None:
    for name in _running(self.project, step.slots):
        self.host.run(podman.exec_in(name, step.argv))


@does(RestartForRoots)
def _restart_for_roots(self: Execution, step: RestartForRoots) -> None:
    for slot in step.slots:
        if _running(self.project, [slot]):
            self.perform(RestartContainer(step.key, step.title, slot=slot))
            self.perform(AwaitHealthy(step.key, step.title, slot=slot))


def _running(project: Project, slots: Iterable[str]) -> dict[str, int]:
    """Container -> its main process, of those that run. One that does not run reads its certificate when it starts."""
    names = sorted({container_name(project.name, slot) for slot in slots})
    if not names:
        return {}
    answer = project.host.run(podman.inspect_containers(names), ok=(0, 125))
    found = json.loads(answer.stdout or "[]")
    return {str(item["Name"]): int(item["State"]["Pid"]) for item in found if state_of(item) == "running"}


@does(VerifyServed)
def _verify(self: Execution, step: VerifyServed) -> None:
    leaf = leaf_of(self.project, step.name)
    must_be_served(self.project, [leaf])
    if step.settles:
        folder.settle(file_of(self.state, leaf))


def must_be_served(project: Project, leaves: Iterable[Leaf], ca: str = "") -> None:
    """Waits until every listener shows the certificate in place. Raises OpsError, naming the first that does not."""
    listening = listeners(project.state, project.stack, project.deployed.allocation, leaves)
    running = _running(project, (listener.slot for listener in listening))
    for listener in listening:
        if listener.container not in running:
            continue
        pid = running[listener.container]
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
        for name in _running(project, leaf.slots) if leaf.takes_up else ():
            project.host.run(podman.exec_in(name, leaf.takes_up))
        must_be_served(project, [leaf])
        folder.settle(file)
    return names


@does(MakeNextAuthority)
def _make_next(self: Execution, step: MakeNextAuthority) -> None:
    authority.make_next(self.state, self.project.name, bridged=step.bridged)


@does(TrustBothRoots)
def _trust_both(self: Execution, step: TrustBothRoots) -> None:
    authority.trust_both(self.state)
    authority.hand_out_roots(self.state)


@does(PromoteAuthority)
def _promote(self: Execution, step: PromoteAuthority) -> None:
    authority.promote_next(self.state)
    authority.hand_out_roots(self.state)


@does(VerifyRoot)
def _verify_root(self: Execution, step: VerifyRoot) -> None:
    alone = self.state.ca / ".newest.pem"
    files.write(alone, seen.newest_root(self.state))
    try:
        must_be_served(self.project, [leaf for leaf in seen.leaves_of(self.project) if not leaf.public], ca=str(alone))
    finally:
        alone.unlink(missing_ok=True)


@does(DropOldRoot)
def _drop_old(self: Execution, step: DropOldRoot) -> None:
    authority.drop_old(self.state)
    authority.hand_out_roots(self.state)


@does(ExportRoot)
def _export_root(self: Execution, step: ExportRoot) -> None:
    authority.export_root(self.state, Path(step.file), remove=step.remove)


@does(BringRoot)
def _bring_root(self: Execution, step: BringRoot) -> None:
    authority.bring_root(self.state, Path(step.file))
