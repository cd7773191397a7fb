"""What a job says that `inv backup` runs is found where messages and runbooks send people: `inv logs backup`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ops.backup import container
from ops.core.errors import OpsError
from ops.core.state import State
from ops.engines.podman import host as podman
from ops.engines.podman.host import Host
from ops.logs.query import LINE, row_of
from ops.project import Project
from tests.unit.builders import settings

SAID = (
    '{"timestamp": "2026-03-12T02:30:00.000+00:00", "level": "ERROR", "logger": "backup", "message": "job failed",'
    ' "job": "set", "source": "x"}',
    '{"event": "phase", "phase": "files"}',
    "Traceback (most recent call last):",
    '{"event": "failed", "error": "no space left"}',
)


def test_output_of_a_job_goes_to_the_log_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(argv: Sequence[str], *, each: Callable[[str], None], **_: Any) -> int:
        for line in SAID:
            each(line)
        return 1

    monkeypatch.setattr(podman, "stream", run)
    project = Project(settings(), Host("cc03-test", State(tmp_path)))
    project.state.logs.mkdir()

    with pytest.raises(OpsError):
        container.run_job(project, ("set",), 60, lambda text: None)

    lines = (project.state.logs / "backup-0.log").read_text().splitlines()
    found = [LINE.fullmatch(line) for line in lines]
    rows = [row_of("backup", "0", one[1], one[4]) for one in found if one]
    assert [(row["_msg"], row["level"]) for row in rows] == [
        ("job failed", "error"), ("Traceback (most recent call last):", "info"),
    ]  # fmt: skip
    assert rows[0]["job"] == "set"
