"""The first lines of inv status, in words."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ops.core.errors import HostLacks
from ops.core.state import State
from ops.releases.headline import Situation, headline
from ops.releases.situation import TAIL_BYTES, is_stopped, must_run, situation
from ops.stack.release import GOOD, Activation

DEPLOYED = Activation(7, "deploy", "2026-01-31T12:00:00+0000", GOOD)
BACK = Activation(6, "rollback", "2026-01-31T13:00:00+0000", GOOD)


def entry(verb: str, outcome: str = "done", why: str = "", at: str = "2026-01-31T13:05:00+0000") -> dict[str, Any]:
    return {"event": "end", "verb": verb, "who": "ada", "at": at, "outcome": outcome, "why": why}


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        (Situation(), ["no release yet: inv deploy"]),
        (Situation(7, [DEPLOYED]), ["release 7 since 2026-01-31 12:00 (deploy)"]),
        (Situation(8, [DEPLOYED, Activation(8, "deploy", "x", "failed")]),
         ["release 8, which has never served: inv releases"]),
        (Situation(7, [DEPLOYED], [{"event": "begin", "verb": "scale"}, entry("secrets.rotate")]),
         ["release 7 since 2026-01-31 12:00 (deploy)", "last operation: inv secrets.rotate by ada at 2026-01-31 13:05, done"]),
        (Situation(7, [DEPLOYED], [entry("deploy", "failed", "cannot build nginx: no network")]),
         ["release 7 since 2026-01-31 12:00 (deploy)",
          "last operation: inv deploy by ada at 2026-01-31 13:05, failed: cannot build nginx: no network"]),
        (Situation(7, [DEPLOYED], [entry("stop"), entry("backup.make")], stopped=True),
         ["release 7 since 2026-01-31 12:00 (deploy)", "last operation: inv backup.make by ada at 2026-01-31 13:05, done",
          "stopped by ada at 2026-01-31 13:05 (inv stop): inv start starts it"]),
        (Situation(7, [DEPLOYED], stopped=True),
         ["release 7 since 2026-01-31 12:00 (deploy)", "stopped on purpose (inv stop): inv start starts it"]),
        (Situation(6, [DEPLOYED, BACK], [entry("rollback")]),
         ["release 6 since 2026-01-31 13:00 (rollback)", "last operation: inv rollback by ada at 2026-01-31 13:05, done",
          "rolled back by ada: the next inv deploy applies the checkout again"]),
        (Situation(7, [DEPLOYED], broken_off="inv deploy of 2026-01-31, in: build nginx"),
         ["release 7 since 2026-01-31 12:00 (deploy)",
          "interrupted: inv deploy of 2026-01-31, in: build nginx; the same command continues from there"]),
    ],
)  # fmt: skip
def test_headline(found: Situation, lines: list[str]) -> None:
    assert [line.text for line in headline(found)] == lines


def test_a_deploy_after_a_rollback_ends_the_warning() -> None:
    again = Activation(8, "deploy", "2026-01-31T14:00:00+0000", GOOD)

    assert not [line for line in headline(Situation(8, [DEPLOYED, BACK, again])) if "rolled back" in line.text]


def test_state_folder_is_read_and_only_the_end_of_a_long_audit_log(tmp_path: Path) -> None:
    state = State(tmp_path)
    (tmp_path / "ticker").mkdir()
    lines = [json.dumps(entry("deploy", why="x" * 1000)) for _ in range(2 * TAIL_BYTES // 1000)]
    state.audit.write_text("\n".join([*lines, json.dumps(entry("stop")), "{cut off"]))
    assert not is_stopped(state)
    (tmp_path / "ticker" / "stopped").touch()

    found = situation(state)

    assert found.stopped and found.release is None
    assert found.operations[-1]["verb"] == "stop" and len(found.operations) < len(lines)


def test_empty_state_folder_has_a_headline(tmp_path: Path) -> None:
    assert [line.text for line in headline(situation(State(tmp_path)))] == ["no release yet: inv deploy"]


def test_command_that_needs_the_stack_says_that_it_was_stopped_and_by_whom(tmp_path: Path) -> None:
    project: Any = SimpleNamespace(state=State(tmp_path))
    assert must_run(project) is project
    (tmp_path / "ticker").mkdir()
    (tmp_path / "ticker" / "stopped").touch()
    project.state.audit.write_text(json.dumps(entry("stop")))

    with pytest.raises(HostLacks) as caught:
        must_run(project)

    assert caught.value.lines() == (
        "failed: the stack is stopped",
        "   why: by ada at 2026-01-31 13:05 (inv stop); this command needs it",
        "  next: inv start, then the same command",
    )
