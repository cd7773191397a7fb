"""Secrets encrypted at rest: nothing readable on the disk, everything as before a boot, and the way back."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.backup import host_archive as archive
from ops.backup.restore.volumes import folder_of
from ops.core.process import run
from ops.secrets import backup_keys, verifiers
from ops.secrets.search import forms
from ops.secrets.table import target_named
from ops.stack.model import LABEL_PROJECT
from ops.store import encrypted_copies, keys, versions
from ops.store.versions import newest_values
from tests.drill.conftest import Record, temporary_accounts
from tests.drill.stack import Drill, inv, kill, succeeds
from tests.drill.test_reboot import shutdown
from tests.smoke.conftest import item_input
from tests.smoke.live import Live, eventually, leading_here

STORAGE = Path("/var/lib/containers/storage")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stick") / "key.txt"


@pytest.fixture(scope="module")
def item(drill: Drill, key: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Something that was written before secrets were encrypted, and its path; they are while this module's tests run."""
    drill.deploy()
    drill.await_healthy()
    live = Live(drill.project)
    with leading_here(live.domain), temporary_accounts(live) as accounts:
        made = accounts.create("editor")("POST", "/items", json=item_input())
        assert made.status_code == 201, made.text
    drill.destroy(keep_data=True)
    succeeds("secrets.encrypt", "--key", str(key))
    drill.deploy()
    drill.await_healthy()
    yield f"/items/{made.json()['id']}", made.json()
    drill.destroy(keep_data=True)
    succeeds("secrets.decrypt", "--yes")
    drill.deploy()
    drill.await_healthy()
    assert not (drill.project.state.root / encrypted_copies.HOME).exists()
    assert drill.project.host.run(("podman", "secret", "ls", "--quiet"), ok=None).stdout.strip()


@pytest.fixture
def encrypted(item: tuple[str, dict[str, object]], drill: Drill) -> Drill:
    drill.await_healthy()
    return drill


def readable(stack: Drill) -> list[str]:
    """Secrets that the disk shows in any form: in the state folder, in Podman's store, in what it keeps of each container."""
    needles = {name: forms(value) for name, value in newest_values(stack.project.state).items()}
    assert len(needles) > 15
    containers = (STORAGE / "overlay-containers" / str(found["Id"]) for found in stack.containers().values())
    found, files = [], 0
    for top in (stack.project.state.root, STORAGE / "secrets", *containers):
        for folder, _, names in os.walk(top):
            for path in (Path(folder) / name for name in names):
                if path.is_file() and not path.is_symlink():
                    files += 1
                    content = path.read_bytes()
                    found += [f"{name}: {path}" for name, some in needles.items() if any(one in content for one in some)]
    assert files > 100
    return found


def boot(stack: Drill) -> None:
    """The host is stopped in order, and its memory is empty."""
    shutdown(stack)
    memory = encrypted_copies.memory_of(stack.project.state.root)
    assert memory.is_dir()
    shutil.rmtree(memory)


