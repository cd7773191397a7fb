"""How steps of ACME are done on this host. Registered with the Execution when that is imported."""

from __future__ import annotations

from ops.certificates.acme import issuing
from ops.certificates.perform import leaf_of
from ops.certificates.steps import ObtainCertificate, OpenAccount
from ops.deploy.perform import Execution, does


@does(OpenAccount)
def _open_account(self: Execution, step: OpenAccount) -> None:
    issuing.open_account(self.project, issuing.named(self.project, step.issuer))


@does(ObtainCertificate)
def _obtain(self: Execution, step: ObtainCertificate) -> None:
    leaf = leaf_of(self.project, step.name)
    if step.rehearsal:
        issuing.rehearse(self.project, leaf, step.issuers)
    else:
        issuing.obtain(self.project, leaf, step.issuers)
