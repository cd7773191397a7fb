"""Steps that change certificates and their authority."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ops.core import files
from ops.core.plan import Step
from ops.deploy.steps import AwaitHealthy, RestartContainer

if TYPE_CHECKING:
    from ops.execution import Execution


@dataclass(frozen=True)
class IssueCertificate(Step):
    """Issue a certificate of the internal CA (made on first use) into the folder that the service mounts."""

    service: str = ""
    owner: int = 0
    names: tuple[str, ...] = ()

    def run(self, execution: Execution) -> None:
        from ops.certificates import authority

        authority.issue_certificate(execution.state, execution.project.name, self.service, self.owner, self.names)


@dataclass(frozen=True)
class PrepareCertificate(Step):
    """Issue a certificate of the internal CA and check it as a client would; what is in place stays there."""

    name: str = ""
    names: tuple[str, ...] = ()
    """Host names and addresses."""

    def details(self) -> tuple[str, ...]:
        return (f"for {', '.join(self.names)}",)

    def run(self, execution: Execution) -> None:
        from ops.certificates import authority, facts, folder, pki
        from ops.certificates.facts import check_as_client, leaf_of

        leaf = leaf_of(execution.project, self.name)
        content = authority.new_leaf(execution.state, execution.project.name, leaf.service, self.names)
        check_as_client(pki.certificates_in(content), pki.key_in(content), leaf, facts.roots_of(execution.state, leaf))
        folder.stage(leaf.file(execution.state.root), content, leaf.owner)
        # Where a change of the root was killed while it handed them out.
        authority.hand_out_roots(execution.state)


@dataclass(frozen=True)
class PrepareImported(Step):
    """Check a certificate from elsewhere as a client would, and lay it beside the one that is in place."""

    name: str = ""
    certificate: str = ""
    private: str = ""
    chain: str = ""
    """Paths of the operator's files; `chain` may be empty."""

    def run(self, execution: Execution) -> None:
        from ops.certificates import authority, folder, imported, pki
        from ops.certificates.facts import leaf_of

        leaf = leaf_of(execution.project, self.name)
        given = imported.read(Path(self.certificate), Path(self.private), Path(self.chain) if self.chain else None)
        roots = imported.must_be_good(given, leaf.names)
        authority.trust_elsewhere(execution.state, b"".join(pki.pem(one) for one in roots))
        folder.stage(leaf.file(execution.state.root), given.served(), leaf.owner)


@dataclass(frozen=True)
class PrepareOwn(Step):
    """Have the public site go back to the certificate of the internal CA."""

    name: str = ""

    def run(self, execution: Execution) -> None:
        from ops.certificates import folder
        from ops.certificates.facts import leaf_of
        from ops.stack.certificates import TLS

        folder.stage_link(leaf_of(execution.project, self.name).file(execution.state.root), TLS)


@dataclass(frozen=True)
class SwapCertificate(Step):
    """Put the prepared certificate in place by one rename; the one before keeps another name."""

    name: str = ""

    def run(self, execution: Execution) -> None:
        from ops.certificates import folder
        from ops.certificates.facts import leaf_of

        folder.swap(leaf_of(execution.project, self.name).file(execution.state.root))


@dataclass(frozen=True)
class TakeUpCertificate(Step):
    """Have the running containers of a service read their certificate and roots anew; connections stay."""

    service: str = ""
    slots: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()

    def run(self, execution: Execution) -> None:
        from ops.certificates.facts import running
        from ops.engines.podman import argv as podman

        for name in running(execution.project, self.slots):
            execution.host.run(podman.exec_in(name, self.argv))


@dataclass(frozen=True)
class RestartForRoots(Step):
    """Restart the running containers of a service that reads the roots it trusts only when it starts."""

    slots: tuple[str, ...] = ()

    def run(self, execution: Execution) -> None:
        from ops.certificates.facts import running

        for slot in self.slots:
            if running(execution.project, [slot]):
                RestartContainer(self.key, self.title, slot=slot).run(execution)
                AwaitHealthy(self.key, self.title, slot=slot).run(execution)


