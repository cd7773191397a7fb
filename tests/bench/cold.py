"""From a checkout and an empty storage to the live stack: everything downloaded and built. Takes minutes and gigabytes."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ops.core.machine import REPOSITORY
from ops.core.process import run
from tests.bench.figures import Figure

PROJECT = "cc03-cold-bench"
LIMIT = 1800.0
NOT_CHECKED_OUT = shutil.ignore_patterns(".git", ".venv", "node_modules", "__pycache__", ".*_cache")
STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{root}/graph"
runroot = "{root}/run"
"""


def cold() -> Iterator[Figure]:
    """scripts/quick-deploy.sh in a fresh checkout, with storage and state of its own. The distribution's packages are there
    already; on a machine without Podman their installation comes on top."""
    root = Path(tempfile.mkdtemp(prefix="cc03-cold-", dir="/var/tmp"))
    (root / "storage.conf").write_text(STORAGE.format(root=root))
    checkout = root / "checkout"
    shutil.copytree(REPOSITORY, checkout, ignore=NOT_CHECKED_OUT, symlinks=True)
    own = {"CONTAINERS_STORAGE_CONF": str(root / "storage.conf"), "CC03_STATE": str(root / "state"), "CC03_PROJECT": PROJECT}
    try:
        began = time.monotonic()
        run((str(checkout / "scripts" / "quick-deploy.sh"),), timeout=LIMIT, env=own, log=root / "log")
        minutes = (time.monotonic() - began) / 60
        yield Figure("fresh machine to live stack", minutes, "min", 10.0, note="everything downloaded and built")
    finally:
        inv = str(checkout / ".venv" / "bin" / "inv")
        argv = (inv, "--search-root", str(checkout), "destroy", "--no-keep-data", "--yes")
        if Path(inv).exists():
            run(argv, timeout=300, ok=None, env=own)
        run(("podman", "system", "reset", "--force"), timeout=300, ok=None, env=own)
        shutil.rmtree(root, ignore_errors=True)
