"""Metrics of the commands: which release is current, how the last deploys ended, since when the lock is held."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ops.core import lock
from ops.engines.podman.supervisor.metrics import History, command_metrics, latest, read_history

GOOD = '{"verb": "deploy", "outcome": "good", "at": "1970-01-01T00:01:00+0000"}'
REVERTED = '{"verb": "deploy", "outcome": "reverted", "at": "1970-01-01T01:02:00+0100"}'
BACK = '{"verb": "rollback", "outcome": "good", "at": "1970-01-01T00:03:00+0000"}'
LATER = '{"verb": "deploy", "outcome": "good", "at": "1970-01-01T00:04:00+0000"}'


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        pytest.param([], {}, id="nothing yet"),
        pytest.param([GOOD, REVERTED, BACK],
                     {("deploy", "good"): 60.0, ("deploy", "reverted"): 120.0, ("rollback", "good"): 180.0}, id="each way"),
        pytest.param([GOOD, LATER], {("deploy", "good"): 240.0}, id="the last one counts"),
        pytest.param([GOOD, BACK[:30]], {("deploy", "good"): 60.0}, id="cut short by a crash"),
        pytest.param([GOOD, "{}", "7", '{"verb": "deploy", "outcome": "good", "at": "soon"}'], {("deploy", "good"): 60.0},
                     id="not what it should be"),
    ],
)  # fmt: skip
def test_last_time_of_each_outcome(lines: list[str], found: dict[tuple[str, str], float]) -> None:
    assert latest(lines) == found


def test_project_without_a_release_tells_only_of_its_lock(tmp_path: Path) -> None:
    found = read_history(tmp_path)

    assert found == History()
    assert [line for line in command_metrics(found, 100.0).splitlines() if not line.startswith("#")] == [
        "cc03_operation_running_seconds 0"
    ]


def test_files_of_a_project_are_read_and_read_again_when_they_have_grown(tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    (tmp_path / "releases" / "current").symlink_to("12")
    (tmp_path / "activations.jsonl").write_text(GOOD + "\n")
    assert read_history(tmp_path) == History(12, {("deploy", "good"): 60.0})

    with (tmp_path / "activations.jsonl").open("a") as file:
        file.write(BACK + "\n")
    assert read_history(tmp_path).ended == {("deploy", "good"): 60.0, ("rollback", "good"): 180.0}


def test_lock_is_told_while_it_is_held(tmp_path: Path) -> None:
    with lock.hold(tmp_path / "lock", "deploy"):
        noted = json.loads((tmp_path / "lock").read_text())["since"]
        since = read_history(tmp_path).lock_since
    assert since is not None
    assert latest([json.dumps({"verb": "", "outcome": "", "at": noted})]) == {("", ""): since}
    assert read_history(tmp_path).lock_since is None


def test_holder_of_whom_nothing_is_known_has_held_it_since_the_note_was_written(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock.hold(path, "deploy"):
        path.write_text("")
        assert read_history(tmp_path).lock_since == path.stat().st_mtime


@pytest.mark.parametrize(
    ("since", "seconds"),
    [
        pytest.param(None, "0", id="nobody"),
        pytest.param(40.0, "60", id="for a minute"),
        pytest.param(100.0, "1", id="just now"),
        pytest.param(500.0, "1", id="the clock was set back"),
    ],
)
def test_seconds_of_the_lock(since: float | None, seconds: str) -> None:
    assert f"cc03_operation_running_seconds {seconds}" in command_metrics(History(lock_since=since), 100.0).splitlines()


def test_exposition_is_the_text_format_that_prometheus_reads() -> None:
    text = command_metrics(History(12, {("deploy", "good"): 60.0, ("deploy", "reverted"): 120.4}, 40.0), 100.0)

    assert text.endswith("\n")
    told = [line for line in text.splitlines() if not line.startswith("#")]
    assert told == [
        "cc03_operation_running_seconds 60",
        "cc03_release 12",
        'cc03_activation_last_timestamp_seconds{verb="deploy",outcome="good"} 60',
        'cc03_activation_last_timestamp_seconds{verb="deploy",outcome="reverted"} 120',
    ]
    typed = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {re.split(r"[{ ]", line)[0] for line in told} == typed
