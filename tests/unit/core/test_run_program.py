"""What a program is given, what comes back of it, and how its failure is told. The program stands in for `subprocess.Popen`."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ops.core import process as running
from ops.core.errors import HostLacks, OpsError
from ops.core.process import Result, account, alongside, detach, installed, run, shown, stream, tail
from tests.unit.power_cut import recorded


@dataclass(eq=False)
class Program:
    """Ends at once. options: what it was started with; given: what was written to its standard input."""

    code: int = 0
    out: str = ""
    err: str = ""
    missing: OSError | None = None
    ended: bool = True
    argv: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    given: str | None = None
    timeout: float | None = None
    stdin: Any = field(default_factory=StringIO)

    pid = 1 << 30
    returncode: int | None = None

    def __call__(self, argv: list[str], **options: Any) -> Program:
        if self.missing:
            raise self.missing
        self.argv = self.args = argv
        self.options, self.stdout = options, StringIO(self.out)
        for stream_of_it, text in (("stdout", self.out), ("stderr", self.err)):
            target: Any = options.get(stream_of_it)
            if hasattr(target, "write"):
                binary = "b" in getattr(target, "mode", "")
                target.write(text.encode() if binary else text)
        source: Any = options.get("stdin")
        if hasattr(source, "read"):
            content = source.read()
            self.given = content.decode() if isinstance(content, bytes) else content
        return self

    def communicate(self, given: str | None = None, timeout: float | None = None) -> tuple[str | None, str | None]:
        self.given = given if given is not None else self.given
        self.wait(timeout)
        piped = subprocess.PIPE
        return (
            self.out if self.options["stdout"] == piped else None,
            self.err if self.options["stderr"] == piped else None,
        )

    def wait(self, timeout: float | None = None) -> int:
        self.timeout = timeout
        self.returncode = self.code
        return self.code

    def poll(self) -> int | None:
        return self.code if self.ended else None


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    made = Program()
    monkeypatch.setattr(subprocess, "Popen", made)
    return made


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []

    def killpg(pid: int, number: int) -> None:
        found.append((pid, number))
        raise ProcessLookupError

    monkeypatch.setattr(os, "killpg", killpg)
    return found


# run


def test_result_has_what_the_program_said_and_how_it_ended(program: Program) -> None:
    program.out, program.err = "out\n", "err\n"
    found = run(["podman", "ps"], timeout=7)

    assert (found.argv, found.returncode, found.stdout, found.stderr) == (("podman", "ps"), 0, "out\n", "err\n")
    assert 0 <= found.seconds < 60
    assert (program.argv, program.timeout) == (["podman", "ps"], 7)
    assert program.options["start_new_session"] is True and program.options["text"] is True
    assert program.options["errors"] == "replace", "what is no UTF-8 must not end the command"


def test_program_without_input_gets_none_of_ours(program: Program) -> None:
    run(("cat",), timeout=1)
    assert (program.options["stdin"], program.given) == (subprocess.DEVNULL, None)


@pytest.mark.parametrize("text", ["secret", ""])
def test_text_is_written_to_its_input(program: Program, text: str) -> None:
    run(("cat",), timeout=1, stdin=text)
    assert (program.options["stdin"], program.given) == (subprocess.PIPE, text)


def test_variables_are_added_to_the_present_ones(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESENT", "1")
    run(("env",), timeout=1, env={"ADDED": "2"})
    assert {"PRESENT": "1", "ADDED": "2"}.items() <= program.options["env"].items()
    run(("env",), timeout=1)
    assert program.options["env"] == dict(os.environ)


def test_file_is_its_input_byte_for_byte(program: Program, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(b"bytes")
    run(("tar",), timeout=1, source=tmp_path / "archive")
    assert program.given == "bytes" and program.options["stdin"].closed


def test_file_for_its_output_is_for_its_owner_alone_and_on_the_disk(program: Program, tmp_path: Path) -> None:
    (tmp_path / "dump").write_text("of the last time, and longer")
    (tmp_path / "dump").chmod(0o600)
    program.out, program.err = "new", "noise"
    with recorded(tmp_path) as power:
        found = run(("pg_dump",), timeout=1, target=tmp_path / "dump")
        (content,) = [image.content for path, image in power.after_cut().items() if path.name == "dump"]

    assert content == b"new" and (tmp_path / "dump").read_text() == "new"
    assert (found.stdout, found.stderr) == ("", "noise")
    before = os.umask(0)
    try:
        run(("pg_dump",), timeout=1, target=tmp_path / "other")
    finally:
        os.umask(before)
    assert (tmp_path / "other").stat().st_mode & 0o777 == 0o600


def test_log_receives_both_streams_behind_what_it_has(program: Program, tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    log.write_text("of before\n")
    program.out = "step 1\n"
    found = run(("podman", "build"), timeout=1, log=log)

    assert log.read_text() == "of before\nstep 1\n"
    assert program.options["stderr"] == subprocess.STDOUT and (found.stdout, found.stderr) == ("", "")


@pytest.mark.parametrize(("ok", "code"), [((0,), 0), ((0, 1), 1), (None, 125)])
def test_exit_codes_that_count_as_success(program: Program, ok: tuple[int, ...] | None, code: int) -> None:
    program.code = code
    assert run(("diff",), timeout=1, ok=ok).returncode == code


def test_failure_is_told_with_the_last_words(program: Program) -> None:
    program.code, program.out, program.err = 125, "ignored", "one\ntwo\n  three\nfour\n"
    with pytest.raises(OpsError) as caught:
        run(("podman", "run", "x"), timeout=1)

    assert (caught.value.what, caught.value.why) == ("podman run x", "exit code 125: two / three / four")
    assert caught.value.next_step == "inv doctor"


def test_failure_is_told_with_the_end_of_its_log(program: Program, tmp_path: Path) -> None:
    program.code, program.out = 1, "one\n\n two \nthree\nfour\n"
    with pytest.raises(OpsError) as caught:
        run(("make",), timeout=1, log=tmp_path / "log")

    assert caught.value.why == "exit code 1: two / three / four" and caught.value.next_step == f"read {tmp_path / 'log'}"


def test_program_that_is_not_installed_is_lacked(program: Program, tmp_path: Path) -> None:
    program.missing = FileNotFoundError(2, "No such file or directory", "nft")
    with pytest.raises(HostLacks, match="cannot run nft"):
        run(("nft", "list"), timeout=1)
    with pytest.raises(HostLacks, match="cannot run nft"), alongside(("nft",), log=tmp_path / "log", env={}):
        pytest.fail("the block ran without it")


@pytest.mark.parametrize(
    ("out", "err", "words"),
    [
        ("", "", "it printed nothing"),
        ("a\nb", "", "a / b"),
        ("a", " \n", "a"),
        ("a", "b", "b"),
        ("", "1\n2\n3\n4", "2 / 3 / 4"),
    ],
)
def test_last_words_are_those_of_the_errors_first(out: str, err: str, words: str) -> None:
    assert Result(("x",), 1, out, err, 0.0).last_words() == words


def test_number_of_last_words_can_be_chosen() -> None:
    assert Result(("x",), 1, "a\nb", "", 0.0).last_words(1) == "b"


def test_end_of_a_log_that_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"\n \n")
    assert tail(tmp_path / "log") == "it printed nothing"
    (tmp_path / "log").write_bytes(b"\xff bad\nlast\n")
    assert tail(tmp_path / "log", 1) == "last"


def test_long_command_lines_are_cut() -> None:
    assert shown(("a", "b")) == "a b"
    assert shown(("x" * 160,)) == "x" * 160
    assert shown(("x" * 161,)) == "x" * 159 + "…"
    assert len(shown(("podman", "x" * 500), limit=20)) == 20


def test_account_is_the_login_behind_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 1234)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_name=f"user{uid}"))
    monkeypatch.setenv("SUDO_USER", "anna")
    assert account() == "anna"
    monkeypatch.delenv("SUDO_USER")
    assert account() == "user1234"

    def unknown(uid: int) -> Any:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert account() == "1234", "a container has no entry for it"


def test_program_is_looked_up_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/sbin/nft" if name == "nft" else None)
    assert installed("nft") and not installed("podman")


# stream


def test_hook_has_its_environment_its_folder_and_its_input_and_nothing_more(
    program: Program, killed: list[tuple[int, int]], tmp_path: Path
) -> None:
    program.out, program.code = "one\ntwo", 3
    lines: list[str] = []
    daemons: list[bool] = []

    def each(line: str) -> None:
        lines.append(line)
        daemons.append(threading.current_thread().daemon)

    code = stream(("./hook",), timeout=9, stdin="facts", env={"A": "1"}, cwd=tmp_path, each=each)

    assert daemons == [True, True], "what has left the group of the hook must not keep the command from its end"
    assert (code, lines, program.given, program.timeout) == (3, ["one", "two"], "facts", 9)
    assert (program.options["env"], program.options["cwd"]) == ({"A": "1"}, tmp_path)
    options = program.options
    assert (options["stdout"], options["stderr"], options["errors"]) == (subprocess.PIPE, subprocess.STDOUT, "replace")
    assert killed == [(program.pid, signal.SIGKILL)], "what it has left in its group"


def test_line_without_an_end_is_passed_on_in_parts(
    program: Program, killed: list[tuple[int, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "LONGEST_LINE", 4)
    program.out = "123456\n"
    lines: list[str] = []
    stream(("./hook",), timeout=9, stdin="", env={}, cwd=tmp_path, each=lines.append)
    assert lines == ["1234", "56"]


def test_hook_that_cannot_be_started_is_told(program: Program, tmp_path: Path) -> None:
    program.missing = PermissionError(13, "Permission denied", "./hook")
    with pytest.raises(OpsError, match=r"cannot run \./hook") as caught:
        stream(("./hook",), timeout=9, stdin="", env={}, cwd=tmp_path, each=lambda line: None)
    assert caught.value.why == "Permission denied"


# Programs beside this one.


def test_program_that_outlives_this_one_stands_alone(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("PRESENT", "1")
    log = tmp_path / "log"
    log.write_text("of before\n")
    program.out = "begins\n"

    assert detach(("python3", "-m", "x"), log=log, env={"ADDED": "2"}) == program.pid
    assert program.argv == ["python3", "-m", "x"] and log.read_text() == "of before\nbegins\n"
    options = program.options
    assert (options["stdin"], options["stderr"]) == (subprocess.DEVNULL, subprocess.STDOUT)
    assert options["start_new_session"] is True and options["cwd"] == "/", "else it would hold a folder that is to go"
    assert {"PRESENT": "1", "ADDED": "2"}.items() <= options["env"].items()


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    found: list[int] = []
    monkeypatch.setattr(running, "_end", lambda processes: found.extend(one.pid for one in processes))
    yield found


@pytest.mark.parametrize("still_runs", [True, False])
def test_program_beside_a_block_is_ended_with_it_unless_it_has_ended_by_itself(
    program: Program, ended: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, still_runs: bool
) -> None:
    """The number of one that has ended may be another's by now."""
    monkeypatch.setenv("PRESENT", "1")
    program.ended, program.code, program.out = not still_runs, 3, "said\n"
    (tmp_path / "log").write_text("of before\n")
    with alongside(("prober",), log=tmp_path / "log", env={"ADDED": "2"}) as poll:
        assert poll() == (None if still_runs else 3)
        assert not program.stdin.closed, "its end tells the program that we are gone"

    assert ended == ([program.pid] if still_runs else [])
    assert program.stdin.closed
    assert (tmp_path / "log").read_text() == "of before\nsaid\n"
    options = program.options
    assert (options["stdin"], options["stderr"], options["text"]) == (subprocess.PIPE, subprocess.STDOUT, True)
    assert options["start_new_session"] is True and {"PRESENT": "1", "ADDED": "2"}.items() <= options["env"].items()


def test_input_is_closed_also_where_the_end_of_it_fails(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    def fails(_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "_end", fails)
    program.ended = False
    with pytest.raises(KeyboardInterrupt), alongside(("prober",), log=tmp_path / "log", env={}):
        pass
    assert program.stdin.closed
