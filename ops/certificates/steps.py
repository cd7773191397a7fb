"""Changes of certificates and of their authority. Data only; `ops/certificates/perform.py` knows how each is done."""

from __future__ import annotations

from dataclasses import dataclass

from ops.core.plan import Step


@dataclass(frozen=True)
class PrepareCertificate(Step):
    """Issue a certificate of the internal CA and check it as a client would; what is in place stays there."""

    name: str = ""
    names: tuple[str, ...] = ()
    """Host names and addresses."""

    def details(self) -> tuple[str, ...]:
        return (f"for {', '.join(self.names)}",)


@dataclass(frozen=True)
class PrepareImported(Step):
    """Check a certificate from elsewhere as a client would, and lay it beside the one that is in place."""

    name: str = ""
    certificate: str = ""
    private: str = ""
    chain: str = ""
    """Paths of the operator's files; `chain` may be empty."""


@dataclass(frozen=True)
class PrepareOwn(Step):
    """Have the public site go back to the certificate of the internal CA."""

    name: str = ""


@dataclass(frozen=True)
class OpenAccount(Step):
    """Make a key and have an issuer open an account for it, under its terms of service, which the operator has accepted."""

    issuer: str = ""


@dataclass(frozen=True)
class ObtainCertificate(Step):
    """Have the first issuer that will issue a certificate by ACME, and check it as a client would; what is in place stays."""

    name: str = ""
    issuers: tuple[str, ...] = ()
    rehearsal: bool = False
    """Whether all of them are asked, at their rehearsal stages, and what they issue is thrown away."""


@dataclass(frozen=True)
class SwapCertificate(Step):
    """Put the prepared certificate in place by one rename; the one before keeps another name."""

    name: str = ""


@dataclass(frozen=True)
class TakeUpCertificate(Step):
    """Have the running containers of a service read their certificate and roots anew; connections stay."""

    service: str = ""
    slots: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()


@dataclass(frozen=True)
class RestartForRoots(Step):
    """Restart the running containers of a service that reads the roots it trusts only when it starts."""

    slots: tuple[str, ...] = ()


@dataclass(frozen=True)
class VerifyServed(Step):
    """Shake hands with each listener, as a client that verifies, until it shows the certificate in place."""

    name: str = ""
    settles: bool = True
    """Whether the one before goes then."""


@dataclass(frozen=True)
class MakeNextAuthority(Step):
    """Make a new root and intermediate beside the present ones."""

    bridged: bool = True
    """Whether the present root vouches for the new one, so that those who trust only the present one go on."""


@dataclass(frozen=True)
class TrustBothRoots(Step):
    """Have every service trust the present root and the one that is to come."""


@dataclass(frozen=True)
class PromoteAuthority(Step):
    """Have the next authority sign from now on."""


@dataclass(frozen=True)
class VerifyRoot(Step):
    """Shake hands with every listener as a client that trusts the newest root and no other."""


@dataclass(frozen=True)
class DropOldRoot(Step):
    """Trust the root that signs, and no other."""


@dataclass(frozen=True)
class ExportRoot(Step):
    """Write the root and its encrypted key into one file, read it back, and on demand remove the key from this host."""

    file: str = ""
    remove: bool = False


@dataclass(frozen=True)
class BringRoot(Step):
    """Take the root's key back from such a file."""

    file: str = ""
