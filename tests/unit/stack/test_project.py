"""A question about a project leaves nothing on the host, and one that does not exist is told from one that is down."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests  # noqa: F401  (binds a socket when it is imported, which a test may not)
from invoke import Context, Exit

from ops import project as project_module
from ops.cli.execute import Operation, execute, planned
from ops.core.errors import HostLacks
from ops.core.plan import Described, Plan
from ops.core.process import Result
from ops.engines.podman import host as host_module
from ops.logs import commands as logs
from ops.project import Project, must_exist, open_project
from ops.stack.allocate import as_json
from ops.stack.seccomp import tightened
from ops.status import commands as status

Runs = Callable[[Sequence[str]], str]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that this host has nothing of, in an empty folder for the states of all projects."""
    monkeypatch.setenv("CC03_STATE", str(tmp_path / "states"))
    monkeypatch.setenv("CC03_PROJECT", "mistyped")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    answers(monkeypatch, lambda argv: "")
    return open_project()


def answers(monkeypatch: pytest.MonkeyPatch, said: Runs) -> list[Path]:
    """Podman answers what `said` makes of its arguments. Returns the containers.conf of each call, as they come."""
    used: list[Path] = []

    def run(argv: Sequence[str], *, env: dict[str, str], **_: Any) -> Result:
        used.append(Path(env["CONTAINERS_CONF"]))
        tomllib.loads(used[-1].read_text())
        return Result(tuple(argv), 0, said(argv), "", 0.0)

    monkeypatch.setattr(host_module, "run", run)
    return used


def states(project: Project) -> list[Path]:
    root = project.state.root.parent
    return sorted(root.rglob("*")) if root.exists() else []


def test_opening_a_project_and_asking_podman_makes_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    used = answers(monkeypatch, lambda argv: "")
    project.host.run(("podman", "ps"))

    assert states(project) == []
    assert project.state.root not in used[0].parents


def test_plan_that_is_only_shown_makes_nothing(project: Project) -> None:
    one = planned(project, lambda: Plan("deploy", (Described("a", "do a"),)))
    execute(Operation(project, "deploy", one, plan_only=True))
    execute(Operation(project, "destroy", planned(project, lambda: Plan("destroy"))))

    assert states(project) == []


def test_what_is_applied_runs_under_the_file_that_is_kept(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    used = answers(monkeypatch, lambda argv: "")
    project.host.prepare()
    project.host.run(("podman", "start", "a"))

    assert used == [project.state.containers_conf]
    assert project.state.secrets.is_dir()
    assert project.host.environment == project.host.lasting_environment


def test_file_of_an_earlier_version_is_not_used_and_replaced_when_something_is_applied(project: Project) -> None:
    project.host.prepare()
    wanted = project.state.containers_conf.read_text()
    project.state.containers_conf.write_text("[engine]\n")

    scratch = Path(project.host.environment["CONTAINERS_CONF"])
    assert _but_seccomp(scratch.read_text()) == _but_seccomp(wanted)
    assert project.state.containers_conf.read_text() == "[engine]\n"
    project.host.prepare()
    assert project.state.containers_conf.read_text() == wanted


def _but_seccomp(conf: str) -> list[str]:
    return [line for line in conf.splitlines() if not line.startswith("seccomp_profile")]


DEFAULT = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["read", "unshare"], "action": "SCMP_ACT_ALLOW"}]}


@pytest.fixture
def default_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The seccomp profile that this host installs for containers."""
    path = tmp_path / "seccomp.json"
    path.write_text(json.dumps(DEFAULT))
    monkeypatch.setattr(host_module, "SECCOMP_DEFAULTS", (tmp_path / "none.json", path))
    host_module.seccomp_profile.cache_clear()
    yield path
    host_module.seccomp_profile.cache_clear()


@pytest.mark.usefixtures("default_profile")
def test_every_container_gets_the_profile_that_is_made_from_the_default_of_the_host(project: Project) -> None:
    scratch = Path(project.host.environment["CONTAINERS_CONF"])
    project.host.prepare()
    profile = project.host.seccomp

    assert profile is not None
    for conf, where in ((scratch, scratch.parent), (project.state.containers_conf, project.state.seccomp)):
        named = Path(tomllib.loads(conf.read_text())["containers"]["seccomp_profile"])
        assert named.parent == where
        assert json.loads(named.read_text()) == tightened(DEFAULT)
    assert Path(tomllib.loads(project.state.containers_conf.read_text())["containers"]["seccomp_profile"]) == profile


def test_another_default_is_another_profile_and_the_former_one_stays(project: Project, default_profile: Path) -> None:
    project.host.prepare()
    before = project.host.seccomp
    default_profile.write_text(json.dumps({**DEFAULT, "syscalls": []}))
    host_module.seccomp_profile.cache_clear()
    project.host.prepare()

    assert before
    assert before.is_file()
    assert project.host.seccomp != before
    assert str(project.host.seccomp) in project.state.containers_conf.read_text()


def test_project_that_does_not_exist_is_told_with_those_that_do(project: Project) -> None:
    for name in ("shop", "shop-test"):
        folder = project.state.root.parent / name
        folder.mkdir(parents=True)
        (folder / "allocation.json").write_text("{}")

    with pytest.raises(HostLacks) as caught:
        must_exist(project)

    assert caught.value.what == "no project mistyped on this host"
    assert "shop, shop-test" in caught.value.why
    assert not project.state.root.exists()


def test_addresses_that_another_project_has_taken_meanwhile_are_refused(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project_module, "port_is_free", lambda port: True)
    monkeypatch.setattr(project_module, "routed_subnets", lambda: [])
    project.host.prepare()
    mine = as_json(project.allocation)
    other = project.state.root.parent / "faster" / "allocation.json"
    other.parent.mkdir()
    other.write_text(json.dumps(mine))

    with pytest.raises(HostLacks, match="another project has just taken 10"):
        project.remember()
    assert not project.state.allocation.exists()

    other.unlink()
    project.remember()
    assert json.loads(project.state.allocation.read_text()) == mine


def test_first_project_of_a_host_does_not_exist_either(project: Project) -> None:
    with pytest.raises(HostLacks, match="no project mistyped"):
        must_exist(project)


def test_project_that_lost_its_state_folder_still_exists(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = {"Name": "mistyped-postgres-data", "Mountpoint": "/volumes/mistyped-postgres-data/_data"}
    said = {"ls": volume["Name"], "inspect": json.dumps([volume])}
    answers(monkeypatch, lambda argv: said.get(argv[2], "") if argv[1] == "volume" else "")

    assert must_exist(project) is project


def test_project_that_was_deployed_once_exists_without_asking_podman(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.host.prepare()
    project.state.allocation.write_text(json.dumps({}))
    used = answers(monkeypatch, lambda argv: "")

    assert must_exist(project) is project
    assert used == []


@pytest.mark.parametrize("command", [status.status, logs.logs, status.open_urls], ids=lambda command: str(command.name))
def test_command_on_a_project_that_does_not_exist_ends_with_3(
    project: Project, command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Exit) as caught:
        command(Context())

    assert caught.value.code == 3
    assert len(capsys.readouterr().err.splitlines()) == 3
    assert states(project) == []
