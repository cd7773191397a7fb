"""What every command does with --dry, with a reader that goes away, with Ctrl-C, and with a host that refuses."""

from __future__ import annotations

import os
import signal
import stat
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from invoke import Collection, Context, Program

from ops.cli import command as common
from ops.cli.command import print_json, verb
from ops.core.errors import OpsError
from tests.unit.builders import REPOSITORY

DONE: list[str] = []


@verb(help={"plan": "show it"})
def change(c: Context, plan: bool = False) -> None:
    """Change something."""
    DONE.append("shown" if plan else "changed")


@verb()
def remove(c: Context) -> None:
    """Change something, without a plan."""
    DONE.append("removed")


@verb(changes=False)
def look(c: Context) -> None:
    """Read something."""
    DONE.append("read")


@verb(changes="report", help={"report": "file"})
def check(c: Context, report: str = "") -> None:
    """Read something, and write a file where one is named."""
    DONE.append(f"checked {report}".strip())


@verb(changes=False)
def wait(c: Context) -> None:
    """Read for ever."""
    raise KeyboardInterrupt


@verb()
def work(c: Context) -> None:
    """Change for ever."""
    raise KeyboardInterrupt


@verb(changes=False)
def full(c: Context) -> None:
    """Write where there is no space."""
    raise OSError(28, "No space left on device", "/some/file")


COMMANDS = Collection(change, remove, look, check, wait, work, full)


@pytest.fixture(autouse=True)
def _nothing_done() -> None:
    DONE.clear()


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        Program(namespace=COMMANDS, binary="inv").run(["inv", *words])
        raise SystemExit(0)
    return int(caught.value.code or 0)


@pytest.mark.parametrize("words", [("--dry", "change"), ("change", "--dry"), ("-R", "change")])
def test_dry_shows_the_plan(words: tuple[str, ...]) -> None:
    assert (run(*words), DONE) == (0, ["shown"])


@pytest.mark.parametrize("words", [("--dry", "remove"), ("--dry", "check", "--report", "page.md")])
def test_dry_without_a_plan_is_refused_before_anything_happens(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (run(*words), DONE) == (2, [])
    assert capsys.readouterr().err.startswith("failed: --dry cannot show what this command would do")


@pytest.mark.parametrize(("word", "done"), [("look", "read"), ("check", "checked")])
def test_dry_does_not_hold_up_what_only_reads(word: str, done: str) -> None:
    assert (run("--dry", word), DONE) == (0, [done])


@pytest.mark.parametrize(
    ("word", "option"),
    [
        ("--echo", "--echo"), ("-e", "--echo"), ("--hide=out", "--hide"), ("--pty", "--pty"), ("-p", "--pty"),
        ("--warn-only", "--warn-only"), ("-w", "--warn-only"), ("-T5", "--command-timeout"),
        ("--prompt-for-sudo-password", "--prompt-for-sudo-password"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["change", "look"])
def test_option_of_invoke_that_has_no_effect_is_refused(
    word: str, option: str, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getpass", lambda prompt: "")

    assert (run(word, command), DONE) == (2, [])
    first, why, following = capsys.readouterr().err.splitlines()
    assert (first, following) == (f"failed: inv has no option {option}", "  next: inv --help")
    assert "run none through it" in why


def test_reading_command_ends_in_silence_when_the_operator_has_enough(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("wait") == 0
    assert capsys.readouterr().err == ""


def test_interrupted_change_says_so_and_exits_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("work") == 130
    assert "interrupted" in capsys.readouterr().err


def test_full_disk_is_no_defect_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("full") == 3
    assert capsys.readouterr().err.splitlines()[1] == "   why: /some/file: No space left on device"


@pytest.mark.parametrize(("changes", "finishes"), [(True, True), (False, False)])
def test_closed_pipe_ends_what_reads_and_never_half_a_change(
    changes: bool, finishes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    @verb(changes=changes)
    def say(c: Context) -> None:
        """Print much, then be done."""
        for number in range(1000):
            print("line", number, flush=True)
        DONE.append("finished")

    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as unread:
        monkeypatch.setattr(sys, "stdout", unread)
        with pytest.raises(SystemExit) as ended:
            Program(namespace=Collection(say), binary="inv").run(["inv", "say"])
            raise SystemExit(0)
    assert (ended.value.code, bool(DONE)) == (0, finishes)


def test_lost_session_is_an_interrupt() -> None:
    before = signal.getsignal(signal.SIGHUP)
    caught: list[str] = []

    @verb()
    def hang(c: Context) -> None:
        """Be hung up on."""
        try:
            os.kill(os.getpid(), signal.SIGHUP)
        except KeyboardInterrupt:
            caught.append("interrupted")
            raise OpsError("reverted", "the session ended", "nothing") from None

    # Under nohup it would be ignored, and stay so.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as ended:
            Program(namespace=Collection(hang), binary="inv").run(["inv", "hang"])
    finally:
        signal.signal(signal.SIGHUP, before)
    assert (ended.value.code, caught) == (1, ["interrupted"])


@pytest.mark.parametrize("told", [True, False])
def test_commands_are_found_from_any_folder_where_invoke_is_told_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], told: bool
) -> None:
    """docs/reference/commands.md promises it, and what is said elsewhere. The file of the system is read as that of a user."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    if told:
        (tmp_path / ".invoke.yaml").write_text(f"tasks:\n  search_root: {REPOSITORY}\n")

    Program().run(["inv", "--list"], exit=False)
    shown = capsys.readouterr()
    assert ("deploy" in shown.out) is told
    assert ("Can't find any collection named 'tasks'!" in shown.err) is not told


@pytest.fixture
def everybodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def report(problem: Exception) -> Path:
    return Path(common._defect(problem).next_step.removeprefix("report it with "))


def test_report_is_for_its_owner_alone(everybodys: Path) -> None:
    found = report(RuntimeError("what went wrong"))

    assert "what went wrong" in found.read_text()
    assert found.parent == everybodys
    assert stat.S_IMODE(found.stat().st_mode) == 0o600


def test_report_follows_no_link_that_another_account_has_laid(everybodys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = report(RuntimeError("first"))
    victim = everybodys.parent / "victim"
    victim.write_text("untouched")
    first.unlink()
    first.symlink_to(victim)
    # The same moment and the same process: a name made of both alone would be the same again.
    monkeypatch.setattr(time, "strftime", lambda form: first.name.split("-")[2])

    second = report(RuntimeError("second"))

    assert victim.read_text() == "untouched"
    assert second != first


def test_json_is_indented_and_has_times_in_iso_format(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"at": datetime(2026, 1, 31, tzinfo=UTC)})

    assert capsys.readouterr().out == '{\n  "at": "2026-01-31T00:00:00+00:00"\n}\n'
