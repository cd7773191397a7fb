"""Hooks as real programs, in a checkout and a state folder of the test's own: run, heard, ended with all that they started."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ops import hooks
from ops.core.errors import OpsError
from ops.core.plan import Described, Plan
from ops.core.process import until
from ops.core.state import State
from ops.engines.podman.host import Host
from ops.project import Project
from ops.stack.settings import parse_settings

PLAN = Plan("deploy", (Described("start redis", "start redis"),), destroys=("a volume",))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    state = State(tmp_path / "state")
    state.prepare()
    (tmp_path / "config" / "hooks").mkdir(parents=True)
    settings = parse_settings("hooks: {seconds: 2}", Path("stack.yaml"))
    return Project(settings, Host("cc03", state, tmp_path))


def hook(project: Project, name: str, text: str) -> None:
    path = project.host.repository / "config" / "hooks" / name
    path.write_text(text)
    path.chmod(0o755)


def run(project: Project) -> tuple[list[str], list[Mapping[str, Any]]]:
    reported: list[str] = []
    noted: list[Mapping[str, Any]] = []
    hooks.before(project, PLAN, reported.append, noted.append)
    return reported, noted


def ends(pid: int) -> None:
    def lives() -> str:
        stat = Path(f"/proc/{pid}/stat")
        try:
            return "" if stat.read_text().rpartition(")")[2].split()[0] == "Z" else f"process {pid} still runs"
        except OSError:
            return ""

    assert until(lives, 5) == ""


def test_hook_reads_the_plan_in_the_checkout_with_a_bare_environment(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_SECRET", "hunter2")
    hook(project, "pre-deploy", '#!/bin/sh\ncat >plan.json; env >env; echo "to both" >&2; echo "$PWD"\n')

    reported, noted = run(project)

    root = project.host.repository
    assert json.loads((root / "plan.json").read_text())["destroys"] == ["a volume"]
    names = {line.partition("=")[0] for line in (root / "env").read_text().splitlines()}
    assert names - {"PWD", "OLDPWD", "SHLVL", "_"} == {"PATH", "HOME", "LANG", "CC03_PROJECT", "CC03_HOOK"}
    assert reported == ["config/hooks/pre-deploy:", "to both", str(root)]
    assert noted[0]["outcome"] == "done"


def test_hook_that_reads_nothing_of_a_large_plan_holds_nobody_up(project: Project) -> None:
    hook(project, "pre-deploy", "#!/bin/sh\necho fine\n")
    large = Plan("deploy", tuple(Described(f"step {number}", "x" * 100) for number in range(5000)))
    reported: list[str] = []

    hooks.before(project, large, reported.append, lambda outcome: None)

    assert reported[-1] == "fine"


def test_hook_that_fails_refuses_with_its_last_line(project: Project) -> None:
    hook(project, "pre-deploy", "#!/bin/sh\necho checking\necho 'not on fridays' >&2\nexit 1\n")

    with pytest.raises(OpsError) as caught:
        run(project)

    assert caught.value.lines()[:2] == ("failed: pre-deploy hook config/hooks/pre-deploy refused", "   why: not on fridays")


def test_hook_that_takes_too_long_is_ended_with_what_it_started_however_stubborn(project: Project) -> None:
    script = (
        "#!/bin/sh\n(trap \"\" TERM; echo $$ >/dev/null; sh -c 'echo $PPID' >child; while :; do sleep 0.1; done) &\nsleep 60\n"
    )
    hook(project, "pre-deploy", script)
    began = time.monotonic()

    with pytest.raises(OpsError) as caught:
        run(project)

    assert caught.value.why == "it did not end within 2 s and was stopped"
    assert time.monotonic() - began < 15
    ends(int((project.host.repository / "child").read_text()))


def test_interrupt_ends_the_hook_and_goes_on(project: Project) -> None:
    hook(project, "pre-deploy", f"#!/bin/sh\necho $$ >hook\nsleep 0.3\nkill -INT {os.getpid()}\nsleep 60\n")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(project)
    finally:
        signal.signal(signal.SIGINT, before)

    ends(int((project.host.repository / "hook").read_text()))


def test_what_a_hook_leaves_running_is_ended_with_it(project: Project) -> None:
    """It would go on beside the next command, which has the lock then."""
    hook(project, "pre-deploy", "#!/bin/sh\nsleep 30 >/dev/null 2>&1 &\necho $! >left\necho started\n")
    began = time.monotonic()

    run(project)

    assert time.monotonic() - began < 2
    ends(int((project.host.repository / "left").read_text()))


@pytest.mark.parametrize("text", ["echo no first line\n", "#!/no/such/program\n"])
def test_file_that_is_no_program_refuses(project: Project, text: str) -> None:
    hook(project, "pre-deploy", text)

    with pytest.raises(OpsError, match="refused") as caught:
        run(project)
    assert "its first line must name a program" in caught.value.why


def test_hook_that_takes_too_long_is_ended_with_what_has_left_its_session(project: Project) -> None:
    hook(project, "pre-deploy", "#!/bin/sh\nsetsid sh -c 'echo $$ >child; sleep 60' &\nsleep 60\n")

    with pytest.raises(OpsError, match="refused"):
        run(project)

    ends(int((project.host.repository / "child").read_text()))
