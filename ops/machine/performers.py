"""The Performer that knows every kind of step: what does those of one service registers itself when it is imported here."""

from __future__ import annotations

import ops.machine.acme.perform
import ops.machine.backup.perform
import ops.machine.certificates.perform
import ops.machine.keycloak.perform
import ops.machine.keycloak.perform_database
import ops.machine.keycloak.perform_repair
import ops.machine.perform_owners
import ops.machine.secrets.perform  # noqa: F401
from ops.machine.perform import Performer

__all__ = ["Performer"]