@dataclass(frozen=True)
class VerifyServed(Step):
    """Shake hands with each listener, as a client that verifies, until it shows the certificate in place."""

    name: str = ""
    settles: bool = True
    """Whether the one before goes then."""

    def run(self, execution: Execution) -> None:
        from ops.certificates import folder
        from ops.certificates.facts import leaf_of, must_be_served

        leaf = leaf_of(execution.project, self.name)
        must_be_served(execution.project, [leaf])
        if self.settles:
            folder.settle(leaf.file(execution.state.root))


@dataclass(frozen=True)
class MakeNextAuthority(Step):
    """Make a new root and intermediate beside the present ones."""

    bridged: bool = True
    """Whether the present root vouches for the new one, so that those who trust only the present one go on."""

    def run(self, execution: Execution) -> None:
        from ops.certificates import authority

        authority.make_next(execution.state, execution.project.name, bridged=self.bridged)


@dataclass(frozen=True)
class TrustBothRoots(Step):
    """Have every service trust the present root and the one that is to come."""

    def run(self, execution: Execution) -> None:
        from ops.certificates import authority

        authority.trust_both(execution.state)
        authority.hand_out_roots(execution.state)


@dataclass(frozen=True)
class PromoteAuthority(Step):
    """Have the next authority sign from now on."""

    def run(self, execution: Execution) -> None:
        from ops.certificates import authority

        authority.promote_next(execution.state)
        authority.hand_out_roots(execution.state)


@dataclass(frozen=True)
class VerifyRoot(Step):
    """Shake hands with every listener as a client that trusts the newest root and no other."""

    def run(self, execution: Execution) -> None:
        from ops.certificates import facts
        from ops.certificates.facts import must_be_served

        alone = execution.state.ca / ".newest.pem"
        files.write(alone, facts.newest_root(execution.state))
        try:
            must_be_served(
                execution.project, [leaf for leaf in facts.leaves_of(execution.project) if not leaf.public], ca=str(alone)
            )
        finally:
            alone.unlink(missing_ok=True)


@dataclass(frozen=True)
class DropOldRoot(Step):
    """Trust the root that signs, and no other."""

    def run(self, execution: Execution) -> None:
        from ops.certificates import authority

        authority.drop_old(execution.state)
        authority.hand_out_roots(execution.state)


@dataclass(frozen=True)
class ExportRoot(Step):
    """Write the root and its encrypted key into one file, read it back, and on demand remove the key from this host."""

    file: str = ""
    remove: bool = False

    def run(self, execution: Execution) -> None:
        from ops.certificates import authority

        authority.export_root(execution.state, Path(self.file), remove=self.remove)


@dataclass(frozen=True)
class BringRoot(Step):
    """Take the root's key back from such a file."""

    file: str = ""

    def run(self, execution: Execution) -> None:
        from ops.certificates import authority

        authority.bring_root(execution.state, Path(self.file))


@dataclass(frozen=True)
class OpenAccount(Step):
    """Make a key and have an issuer open an account for it, under its terms of service, which the operator has accepted."""

    issuer: str = ""

    def run(self, execution: Execution) -> None:
        from ops.certificates.acme import issuing

        issuing.open_account(execution.project, issuing.named(execution.project, self.issuer))


@dataclass(frozen=True)
class ObtainCertificate(Step):
    """Have the first issuer that will issue a certificate by ACME, and check it as a client would; what is in place stays."""

    name: str = ""
    issuers: tuple[str, ...] = ()
    rehearsal: bool = False
    """Whether all of them are asked, at their rehearsal stages, and what they issue is thrown away."""

    def run(self, execution: Execution) -> None:
        from ops.certificates.acme import issuing
        from ops.certificates.facts import leaf_of

        leaf = leaf_of(execution.project, self.name)
        if self.rehearsal:
            issuing.rehearse(execution.project, leaf, self.issuers)
        else:
            issuing.obtain(execution.project, leaf, self.issuers)
