"""What goes once a release has served, and above all what stays: releases, images and configuration that something needs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops.core import files
from ops.core.errors import OpsError
from ops.core.process import Result
from ops.core.state import State
from ops.engines.podman.engine import PodmanEngine
from ops.engines.podman.host import Host as PodmanHost
from ops.project import Project
from ops.releases.retention import clean_up, json_images, needed_images
from ops.stack.release import GOOD, Activation
from ops.store import releases
from tests.unit.builders import settings


def tag(number: int, name: str = "backend") -> str:
    return f"localhost/cc03/{name}:{number}"


@dataclass
class Host:
    """used: images of containers, whoever's."""

    state: State
    used: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    refuses: bool = False

    def run(self, argv: Sequence[str], *, ok: Any = (0,), timeout: float = 60.0) -> Result:
        command = tuple(argv)
        if command[:2] == ("podman", "rmi"):
            assert ok is None, "one that is used again meanwhile is refused, and no reason to fail"
            assert timeout >= 300, "large layers take their time"
            self.removed += command[2:]
        else:
            assert command == ("podman", "ps", "--all", "--format", "{{.Image}}")
        return Result(command, 0, "\n".join(self.used), "", 0.0)


@dataclass
class World:
    host: Host
    retired: int = 0

    @property
    def state(self) -> State:
        return self.host.state

    @property
    def project(self) -> Project:
        images = {"backend": SimpleNamespace(tag=tag(9), bases=(("trixie", "localhost/cc03/base-trixie:1"),))}
        return cast(Project, SimpleNamespace(
            name="cc03", state=self.state, host=self.host, settings=settings("releases: {keep: 5}"), images=images,
            engine=PodmanEngine(cast(PodmanHost, self.host), "cc03"),
        ))  # fmt: skip

    def retire(self, project: Project) -> None:
        assert project.state is self.state
        self.retired += 1

    def release(self, number: int, outcome: str = GOOD, **images: str) -> None:
        manifest = {"images": images or {"backend": tag(number)}, "config": {"nginx": f"v{number}"}}
        releases.write_release(self.state, number, manifest, {"compose.yaml": "services: {}"})
        for version in (f"v{number}",):
            (self.state.config / "nginx" / version).mkdir(parents=True, exist_ok=True)
            files.link(self.state.config / "nginx" / "current", version)
        if outcome:
            releases.record_activation(self.state, Activation(number, "deploy", "2026-11-30T10:00:00+0000", outcome))

    @property
    def kept(self) -> list[int]:
        return [one.number for one in releases.releases(self.state)]

    @property
    def versions(self) -> list[str]:
        return sorted(path.name for path in (self.state.config / "nginx").iterdir() if not path.is_symlink())


@pytest.fixture
def world(tmp_path: Path) -> World:
    state = State(tmp_path / "cc03")
    state.prepare()
    return World(Host(state))


def test_releases_beyond_those_to_keep_go_with_what_only_they_had(world: World) -> None:
    for number in range(1, 9):
        world.release(number)

    gone = clean_up(world.project, world.retire)

    assert gone == [1, 2, 3] and world.kept == [4, 5, 6, 7, 8], "the five newest that have served stay"
    assert world.host.removed == [tag(1), tag(2), tag(3)]
    assert world.versions == ["v4", "v5", "v6", "v7", "v8"]
    assert world.retired == 1


def test_the_current_release_and_the_one_to_go_back_to_stay_however_many_failed(world: World) -> None:
    world.release(1)
    for number in range(2, 9):
        world.release(number, "reverted")
    files.link(world.state.current, "1")

    assert clean_up(world.project, world.retire) == [2, 3]
    assert world.kept == [1, 4, 5, 6, 7, 8] and tag(1) not in world.host.removed


def test_image_of_a_kept_release_stays(world: World) -> None:
    world.release(1, backend=tag(5), redis=tag(1, "redis"))
    for number in range(2, 9):
        world.release(number)

    clean_up(world.project, world.retire)

    assert 1 not in world.kept
    assert tag(5) not in world.host.removed and tag(1, "redis") in world.host.removed


@pytest.mark.parametrize("by", ["checkout", "base of the checkout", "container", "another project"])
def test_image_that_something_else_needs_stays(world: World, by: str) -> None:
    needed = {"checkout": tag(9), "base of the checkout": "localhost/cc03/base-trixie:1"}.get(by, tag(77))
    world.release(1, backend=needed)
    for number in range(2, 9):
        world.release(number)
    if by == "container":
        world.host.used = [needed]
    if by == "another project":
        other = world.state.root.parent / "shop" / "releases" / "3"
        other.mkdir(parents=True)
        (other / "release.json").write_text(json.dumps({"images": {"backend": needed}}))

    assert needed in needed_images(world.project)
    clean_up(world.project, world.retire)
    assert 1 not in world.kept and needed not in world.host.removed


def test_image_of_a_publisher_is_not_ours_to_remove(world: World) -> None:
    world.release(1, grafana="docker.io/grafana/grafana:13")
    for number in range(2, 9):
        world.release(number)
    clean_up(world.project, world.retire)
    assert "docker.io/grafana/grafana:13" not in world.host.removed


def test_configuration_that_is_in_use_stays_whatever_releases_say(world: World) -> None:
    """After a rollback of a release that was removed, or one that a person has linked."""
    for number in range(1, 9):
        world.release(number)
    (world.state.config / "nginx" / "by-hand").mkdir()
    files.link(world.state.config / "nginx" / "current", "by-hand")
    (world.state.config / "nginx" / "loaded").write_text("v8\n")

    clean_up(world.project, world.retire)

    assert "by-hand" in world.versions and "loaded" in world.versions and "v1" not in world.versions
    assert (world.state.config / "nginx" / "current").readlink() == Path("by-hand")


def test_nothing_is_removed_where_nothing_is_beyond_the_number(world: World) -> None:
    world.release(1)
    world.release(2)
    assert clean_up(world.project, world.retire) == []
    assert world.kept == [1, 2] and world.host.removed == [] and world.versions == ["v1", "v2"]


def test_copy_of_an_h2_file_that_a_killed_command_left_goes(world: World) -> None:
    """It holds password hashes."""
    world.release(1)
    (world.state.root / "h2" / "data").mkdir(parents=True)
    (world.state.root / "h2" / "data" / "keycloakdb.mv.db").write_text("H:2")
    clean_up(world.project, world.retire)
    assert not (world.state.root / "h2").exists()


def test_images_are_removed_only_after_their_releases(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a release that cannot be removed would be one without images, to which a rollback would go."""
    for number in range(1, 9):
        world.release(number)

    def refuses(path: Path, **_: Any) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(shutil, "rmtree", refuses)
    with pytest.raises(OSError, match="Read-only"):
        clean_up(world.project, world.retire)
    assert world.host.removed == [] and world.kept == list(range(1, 9))


@pytest.mark.parametrize("text", ["", "{", "{}", '{"images": {}}'])
def test_manifest_that_cannot_be_read_names_nothing(text: str) -> None:
    assert json_images(text) == set()


def test_secrets_that_cannot_be_retired_are_told(world: World) -> None:
    def retire(_: Project) -> None:
        raise OpsError("no", "", "")

    world.release(1)
    with pytest.raises(OpsError, match="no"):
        clean_up(world.project, retire)
