"""What steps write: secrets, configuration and releases, whole before anything names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ops import composition, execution
from ops.core import files
from ops.core.errors import OpsError
from ops.deploy.steps import CheckConfig, CreateVolume, MarkLoaded, ReloadService, WriteConfig
from ops.execution import Execution
from ops.project import Project
from ops.releases.steps import ActivateRelease, WriteRelease
from ops.secrets.steps import GenerateSecret, StoreSecret
from ops.store import encrypted_copies, releases
from tests.unit.podman_model import Podman
from tests.unit.podman_model import performer as performer  # noqa: PLC0414  (a fixture)
from tests.unit.podman_model import podman as podman  # noqa: PLC0414  (a fixture)
from tests.unit.podman_model import project as project  # noqa: PLC0414  (a fixture)
from tests.unit.power_cut import recorded

# Secrets.


def test_secret_is_made_for_its_owner_alone_and_never_twice_the_same(performer: Execution, project: Project) -> None:
    for version in (1, 2):
        performer.do(GenerateSecret("g", "", name="redis-app", version=version))

    folder = project.state.secrets / "redis-app"
    values = [(folder / str(version)).read_text() for version in (1, 2)]
    assert len({*values}) == 2 and all(len(value) >= 43 for value in values)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600} and folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["redis-app", "postgres-app"])
def test_secret_survives_a_power_cut_also_the_first_of_its_name(performer: Execution, project: Project, name: str) -> None:
    """Its folder's name was not flushed: a server could be given a password that the state folder had lost."""
    (project.state.secrets / "postgres-app").mkdir(mode=0o700)
    with recorded(project.state.root) as power:
        GenerateSecret("g", "", name=name, version=1).run(performer)
        value = (project.state.secrets / name / "1").read_text()
        power.cut()

    assert (project.state.secrets / name / "1").read_text() == value


def test_secret_travels_on_standard_input_and_replaces_what_a_lost_state_left(
    performer: Execution, project: Project, podman: Podman
) -> None:
    performer.do(GenerateSecret("g", "", name="redis-app", version=1))
    performer.do(StoreSecret("s", "", name="redis-app", version=1))

    value = (project.state.secrets / "redis-app" / "1").read_text()
    assert podman.ran == [
        ("podman", "secret", "rm", "cc03-redis-app-1"),
        ("podman", "secret", "create", "cc03-redis-app-1", "-"),
    ]
    assert podman.given == [None, value]


def test_empty_secret_is_refused_before_the_last_copy_is_removed(
    performer: Execution, project: Project, podman: Podman
) -> None:
    (project.state.secrets / "redis-app").mkdir()
    (project.state.secrets / "redis-app" / "1").write_text("\n")

    with pytest.raises(OpsError, match="has no value of the secret redis-app"):
        performer.do(StoreSecret("s", "", name="redis-app", version=1))
    assert podman.ran == []


def test_podman_is_given_no_secret_where_they_are_encrypted_at_rest(
    performer: Execution, project: Project, podman: Podman, monkeypatch: pytest.MonkeyPatch
) -> None:
    performer.do(GenerateSecret("g", "", name="redis-app", version=1))
    monkeypatch.setattr(encrypted_copies, "is_on", lambda _: True)
    StoreSecret("s", "", name="redis-app", version=1).run(performer)
    assert podman.ran == []


