"""Steps that change certificates and the authority that signs them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ops.core import files
from ops.core.plan import Step
from ops.deploy.steps import AwaitHealthy, RestartContainer
from ops.engines.engine import Proof
from ops.stack.certificates import TLS, Leaf

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

    leaf: Leaf = field(kw_only=True)

    def details(self) -> tuple[str, ...]:
        return (f"for {', '.join(self.leaf.names)}",)

    def run(self, execution: Execution) -> None:
        from ops.certificates import authority, facts, folder, pki

        leaf, state = self.leaf, execution.state
        content = authority.new_leaf(state, execution.project.name, leaf.service, leaf.names)
        facts.check_as_client(pki.certificates_in(content), pki.key_in(content), leaf, facts.roots_of(state, leaf))
        folder.stage(leaf.file(state.root), content, leaf.owner)
        # Where a change of the root was killed while it distributed them.
        authority.distribute_roots(state)


@dataclass(frozen=True)
class PrepareImported(Step):
    """Check a certificate from elsewhere as a client would, and write it beside the one that is in place."""

    leaf: Leaf = field(kw_only=True)
    certificate: str = ""
    private: str = ""
    chain: str = ""
    """Paths of the operator's files; `chain` may be empty."""

    def run(self, execution: Execution) -> None:
        from ops.certificates import authority, folder, imported, pki

        provided = imported.read(Path(self.certificate), Path(self.private), Path(self.chain) if self.chain else None)
        roots = imported.must_be_good(provided, self.leaf.names)
        authority.trust_elsewhere(execution.state, b"".join(pki.pem(one) for one in roots))
        folder.stage(self.leaf.file(execution.state.root), provided.served(), self.leaf.owner)


@dataclass(frozen=True)
class PrepareOwn(Step):
    """Have the public site go back to the certificate of the internal CA."""

    leaf: Leaf = field(kw_only=True)

    def run(self, execution: Execution) -> None:
        from ops.certificates import folder

        folder.stage_link(self.leaf.file(execution.state.root), TLS)


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

    leaf: Leaf = field(kw_only=True)
    issuers: tuple[str, ...] = ()
    rehearsal: bool = False
    """Whether all of them are asked, at their rehearsal stages, and what they issue is thrown away."""

    def run(self, execution: Execution) -> None:
        from ops.certificates.acme import issuing

        obtain = issuing.rehearse if self.rehearsal else issuing.obtain
        obtain(execution.project, self.leaf, self.issuers)


@dataclass(frozen=True)
class SwapCertificate(Step):
    """Put the prepared certificate in place by one rename; the previous one keeps another name."""

    leaf: Leaf = field(kw_only=True)

    def run(self, execution: Execution) -> None:
        from ops.certificates import folder

        folder.swap(self.leaf.file(execution.state.root))


@dataclass(frozen=True)
class LoadCertificate(Step):
    """Have the running containers of a service load their certificate and roots; connections stay."""

    leaf: Leaf = field(kw_only=True)
    argv: tuple[str, ...] = ()

    def run(self, execution: Execution) -> None:
        from ops.certificates import facts

        for slot in facts.running(execution.project, self.leaf.slots):
            execution.engine.exec(slot, self.argv)


@dataclass(frozen=True)
class RestartForRoots(Step):
    """Restart the running containers of a service that reads the roots it trusts only when it starts."""

    leaf: Leaf = field(kw_only=True)

    @property
    def disturbs(self) -> tuple[str, ...]:
        return self.leaf.slots

    def run(self, execution: Execution) -> None:
        from ops.certificates import facts

        for slot in facts.running(execution.project, self.leaf.slots):
            RestartContainer(self.key, self.title, slot=slot).run(execution)
            AwaitHealthy(self.key, self.title, proof=Proof(slot)).run(execution)


@dataclass(frozen=True)
class VerifyServed(Step):
    """Shake hands with each listener, as a client that verifies, until it shows the certificate in place."""

    leaf: Leaf = field(kw_only=True)
    settles: bool = True
    """Whether the previous one is removed then."""

    def run(self, execution: Execution) -> None:
        from ops.certificates import facts, folder

        facts.must_be_served(execution.project, [self.leaf])
        if self.settles:
            folder.settle(self.leaf.file(execution.state.root))


@dataclass(frozen=True)
class RestoreCertificate(Step):
    """Put the previous certificate in place again, have it loaded, and see it on the wire."""

    leaf: Leaf = field(kw_only=True)

    def run(self, execution: Execution) -> None:
        from ops.certificates import folder

        folder.restore(self.leaf.file(execution.state.root))
        if self.leaf.takes_up:
            LoadCertificate(self.key, self.title, leaf=self.leaf, argv=self.leaf.takes_up).run(execution)
        VerifyServed(self.key, self.title, leaf=self.leaf).run(execution)


@dataclass(frozen=True)
class MakeNextAuthority(Step):
    """Make a new root and intermediate beside the present ones."""

    bridged: bool = True
    """Whether the present root cross-signs the new one, so that those who trust only the present one go on."""

    def run(self, execution: Execution) -> None:
        from ops.certificates import authority

        authority.make_next(execution.state, execution.project.name, bridged=self.bridged)


@dataclass(frozen=True)
class ChangeRoots(Step):
    """Change which roots are trusted, or which one signs, and distribute them to every service.

    to: `both` (trust the present root and the next one), `next` (the next authority signs from now on) or `newest` (trust the
    root that signs, and no other).
    """

    to: str = ""

    def run(self, execution: Execution) -> None:
        from ops.certificates import authority

        {"both": authority.trust_both, "next": authority.promote_next, "newest": authority.drop_old}[self.to](execution.state)
        authority.distribute_roots(execution.state)


@dataclass(frozen=True)
class VerifyRoot(Step):
    """Shake hands with every listener as a client that trusts the newest root and no other."""

    def run(self, execution: Execution) -> None:
        from ops.certificates import facts

        alone = execution.state.ca / ".newest.pem"
        files.write(alone, facts.newest_root(execution.state))
        try:
            own = [leaf for leaf in facts.leaves_of(execution.project) if not leaf.public]
            facts.must_be_served(execution.project, own, ca=str(alone))
        finally:
            alone.unlink(missing_ok=True)


@dataclass(frozen=True)
class ExportRoot(Step):
    """Write the root and its encrypted key into one file, read it back, and on demand remove the key from this host."""

    file: str = ""
    remove: bool = False

    def run(self, execution: Execution) -> None:
        from ops.certificates import authority

        authority.export_root(execution.state, Path(self.file), remove=self.remove)


@dataclass(frozen=True)
class ImportRoot(Step):
    """Take the root's key back from such a file."""

    file: str = ""

    def run(self, execution: Execution) -> None:
        from ops.certificates import authority

        authority.import_root(execution.state, Path(self.file))
