"""Where a service runs with another id than before, its files follow while none of its containers runs: there and back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ops.core.plan import Plan, Step
from ops.deploy.plan import plan_deploy
from ops.deploy.steps import PromoteContainer, RemoveContainer, StartContainer
from ops.host import files as owners
from ops.host import steps as owner_steps
from ops.host.owners_plan import folders_of, reader, volumes_of
from ops.host.steps import DropFormerFiles, OwnFiles
from ops.stack.certificates import leaves, owned_as
from ops.stack.model import Seen
from ops.stack.render import next_of, render_release
from ops.stack.wanted import Wanted
from ops.store import encrypted_copies, encryption
from tests.unit.at_rest_state import boot, encrypt, made, memory_at
from tests.unit.builders import STATE, deployed, stack, wanted
from tests.unit.security_audit.facts import declared_stack

FORMER, PRESENT = 10005, 60705
DATA, KEYS = "cc03-postgres-data", "/state/certs/postgres"
BACKEND, LEFT = "/state/certs/backend", "/state/certs/.backend"


def release(uid: int, name: str = "postgres") -> Wanted:
    """The small stack, in which a service runs with that id."""
    base = wanted()
    service = base.stack.services[name]
    volumes = {*service.definition.get("volumes", ()), f"/state/certs/{name}:/etc/tls:ro"}
    other = replace(service, owner=uid, definition={**service.definition, "user": f"{uid}:{uid}", "volumes": sorted(volumes)})
    own = replace(base.stack, services={**base.stack.services, name: other})
    compose = render_release(
        own, base.allocation, images={name: one.tag for name, one in base.images.items()}, versions=base.versions,
        config_hashes=base.config, state=STATE, log_megabytes=20,
    )  # fmt: skip
    return replace(base, stack=own, compose=compose)


def keys(plan: Plan) -> list[str]:
    return [step.key for step in plan.steps]


def position(plan: Plan, kind: type[Step], **fields: object) -> int:
    return next(
        index for index, step in enumerate(plan.steps)
        if isinstance(step, kind) and all(getattr(step, name) == value for name, value in fields.items())
    )  # fmt: skip


def seen(user: int, owners: Mapping[str, frozenset[int]]) -> Seen:
    return replace(deployed(release(user)), owners=owners)


@pytest.mark.parametrize(("user", "before"), [(PRESENT, FORMER), (FORMER, PRESENT)], ids=["there", "back"])
def test_files_follow_between_the_old_container_and_the_new_one(user: int, before: int) -> None:
    plan = plan_deploy(release(user), seen(before, {DATA: frozenset({before}), KEYS: frozenset({0, before})}))

    own = plan.steps[position(plan, OwnFiles, service="postgres")]
    assert isinstance(own, OwnFiles)
    assert (own.owner, own.volumes, own.folders) == (user, (DATA,), (KEYS,))
    assert "remove postgres" in own.after_keys
    assert "own postgres" in plan.steps[position(plan, PromoteContainer, slot="postgres")].after_keys
    order = [
        position(plan, RemoveContainer, slot="postgres"), position(plan, OwnFiles, service="postgres"),
        position(plan, PromoteContainer, slot="postgres"), position(plan, StartContainer, slot="postgres"),
    ]  # fmt: skip
    assert order == sorted(order)


def test_service_whose_files_have_its_id_gets_no_step() -> None:
    plan = plan_deploy(release(PRESENT), seen(FORMER, {DATA: frozenset({60705}), KEYS: frozenset({0, 60705})}))

    assert "own postgres" not in keys(plan)


def test_volume_that_was_never_used_belongs_to_root_and_is_left_to_podman() -> None:
    assert "own postgres" not in keys(plan_deploy(release(PRESENT), Seen(owners={DATA: frozenset({0})})))


def test_volume_that_a_removed_stack_has_left_is_changed_before_the_first_start() -> None:
    plan = plan_deploy(release(PRESENT), Seen(owners={DATA: frozenset({10005})}, volumes=frozenset({DATA})))

    start = plan.steps[position(plan, StartContainer, slot="postgres")]
    assert "own postgres" in start.after_keys


def test_what_was_killed_in_the_middle_is_done_again_before_the_new_container_takes_its_place() -> None:
    """The old container is gone, the new one waits, and the volume still belongs to the former id."""
    before = seen(FORMER, {DATA: frozenset({10005})})
    wanted_now = release(PRESENT)
    waiting = replace(
        before.containers["postgres"], slot=next_of("postgres"), state="created", config_hash=wanted_now.slot_hash("postgres")
    )
    left = {slot: one for slot, one in before.containers.items() if slot != "postgres"} | {waiting.slot: waiting}
    plan = plan_deploy(wanted_now, replace(before, containers=left))

    assert "own postgres" in plan.steps[position(plan, StartContainer, slot="postgres")].after_keys


def test_only_what_belongs_to_a_service_is_given_to_it() -> None:
    services = declared_stack().services

    assert volumes_of(services["backup"], "cc03") == ("cc03-backup-repository",)
    assert folders_of(services["backup"]) == ("/state/backup", "/state/certs/backup")
    assert folders_of(services["cadvisor"]) == ("/state/certs/cadvisor",)
    assert folders_of(services["logs"]) == ("/state/certs/logs",)
    assert volumes_of(stack().services["nginx"], "cc03") == ()


def test_containers_that_serve_on_keep_their_keys_until_all_are_replaced() -> None:
    """They read them anew at each connection."""
    before = replace(deployed(release(FORMER, "backend")), owners={BACKEND: frozenset({0, FORMER})})
    plan = plan_deploy(release(PRESENT, "backend"), before)

    own = plan.steps[position(plan, OwnFiles, service="backend")]
    assert isinstance(own, OwnFiles)
    assert (own.beside, own.folders) == (True, (BACKEND,))
    start = plan.steps[position(plan, StartContainer, slot="backend-surge")]
    assert "own backend" in start.after_keys
    drop = plan.steps[position(plan, DropFormerFiles)]
    assert drop == plan.steps[-1] or keys(plan).index(drop.key) > keys(plan).index("retire backend-surge")
    assert {"healthy backend-1", "healthy backend-2", "retire backend-surge"} <= {*drop.after_keys}


@pytest.mark.parametrize(
    ("found", "steps"),
    [
        pytest.param({BACKEND: frozenset({0, PRESENT})}, ["own backend", "drop former backend"], id="reverted"),
        pytest.param(
            {BACKEND: frozenset({0, FORMER}), f"{LEFT}.1": frozenset({PRESENT})}, ["drop former backend"], id="killed"
        ),
        pytest.param({BACKEND: frozenset({0, FORMER}), f"{LEFT}-2": frozenset({PRESENT})}, [], id="another folder"),
    ],
)
def test_containers_that_were_never_replaced_get_their_keys_back(found: dict[str, frozenset[int]], steps: list[str]) -> None:
    """The new release has failed before it has touched one of them."""
    wanted_now = release(FORMER, "backend")

    assert keys(plan_deploy(wanted_now, replace(deployed(wanted_now), owners=found))) == steps


def test_certificate_that_a_deploy_issues_is_for_the_id_that_still_runs() -> None:
    services = release(PRESENT).stack.services

    assert reader(Seen(owners={KEYS: frozenset({0, FORMER})}), services["postgres"]) == FORMER
    assert reader(Seen(), services["postgres"]) == PRESENT


def test_certificate_that_is_renewed_before_a_deploy_is_for_the_id_that_runs() -> None:
    """The health ticker has a checkout renew them that may be newer than the containers."""
    found = leaves(owned_as(release(PRESENT).stack, release(FORMER).stack), wanted().certificate_names, "localhost")

    assert [leaf.owner for leaf in found if leaf.service == "postgres"] == [FORMER]


# ---- On this host


@pytest.fixture
def changed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """(path, uid, gid) of each change, in order; none is made."""
    found: list[tuple[str, int, int]] = []
    monkeypatch.setattr(os, "chown", lambda path, uid, gid, **_: found.append((str(path), uid, gid)))
    return found


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A volume whose files belong to 10005, but for one of root's and one that is done already."""
    top = tmp_path / "_data"
    (top / "base").mkdir(parents=True)
    for name in ("base/1", "lost+found", "done"):
        (top / name).write_text("")
    (top / "link").symlink_to("/etc/passwd")
    real = Path.lstat
    ids = {"lost+found": 0, "done": 60705}

    def lstat(path: Path) -> os.stat_result:
        fields = list(real(path))
        if top in (path, *path.parents):
            fields[4] = fields[5] = ids.get(path.name, 10005)
        return os.stat_result(fields)

    monkeypatch.setattr(Path, "lstat", lstat)
    return top


