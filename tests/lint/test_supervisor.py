"""The copy of the health supervisor runs on the system's Python, under each name that a systemd unit starts it by."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ops.core import lock
from ops.core.state import State
from ops.engines.podman.host import Host
from ops.project import supervisor_sources

PYTHON = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else "python3"


@pytest.mark.parametrize("name", ["ops.supervisor", "ops.engines.podman.supervisor", "ops.machine.ticker"])
def test_copy_runs_and_is_refused_while_another_one_does(tmp_path: Path, name: str) -> None:
    for file, text in supervisor_sources(Host("cc03", State(tmp_path))).items():
        (tmp_path / "code" / "ops" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "code" / "ops" / file).write_text(text)
    (tmp_path / "ticker").mkdir()
    with lock.hold(tmp_path / "ticker" / "lock", "ticker"):
        answer = subprocess.run(
            (PYTHON, "-P", "-m", name, str(tmp_path)), env={"PYTHONPATH": str(tmp_path / "code")}, cwd=tmp_path,
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip

    assert answer.returncode == 1 and "LockHeld" in answer.stderr, answer.stderr
