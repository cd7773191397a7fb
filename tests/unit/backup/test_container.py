"""The backup container and one-off containers of a restore: what they are asked, and what becomes of what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops.backup import container
from ops.backup.restore import repository, volumes
from ops.backup.restore.steps import OTHER_HISTORY, FetchCluster
from ops.core.errors import OpsError
from ops.core.process import Result
from ops.core.state import State
from ops.engines.podman import host as podman
from ops.engines.podman.host import Host
from ops.logs.query import row_of
from ops.project import Project
from ops.stack.repositories import Repository
from tests.unit.builders import settings

SAID = (
    '{"timestamp": "2026-03-12T02:30:00.000+00:00", "level": "ERROR", "logger": "backup", "message": "job failed",'
    ' "job": "set", "source": "x"}',
    '{"event": "phase", "phase": "files"}',
    "Traceback (most recent call last):",
    '{"event": "failed", "error": "no space left"}',
)


def test_output_of_a_job_goes_to_the_log_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found where messages and runbooks send people: `inv logs backup`."""

    def run(argv: Sequence[str], *, each: Callable[[str], None], **_: Any) -> int:
        for line in SAID:
            each(line)
        return 1

    monkeypatch.setattr(podman, "stream", run)
    project = Project(settings(), Host("cc03-test", State(tmp_path)))
    project.state.logs.mkdir()

    with pytest.raises(OpsError):
        container.run_job(project, ("set",), 60, lambda text: None)

    found = project.engine.logs(lambda log: log == "backup-0")
    rows = [row_of("backup", "0", line.at, line.text) for line in found]
    assert [(row["_msg"], row["level"]) for row in rows] == [
        ("job failed", "error"), ("Traceback (most recent call last):", "info"),
    ]  # fmt: skip
    assert rows[0]["job"] == "set"


@pytest.mark.parametrize(
    ("refusals", "tried", "fails"),
    [
        ((), 1, ""),
        ((OTHER_HISTORY,), 2, ""),
        ((OTHER_HISTORY, OTHER_HISTORY, OTHER_HISTORY), 3, "first"),
        (("a full disk",), 1, "first"),
        ((OTHER_HISTORY, "a full disk"), 2, "second"),
    ],
)
def test_backup_of_a_history_that_was_given_up_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, refusals: Sequence[str], tried: int, fails: str
) -> None:
    """pgBackRest takes the newest backup from before a moment, even on a timeline that a restore has abandoned."""
    asked: list[Sequence[str]] = []

    def watched(project: Any, part: str, words: Sequence[str], deadline: float, each: Any) -> None:
        asked.append(words)
        if len(asked) <= len(refusals):
            raise OpsError(("first", "second", "third")[len(asked) - 1], refusals[len(asked) - 1], "")

    monkeypatch.setattr(volumes, "watched", watched)
    execution = cast(Any, SimpleNamespace(project=None, report=lambda *_: None))
    step = FetchCluster("fetch", "fetch", options=("--type=time",), others=("B", "A"))
    if fails:
        with pytest.raises(OpsError, match=fails):
            step.run(execution)
    else:
        step.run(execution)

    wanted = [("fetch", "--type=time"), ("fetch", "--set=B", "--type=time"), ("fetch", "--set=A", "--type=time")]
    assert asked == wanted[:tried]


def test_repository_is_read_by_a_container_that_cannot_write_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Sequence[str]] = []

    def run(argv: Sequence[str], **_: Any) -> Result:
        ran.append(argv)
        return Result(tuple(argv), 0, "[]", "", 0.0)

    monkeypatch.setattr(podman, "run", run)
    project = Project(settings(), Host("cc03-test", State(tmp_path / "cc03-test")))
    project.state.prepare()
    local = Repository("local", "folder", {"path": "/copy"})
    far = Repository("bootstrap", "sftp", {"host": "nas", "user": "u", "path": "/p", "address": "192.0.2.7"})
    for one in (local, far):
        given = {"key": "private"} if one.remote else {}
        assert repository.Reader(project, "backup:1", repository.Source(one, "k" * 43, given)).ask("snapshots") == "[]"

    (here, there) = (argv for argv in ran if argv[1] == "run")
    assert "/copy/files:/var/lib/pgbackrest/files:ro" in here
    assert [argv[argv.index("--network") + 1] for argv in (here, there)] == ["none", "host"]
    assert "nas:192.0.2.7" in there and all("--read-only" in argv for argv in (here, there))
    assert not list(project.state.root.glob(".bootstrap-*")), "keys and credentials are gone with it"
