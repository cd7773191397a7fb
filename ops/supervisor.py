"""The health supervisor with the checks of the features: `python3 -P -m ops.supervisor STATE`, from a copy in the state folder.

The one place that says which checks there are, and what is copied. Standard library only.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ops.certificates.served.watch import CertificateWatch
from ops.engines.podman.supervisor.main import main

CHECKS = (CertificateWatch,)
PACKAGES = ("engines/podman/supervisor", "certificates/served")
"""Below `ops/`, copied whole."""
MODULES = (
    "supervisor.py", "core/errors.py", "core/files.py", "core/lock.py", "core/machine.py", "core/process.py",
    "stack/listener.py",
)  # fmt: skip
"""What these packages use besides."""

if __name__ == "__main__":
    main(Path(sys.argv[1]), boot="--boot" in sys.argv[2:], checks=CHECKS)
