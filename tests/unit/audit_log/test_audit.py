"""The audit trail on disk: what a change leaves there, however it ends."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ops.audit_log import entries as trail
from ops.audit_log import record as audit
from ops.audit_log.commands import broken, described, table
from ops.core import records
from ops.core.errors import HostLacks, LockHeld, NeedsPerson, OpsError
from ops.core.plan import Described, Plan
from ops.core.state import State
from ops.engines.podman.host import Host
from ops.project import Project
from tests.unit.builders import settings

PLAN = Plan("deploy", (Described("a", "do a"), Described("b", "do b")))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(audit, "origin", lambda repository: {"commit": "c0ffee", "dirty": True})
    monkeypatch.setattr("sys.argv", ["/bin/inv", "deploy", "--yes"])
    state = State(tmp_path / "cc03")
    state.prepare()
    return Project(settings(), Host("cc03", state))


def written(project: Project) -> list[dict[str, Any]]:
    return [json.loads(line) for line in project.state.audit.read_text().splitlines()]


def test_change_that_succeeds_has_a_beginning_and_an_end(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "some-login")
    monkeypatch.setenv("SUDO_UID", "1042")
    hooks: list[Mapping[str, Any]] = []
    with audit.audited(project, PLAN, hooks):
        assert [entry["event"] for entry in written(project)] == ["begin"]
        hooks.append({"hook": "pre-deploy", "outcome": "done"})

    begin, end = written(project)
    assert (begin["who"], begin["uid"], begin["command"], begin["verb"]) == ("some-login", 1042, "inv deploy --yes", "deploy")
    assert (begin["steps"], begin["commit"], begin["dirty"]) == (2, "c0ffee", True)
    assert (end["event"], end["of"], end["outcome"], end["why"]) == ("end", 1, "done", "")
    assert (end["who"], end["plan"], end["began"]) == ("some-login", begin["plan"], begin["at"])
    assert end["hooks"] == [{"hook": "pre-deploy", "outcome": "done"}]
    assert end["seconds"] >= 0
    assert audit.verify(project.state).findings == ()


def test_without_sudo_it_is_the_account(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.delenv("SUDO_UID", raising=False)
    with audit.audited(project, PLAN):
        pass

    assert written(project)[0]["who"]
    assert written(project)[0]["uid"] == os.getuid()


@pytest.mark.parametrize(
    ("problem", "outcome", "why"),
    [
        (OpsError("it broke", "no space", "df"), "failed", "it broke: no space"),
        (NeedsPerson("half done", "x", "y"), "needs-person", "half done: x"),
        (KeyboardInterrupt(), "interrupted", "interrupted by the operator"),
        (ZeroDivisionError("oops"), "failed", "ZeroDivisionError: oops"),
        (OpsError("it broke", "https://me:pw@host said no", ""), "failed", "it broke: https://me:[REDACTED]@host said no"),
    ],
)
def test_change_that_fails_says_how_and_the_failure_goes_on(
    project: Project, problem: BaseException, outcome: str, why: str
) -> None:
    with pytest.raises(type(problem)), audit.audited(project, PLAN):
        raise problem

    end = written(project)[-1]
    assert (end["event"], end["outcome"], end["why"]) == ("end", outcome, why)


def test_change_that_a_pre_hook_stopped_was_refused(project: Project) -> None:
    hooks: list[Mapping[str, Any]] = []
    with pytest.raises(OpsError), audit.audited(project, PLAN, hooks):
        hooks.append({"hook": "pre-deploy", "outcome": "failed"})
        raise OpsError("pre-deploy hook refused", "friday", "")

    assert written(project)[-1]["outcome"] == "refused"


def killed(project: Project) -> None:
    """A beginning as a process leaves it that was killed meanwhile."""
    child = os.fork()
    if child == 0:
        try:
            with audit.audited(project, PLAN):
                os._exit(9)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_beginning_without_an_end_was_killed_or_is_under_way(project: Project) -> None:
    killed(project)
    with audit.audited(project, PLAN):
        assert [change["outcome"] for change in audit.changes(project.state)] == ["killed", "under way"]

    assert [change["outcome"] for change in audit.changes(project.state)] == ["killed", "done"]
    assert audit.verify(project.state).findings == ()


def test_trail_that_cannot_be_written_stops_the_change_before_it_begins(project: Project) -> None:
    project.state.audit.mkdir()

    with pytest.raises(HostLacks, match=r"cannot write .*audit\.jsonl"), audit.audited(project, PLAN):
        pytest.fail("it began")


def test_end_that_cannot_be_written_hides_no_failure(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(LockHeld), audit.audited(project, PLAN):
        monkeypatch.setattr(os, "fsync", full)
        raise LockHeld("the real cause", "", "")
    with pytest.raises(OpsError, match="is done, but the audit log does not record it"):
        monkeypatch.undo()
        monkeypatch.setattr(audit, "origin", lambda repository: {"commit": None, "dirty": None})
        with audit.audited(project, PLAN):
            monkeypatch.setattr(os, "fsync", full)


def test_destroy_that_removes_the_folder_does_not_bring_it_back(project: Project) -> None:
    with audit.audited(project, PLAN):
        shutil.rmtree(project.state.root)

    assert not project.state.root.exists()


def test_trail_is_for_root_only_and_its_copy_has_the_form_of_the_containers_logs(project: Project) -> None:
    with audit.audited(project, PLAN):
        pass

    assert [path.stat().st_mode & 0o777 for path in (project.state.audit, project.state.audit_head)] == [0o600, 0o600]
    copies = (project.state.logs / "audit.log").read_text().splitlines()
    assert len(copies) == 2
    at, stream, whole, text = copies[1].split(" ", 3)
    assert (at[10], at[-6:], stream, whole) == ("T", "+00:00", "stdout", "F")
    row = json.loads(text)
    assert row["message"].endswith("inv deploy --yes: done")
    assert row["hash"] == written(project)[1]["hash"]


def test_copy_that_cannot_be_written_stops_nothing(project: Project) -> None:
    (project.state.logs / "audit.log").mkdir()
    with audit.audited(project, PLAN):
        pass

    assert len(written(project)) == 2


def test_verify_reads_file_and_head_and_says_it_in_one_line(project: Project) -> None:
    assert described(audit.verify(project.state)) == "0 entries: nothing has been changed yet"
    for _ in range(2):
        with audit.audited(project, PLAN):
            pass
    assert described(audit.verify(project.state)).startswith("4 entries, unbroken since 2")

    lines = project.state.audit.read_text().splitlines(keepends=True)
    project.state.audit.write_text("".join(lines[:-1]))
    problem = broken(audit.verify(project.state))
    assert (problem.exit_code, str(problem)) == (1, "the audit log is broken, first at line 3")
    assert problem.why == "line 3 is the last, and audit.head counts 1 more after it: removed"


def test_table_has_a_row_for_each_change(project: Project) -> None:
    with pytest.raises(OpsError), audit.audited(project, PLAN):
        raise OpsError("it broke [here]", "no space", "")
    screen = Console(width=160, file=StringIO())
    screen.print(table(audit.changes(project.state)))

    (row,) = screen.file.getvalue().splitlines()[1:]  # type: ignore[attr-defined]
    assert row.split()[3:5] == ["deploy", "failed"]
    assert row.rstrip().endswith("it broke [here]: no space")


def test_head_that_cannot_be_read_counts_as_missing(project: Project) -> None:
    for _ in range(2):
        with audit.audited(project, PLAN):
            pass
    project.state.audit_head.write_text("{half")

    assert [place.line for place, _ in audit.verify(project.state).findings] == [4]


def test_entries_of_several_processes_at_once_make_one_chain(project: Project) -> None:
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            for _ in range(5):
                audit.append(project.state, {"who": "x", "command": "y"})
            os._exit(0)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4

    verdict = audit.verify(project.state)
    assert (verdict.entries, verdict.findings) == (20, ())


@pytest.mark.parametrize("tail", [1, 300, 900, 1 << 20])
@pytest.mark.parametrize("ending", [b"", b"\n", b'{"cut', b"\n" + b"x" * 2000, b"\nx\ny\n"])
def test_next_entry_goes_on_from_the_same_place_whatever_is_read_of_the_end(
    project: Project, monkeypatch: pytest.MonkeyPatch, tail: int, ending: bytes
) -> None:
    for number in range(6):
        audit.append(project.state, {"who": "root", "command": "inv deploy", "number_of": number, "why": "x" * 50 * number})
    data = project.state.audit.read_bytes()[:-1] + ending
    monkeypatch.setattr(records, "TAIL", tail)

    for content in (data, data[:200], b""):
        for head in (audit.read_head(project.state), None):
            assert audit._tip([BytesIO(content)], head) == trail.tip(content, head)


def test_entry_reads_the_end_of_a_long_trail_only(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(20):
        audit.append(project.state, {"who": "root", "command": "inv deploy"})
    read: list[int] = []
    real = trail.tip

    def counted(data: bytes, head: trail.Head | None) -> trail.Tip:
        read.append(len(data))
        return real(data, head)

    monkeypatch.setattr(records, "TAIL", 500)
    monkeypatch.setattr(trail, "tip", counted)

    audit.append(project.state, {"who": "root", "command": "inv deploy"})

    assert max(read) < 600
    assert audit.verify(project.state).findings == ()
