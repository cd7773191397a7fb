"""Steps that have an issuer of certificates, by ACME, open an account and issue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.core.plan import Step

if TYPE_CHECKING:
    from ops.execution import Execution


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
        from ops.certificates.serving import leaf_of

        leaf = leaf_of(execution.project, self.name)
        if self.rehearsal:
            issuing.rehearse(execution.project, leaf, self.issuers)
        else:
            issuing.obtain(execution.project, leaf, self.issuers)
