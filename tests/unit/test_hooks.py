"""Hooks: which run, what they get, and who is heard. That real programs are run and ended: tests/smoke/test_hooks.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from ops import hooks
from ops.core.errors import OpsError, UsageProblem
from ops.core.plan import Described, Plan
from ops.core.state import State
from ops.engines.podman.host import Host
from ops.images.steps import BuildImage
from ops.project import Project
from ops.releases.steps import WriteRelease
from tests.unit.builders import settings

BUILD = BuildImage("image redis", "build redis", name="redis")
STEP = Described("start redis", "start redis")


class Programs:
    """Stands for `ops.core.process.stream`: keeps how each program was started, and answers as told."""

    def __init__(self) -> None:
        self.started: list[dict[str, Any]] = []
        self.answers: dict[str, tuple[int | None, list[str]]] = {}

    def __call__(self, argv: tuple[str, ...], *, each: Callable[[str], None], **how: Any) -> int | None:
        self.started.append({"name": Path(argv[0]).name, **how})
        code, lines = self.answers.get(Path(argv[0]).name, (0, []))
        for line in lines:
            each(line)
        return code

    @property
    def names(self) -> list[str]:
        return [one["name"] for one in self.started]


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Programs:
    made = Programs()
    monkeypatch.setattr(hooks, "stream", made)
    return made


@pytest.fixture
def project(tmp_path: Path) -> Project:
    state = State(tmp_path / "state")
    state.prepare()
    return Project(settings("hooks: {seconds: 7}"), Host("cc03", state, tmp_path / "checkout"))


def put(project: Project, *names: str, mode: int = 0o755) -> None:
    for name in names:
        path = project.host.repository / "config" / "hooks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(mode)


def nothing(_: object) -> None:
    return None


def test_without_the_folder_nothing_runs(project: Project, programs: Programs) -> None:
    hooks.before(project, Plan("deploy", (STEP,)), nothing, nothing)

    assert programs.names == []


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (Plan("deploy", (STEP,)), ("deploy",)),
        (Plan("deploy", (BUILD, STEP)), ("build", "deploy")),
        (Plan("build", (BUILD,)), ("build",)),
        (Plan("rollback", (STEP,)), ("rollback",)),
        (Plan("stop", (STEP,)), ()),
    ],
)
def test_hooks_of_a_plan_are_of_its_command_and_of_its_builds(plan: Plan, expected: tuple[str, ...]) -> None:
    assert hooks.occasions(plan) == expected


def test_file_runs_first_then_its_folder_by_name(project: Project, programs: Programs) -> None:
    put(project, "pre-deploy.d/20-b", "pre-deploy.d/10-a", "pre-deploy", "post-deploy", "pre-build", "pre-rollback")
    put(project, "README.md", "pre-deploy.example", ".hidden", "pre-deploy.d/old~", mode=0o644)

    hooks.before(project, Plan("deploy", (BUILD, STEP)), nothing, nothing)
    assert programs.names == ["pre-build", "pre-deploy", "10-a", "20-b"]
    programs.started.clear()
    hooks.after(project, Plan("deploy", (STEP,)), nothing, nothing)
    assert programs.names == ["post-deploy"]


@pytest.mark.parametrize("name", ["pre-deploy", "post-deploy", "pre-rollback.d/10-a"])
def test_file_that_may_not_be_executed_is_refused_before_anything_runs(project: Project, programs: Programs, name: str) -> None:
    put(project, "pre-deploy.d/00-first")
    put(project, name, mode=0o644)

    with pytest.raises(UsageProblem, match="cannot be run") as caught:
        hooks.before(project, Plan("deploy", (STEP,)), nothing, nothing)

    assert caught.value.next_step == f"chmod +x {project.host.repository}/config/hooks/{name}"
    assert programs.names == []


@pytest.mark.parametrize("name", ["pre-delpoy", "pre-deploy.sh", "pre-stop", "pre-deploy/10-a"])
def test_name_that_would_be_left_out_without_a_word_is_refused(project: Project, programs: Programs, name: str) -> None:
    put(project, name)

    with pytest.raises(UsageProblem, match="is no hook"):
        hooks.before(project, Plan("deploy", (STEP,)), nothing, nothing)


def test_hook_reads_the_plan_and_gets_a_bare_environment(
    project: Project, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_SECRET", "hunter2")
    monkeypatch.setenv("HOME", "/root")
    put(project, "pre-deploy")
    plan = Plan("deploy", (STEP, WriteRelease("release", "write release 12", number=12)), ("a note",), destroys=("a volume",))

    hooks.before(project, plan, nothing, nothing)

    (how,) = programs.started
    assert json.loads(how["stdin"]) == {
        "verb": "deploy", "project": "cc03", "release": 12, "notes": ["a note"], "destroys": ["a volume"],
        "steps": [{"key": "start redis", "title": "start redis"}, {"key": "release", "title": "write release 12"}],
    }  # fmt: skip
    assert set(how["env"]) == {"PATH", "HOME", "LANG", "CC03_PROJECT", "CC03_HOOK"}
    assert (how["env"]["CC03_PROJECT"], how["env"]["CC03_HOOK"], how["env"]["HOME"]) == ("cc03", "pre-deploy", "/root")
    assert (how["cwd"], how["timeout"]) == (project.host.repository, 7)


@pytest.mark.parametrize("written", [None, 11])
def test_plan_without_a_release_tells_the_present_one(project: Project, written: int | None) -> None:
    if written:
        project.state.current.mkdir()
        (project.state.current / "release.json").write_text(json.dumps({"number": written}))

    assert json.loads(hooks.given(project, Plan("deploy", (STEP,))))["release"] == written


@pytest.mark.parametrize(
    ("answer", "outcome", "why"),
    [
        ((1, ["checking", "not on fridays", ""]), "failed", "not on fridays"),
        ((3, []), "failed", "exit code 3, and it printed nothing"),
        ((None, ["still at it"]), "timed out", "it did not end within 7 s and was stopped"),
    ],
)
def test_pre_hook_that_fails_stops_the_row_and_says_why(
    project: Project, programs: Programs, answer: tuple[int | None, list[str]], outcome: str, why: str
) -> None:
    put(project, "pre-build", "pre-deploy.d/10-a", "pre-deploy.d/20-b")
    programs.answers["10-a"] = answer
    noted: list[Mapping[str, Any]] = []
    reported: list[str] = []

    with pytest.raises(OpsError) as caught:
        hooks.before(project, Plan("deploy", (BUILD, STEP)), reported.append, noted.append)

    assert caught.value.what == "pre-deploy hook config/hooks/pre-deploy.d/10-a refused"
    assert (caught.value.why, caught.value.exit_code) == (why, 1)
    assert programs.names == ["pre-build", "10-a"]
    assert [(one["hook"], one["outcome"]) for one in noted] == [("pre-build", "done"), ("pre-deploy", outcome)]
    assert reported == ["config/hooks/pre-build:", "config/hooks/pre-deploy.d/10-a:", *answer[1]]


def test_program_that_cannot_be_started_refuses(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_such(*_: object, **__: object) -> int:
        raise OpsError("cannot run it", "Exec format error", "its first line must name a program")

    monkeypatch.setattr(hooks, "stream", no_such)
    put(project, "pre-deploy")
    noted: list[Mapping[str, Any]] = []

    with pytest.raises(OpsError, match="refused") as caught:
        hooks.before(project, Plan("deploy", (STEP,)), nothing, noted.append)
    assert "Exec format error" in caught.value.why
    assert noted[0]["outcome"] == "failed"


def test_post_hook_that_fails_is_a_warning_only(project: Project, programs: Programs) -> None:
    put(project, "post-build", "post-deploy")
    programs.answers["post-build"] = (1, ["cannot reach the cache"])
    noted: list[Mapping[str, Any]] = []
    reported: list[str] = []

    hooks.after(project, Plan("deploy", (BUILD, STEP)), reported.append, noted.append)

    assert "warning: post-build hook config/hooks/post-build failed: cannot reach the cache" in reported
    assert [(one["hook"], one["outcome"]) for one in noted] == [("post-build", "failed"), ("post-deploy", "done")]


def test_what_a_hook_says_is_kept_for_the_log_store(project: Project, programs: Programs) -> None:
    put(project, "pre-deploy")
    programs.answers["pre-deploy"] = (1, ["one", "two"])

    with pytest.raises(OpsError):
        hooks.before(project, Plan("deploy", (STEP,)), nothing, nothing)

    rows = [json.loads(line.split(" ", 3)[3]) for line in (project.state.logs / "hooks.log").read_text().splitlines()]
    assert [row["message"] for row in rows] == ["one", "two", "config/hooks/pre-deploy failed: two"]
    assert {row["hook"] for row in rows} == {"pre-deploy"}
    assert rows[-1]["level"] == "error"


def test_kept_lines_start_afresh_where_they_grow_too_large(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from ops.core import files

    monkeypatch.setattr(files, "LOG_BYTES", 200)
    for _ in range(10):
        files.log_line(project.state.logs, "hooks", "x" * 50)

    assert (project.state.logs / "hooks.log").stat().st_size < 600


def test_example_is_not_active_and_can_be_made_so() -> None:
    from tests.unit.builders import REPOSITORY

    folder = REPOSITORY / "config" / "hooks"
    assert (folder / "pre-deploy.example").stat().st_mode & 0o111
    assert "pre-deploy" not in hooks.find_hooks(folder) or (folder / "pre-deploy").exists()