def test_folder_is_changed_last_and_no_link_is_followed(data: Path, changed: list[tuple[str, int, int]]) -> None:
    assert owner_steps.chown_tree(data, 60705, lambda text: None) == 4
    assert {path for path, *_ in changed} == {str(data), str(data / "base"), str(data / "base" / "1"), str(data / "link")}
    assert changed[-1] == (str(data), 60705, 60705)
    assert changed.index((str(data / "base" / "1"), 60705, 60705)) < changed.index((str(data / "base"), 60705, 60705))


def test_folder_in_use_is_kept_for_who_has_mounted_it_and_comes_back(tmp_path: Path) -> None:
    folder, owner = tmp_path / "backend", os.geteuid()
    folder.mkdir()
    (folder / "tls.pem").write_text("key")
    (folder / "key.pem").symlink_to("tls.pem")
    mounted = folder.stat().st_ino

    owner_steps.exchange(folder, owner)
    assert folder.stat().st_ino != mounted
    (former,) = tmp_path.glob(".backend.*")
    assert (former.stat().st_ino, (former / "tls.pem").read_text()) == (mounted, "key")
    assert ((folder / "tls.pem").read_text(), (folder / "key.pem").readlink()) == ("key", Path("tls.pem"))

    owner_steps.exchange(folder, owner)
    assert folder.stat().st_ino == mounted

    owner_steps.drop_former(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["backend"]


def test_configuration_is_checked_by_the_id_that_can_read_the_key(tmp_path: Path) -> None:
    """The check of a new release comes before the owner of its files is changed."""
    assert owners.reader(tmp_path, "60701:60701") == "60701:60701"
    (tmp_path / "ca.pem").write_text("")
    (tmp_path / "tls.pem").write_text("")
    if os.geteuid() == 0:
        os.chown(tmp_path / "tls.pem", 10001, 10001)

    owner = (tmp_path / "tls.pem").stat().st_uid
    assert owners.reader(tmp_path, "60701:60701") == f"{owner}:{owner}"


def test_owner_and_mode_of_a_file_in_memory_survive_a_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither change is one of the file's time. Who is not root sees only that of the mode."""
    memory_at(tmp_path / "memory", monkeypatch)
    (tmp_path / "stick").mkdir()
    state = made(tmp_path / "cc03")
    encrypt(state, tmp_path / "stick" / "key.txt")
    owner = PRESENT if os.geteuid() == 0 else os.geteuid()

    (state.backup / "host.tar").chmod(0o440)
    os.chown(state.backup / "host.tar", owner, -1)
    encrypted_copies.sync(state.root)
    boot(state)
    encryption.open_again(state.root)

    about = (state.backup / "host.tar").stat()
    assert (about.st_uid, about.st_mode & 0o777) == (owner, 0o440)
