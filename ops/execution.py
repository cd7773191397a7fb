"""The Execution that knows every kind of step: what does those of one service registers itself when it is imported here."""

from __future__ import annotations

import ops.backup.perform
import ops.certificates.acme.perform
import ops.certificates.perform
import ops.host.perform_owners
import ops.keycloak.realm.perform
import ops.keycloak.repair.perform
import ops.keycloak.schema.perform
import ops.secrets.perform  # noqa: F401
from ops.deploy.perform import Execution

__all__ = ["Execution"]