@contextlib.contextmanager
def ticker_of_the_unit(stack_root: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The health ticker as systemd starts it at boot."""
    env = {
        **os.environ,
        "PYTHONPATH": str(stack_root / "ticker" / "code"),
        "CONTAINERS_CONF": str(stack_root / "containers.conf"),
    }
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    with (stack_root / "ticker" / "ticker.log").open("ab") as log, subprocess.Popen(
        (python, "-P", "-m", "ops.supervisor", str(stack_root), "--boot"),
        env=env, stdout=log, stderr=log, cwd="/",
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()
            process.wait(90)


def test_disk_shows_no_secret_and_nothing_else_has_changed(
    encrypted: Drill, item: tuple[str, dict[str, object]], live: Live, here: None
) -> None:
    assert readable(encrypted) == []
    assert encrypted_copies.is_on(encrypted.project.state.root)
    audit = inv("audit")
    assert audit.returncode == 0, audit.stdout + audit.stderr
    with temporary_accounts(live) as accounts:
        assert accounts.create("viewer")("GET", item[0]).json() == item[1]
    encrypted.assert_as_wanted()


def test_command_that_looks_for_values_finds_what_podman_keeps(encrypted: Drill) -> None:
    succeeds("secrets.check")
    value = newest_values(encrypted.project.state)["redis-app"].decode()
    name = f"{encrypted.project.name}-forgotten"
    encrypted.project.host.run(("podman", "secret", "create", name, "-"), stdin=value)
    try:
        found = inv("secrets.check")
    finally:
        encrypted.project.host.run(("podman", "secret", "rm", name))
    assert (found.returncode, "Podman: " in found.stderr, "redis-app" in found.stderr) == (1, True, True), found.stderr


def test_rotation_is_as_before_and_outlives_a_boot(encrypted: Drill, key: Path, record: Record) -> None:
    names, state = ("postgres-app", "redis-app"), encrypted.project.state
    newest = {name: versions.numbers(state, name)[-1] for name in names}
    former = {name: (number, versions.value_of(state, name, number)) for name, number in newest.items()}
    record(
        "postgres-app and redis-app rotated, secrets encrypted at rest",
        succeeds("secrets.rotate", "postgres-app,redis-app", "--yes"),
    )
    assert readable(encrypted) == []
    numbers = {name: versions.numbers(state, name) for name in names}
    assert [len(found) for found in numbers.values()] == [1, 1], "former versions are kept"
    root = encrypted.project.state.root
    boot(encrypted)

    began = time.monotonic()
    with ticker_of_the_unit(root):
        eventually(lambda: "" if not encrypted_copies.is_locked(root) else "secrets are locked", 60)
        eventually(encrypted.unhealthy, 240)
        record("everything back after a boot with secrets encrypted", time.monotonic() - began)
    encrypted.watch()
    encrypted.assert_as_wanted()
    for name, found in numbers.items():
        assert versions.numbers(encrypted.project.state, name) == found
        target = target_named(name)
        assert verifiers.accepts(encrypted.project, target.to, name, found[-1]), name
        assert not verifiers.verifier_of(target.kind).accepts(encrypted.project, target.to.name, *former[name]), name


def test_boot_without_the_key_waits_for_it(encrypted: Drill, key: Path) -> None:
    root, away = encrypted.project.state.root, key.with_name("away.txt")
    boot(encrypted)
    key.rename(away)
    try:
        with ticker_of_the_unit(root):
            eventually(lambda: "" if "nothing can start" in (root / "ticker" / "ticker.log").read_text() else "not told", 60)
            told = inv("status")
            assert (told.returncode, "inv secrets.unlock" in told.stderr, "Traceback" in told.stderr) == (3, True, False)
            states = run(
                ("podman", "ps", "--quiet", "--filter", f"label={LABEL_PROJECT}={root.name}"), timeout=60
            ).stdout.split()
            assert states == []
            wrong = away.with_name("wrong.txt")
            keys.make_key(wrong)
            refused = inv("secrets.unlock", "--key", str(wrong))
            assert (refused.returncode, encrypted_copies.is_locked(root)) == (3, True)
            succeeds("secrets.unlock", "--key", str(away))
            # The ticker looks twice a minute.
            eventually(encrypted.unhealthy, 300)
    finally:
        away.rename(key)
    encrypted.watch()
    encrypted.assert_as_wanted()


def test_podman_restarts_a_container_without_anybody(encrypted: Drill) -> None:
    before = encrypted.pid("redis")
    encrypted.end_watch()
    kill(before)
    eventually(lambda: "" if encrypted.pid("redis") not in (0, before) else "redis is down", 30)
    encrypted.await_healthy("redis")
    encrypted.watch()


def test_rollback_to_before_the_encryption_starts_with_files_too(encrypted: Drill, record: Record) -> None:
    record("rollback, secrets encrypted at rest", succeeds("rollback", "--yes"))
    encrypted.await_healthy()
    assert readable(encrypted) == []
    encrypted.deploy()
    assert readable(encrypted) == []


def test_backup_holds_what_brings_the_host_back(encrypted: Drill) -> None:
    """It is read with the key of the backups, not with that of this host, which may be lost together with it."""
    succeeds("backup")
    state = encrypted.project.state
    with archive.opened(state.backup / "host.tar", backup_keys.recovery_keys(state)) as inner:
        held = {stream.read().strip() for member in inner if (stream := inner.extractfile(member))}
    assert set(newest_values(state).values()) <= held
    succeeds("backup.verify")
    assert readable(encrypted) == []


def test_second_key_is_refused(encrypted: Drill, tmp_path: Path) -> None:
    refused = inv("secrets.encrypt", "--key", str(tmp_path / "other.txt"))
    assert (refused.returncode, (tmp_path / "other.txt").exists()) == (2, False)
    inside = inv("secrets.encrypt", "--key", str(encrypted.project.state.root / "key.txt"))
    assert inside.returncode == 2


def test_another_root_outlives_a_boot(encrypted: Drill) -> None:
    """Its rollover renames folders of keys."""
    succeeds("certs.ca", "--rollover", "--yes")
    boot(encrypted)
    succeeds("start")
    encrypted.await_healthy()
    succeeds("certs.ca", "--finish", "--yes")
    encrypted.assert_as_wanted()
    assert readable(encrypted) == []


def test_broken_account_of_operations_is_mended(encrypted: Drill) -> None:
    """By a container that is run for that, with the secrets of Keycloak."""
    secret = "update client set secret = 'no' where client_id = 'cc03-ops'"
    encrypted.psql(secret, "keycloak")
    encrypted.project.host.run(("podman", "restart", encrypted.name("keycloak")), timeout=120)
    encrypted.await_healthy()
    succeeds("keycloak.fix", "--yes")
    encrypted.assert_as_wanted()
    assert readable(encrypted) == []


def test_backup_is_restored(encrypted: Drill) -> None:
    succeeds("backup")
    succeeds("restore", "--yes")
    encrypted.await_healthy()
    encrypted.assert_as_wanted()
    assert readable(encrypted) == []


def test_key_that_is_lost_gives_way_to_the_backup(
    encrypted: Drill, key: Path, tmp_path: Path, item: tuple[str, dict[str, object]], record: Record
) -> None:
    """The last one: what a backup brings back is not encrypted."""
    succeeds("backup.key", "--export", str(tmp_path / "backup-key.txt"))
    succeeds("backup")
    repository = folder_of(encrypted.project, "backup-repository")
    root = encrypted.project.state.root
    boot(encrypted)
    key.unlink()
    told = inv("deploy", "--plan")
    assert (told.returncode, "#the-key-is-lost" in told.stderr) == (3, True), told.stderr

    encrypted.destroy(keep_data=True)
    record(
        "restore --bootstrap on the same host, the key of its secrets being lost",
        succeeds("restore", "--bootstrap", str(repository), "--key", str(tmp_path / "backup-key.txt")),
    )
    encrypted.await_healthy()
    encrypted.assert_as_wanted()
    assert (encrypted_copies.is_on(root), len(list(root.glob("at-rest.lost-*")))) == (False, 1)
    live = Live(encrypted.project)
    with leading_here(live.domain), temporary_accounts(live) as accounts:
        assert accounts.create("viewer")("GET", item[0]).json() == item[1]