def test_each_step_is_on_disk_encrypted_before_the_next_begins(performer: Execution, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    assert (encrypted_copies.sync,) == composition.AFTER_STEP
    monkeypatch.setattr(execution, "AFTER_STEP", (lambda _: order.append("sync"),))
    monkeypatch.setattr(performer.project.host, "run", lambda *_, **__: order.append("ran"))

    performer.do(CreateVolume("v", "", name="data"))
    assert order == ["ran", "sync"]


# Configuration.


def test_configuration_is_whole_before_the_link_names_it(
    performer: Execution, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that starts just then reads the link."""
    link, seen = files.link, []

    def watched(path: Path, target: str) -> None:
        seen.append(sorted(one.name for one in (path.parent / target).iterdir()))
        link(path, target)

    monkeypatch.setattr(files, "link", watched)
    performer.do(WriteConfig("c", "", service="nginx", version="v1", files={"a.conf": "A", "sub/b.conf": "B"}))

    folder = project.state.config / "nginx"
    assert seen == [["a.conf", "sub"]]
    assert (folder / "current" / "sub" / "b.conf").read_text() == "B" and (folder / "current").readlink() == Path("v1")
    assert sorted(path.name for path in folder.iterdir()) == ["current", "v1"], "nothing half written is left"


def test_configuration_that_could_not_be_written_whole_is_not_there(
    performer: Execution, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = files.write

    def full(path: Path, *more: Any, **options: Any) -> None:
        if path.name == "b.conf":
            raise OSError(28, "No space left on device")
        write(path, *more, **options)

    step = WriteConfig("c", "", service="nginx", version="v1", files={"a.conf": "A", "b.conf": "B"})
    with monkeypatch.context() as patch:
        patch.setattr(files, "write", full)
        with pytest.raises(OSError, match="No space"):
            performer.do(step)
    assert not (project.state.config / "nginx" / "v1").exists() and not (project.state.config / "nginx" / "current").exists()
    performer.do(step)
    assert (project.state.config / "nginx" / "current" / "b.conf").read_text() == "B"


def test_version_that_is_in_use_is_never_written_again(performer: Execution, project: Project) -> None:
    for text in ("A", "changed"):
        performer.do(WriteConfig("c", "", service="nginx", version="v1", files={"a.conf": text}))
    assert (project.state.config / "nginx" / "v1" / "a.conf").read_text() == "A"


def test_configuration_is_checked_in_the_image_that_will_serve_it_and_not_yet_used(
    performer: Execution, project: Project, podman: Podman
) -> None:
    performer.do(CheckConfig("c", "", service="nginx", version="v1", files={"a.conf": "A"}))

    (command,) = podman.ran
    said = " ".join(command)
    assert (
        f"{project.state.config}/nginx/v1:/etc/cc03/current:ro" in said and f"{project.state.certs}/nginx:/etc/tls:ro" in said
    )
    assert "localhost/cc03/nginx:1" in command and "none" in command
    assert not (project.state.config / "nginx" / "current").exists()


def test_configuration_that_is_refused_is_named_with_what_its_program_says(performer: Execution, podman: Podman) -> None:
    podman.answers = {"podman run": OpsError("", "nginx: [emerg] unknown directive in nginx.conf:3", "")}
    with pytest.raises(OpsError, match="configuration of nginx is not valid") as refused:
        performer.do(CheckConfig("c", "", service="nginx", version="v1", files={"a.conf": "A"}))

    assert "nginx.conf:3" in refused.value.why and refused.value.next_step == "correct config/nginx, then inv deploy"


def test_reload_that_fails_is_not_taken_for_done(performer: Execution, project: Project, podman: Podman) -> None:
    step = ReloadService("r", "", service="nginx", slots=("nginx",), argv=("nginx", "-s", "reload"), version="v2")
    (project.state.config / "nginx").mkdir()
    podman.answers = {"exec": OpsError("no", "refused", "")}
    with pytest.raises(OpsError):
        performer.do(step)
    assert not (project.state.config / "nginx" / "loaded").exists()

    podman.answers = {}
    performer.do(step)
    assert (project.state.config / "nginx" / "loaded").read_text() == "v2\n"
    assert podman.ran[-1] == ("podman", "exec", "cc03-nginx", "nginx", "-s", "reload")


def test_containers_that_started_on_it_have_loaded_it(performer: Execution, project: Project, podman: Podman) -> None:
    (project.state.config / "nginx").mkdir()
    performer.do(MarkLoaded("m", "", service="nginx", version="v3"))
    assert (project.state.config / "nginx" / "loaded").read_text() == "v3\n" and podman.ran == []


# Releases.


def test_release_says_who_when_and_which_images(performer: Execution, project: Project) -> None:
    manifest = {"images": {"nginx": "localhost/cc03/nginx:1", "redis": "localhost/cc03/redis:1"}}
    performer.do(WriteRelease("r", "", number=3, manifest=manifest, files={"compose.yaml": "services: {}"}))

    kept = releases.read_release(project.state, 3)
    assert kept.intact and releases.current_number(project.state) == 3
    assert kept.manifest["image_ids"] == {"nginx": "id-of-nginx"} and kept.manifest["commit"] == "abc"
    assert {"at", "by"} <= set(kept.manifest)


def test_sealed_release_becomes_the_current_one_by_its_link(performer: Execution, project: Project) -> None:
    for number in (1, 2):
        performer.do(WriteRelease("r", "", number=number, manifest={}, files={}))
    performer.do(ActivateRelease("a", "", number=1))
    assert releases.current_number(project.state) == 1
