"""Probes of the audit that need no stack: mounts, modes of files, /proc, and the output of other programs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ops.core.errors import OpsError
from ops.core.machine import REPOSITORY
from ops.core.state import State
from ops.security_audit.controls.http import BURSTS
from ops.security_audit.facts import Advisory, BurstResult, Mount, Unread
from ops.security_audit.probe import connections, host
from ops.security_audit.probe.advisories import npm_folders, read_debsecan, read_npm_audit, read_pip_audit
from ops.security_audit.probe.containers import below, holds_sockets, may_write, namespace, namespaces, pids_of, status
from ops.security_audit.probe.gather import attempt
from ops.store.versions import newest_values


def mount(path: Path) -> Mount:
    return Mount(str(path), str(path), writable=False)


def test_a_socket_is_found_by_itself_and_below_a_mount(tmp_path: Path) -> None:
    plain, deep = tmp_path / "plain", tmp_path / "a" / "b"
    plain.mkdir()
    deep.mkdir(parents=True)
    os.mknod(deep / "engine.sock", stat.S_IFSOCK | 0o600)

    assert holds_sockets(os.getpid(), mount(deep / "engine.sock"))
    assert holds_sockets(os.getpid(), mount(tmp_path))
    assert not holds_sockets(os.getpid(), mount(plain))


@pytest.mark.parametrize(
    ("mode", "uids", "may"),
    [(0o755, {60701}, False), (0o777, {60701}, True), (0o700, {0, 60701}, True), (0o755, set(), False)],
)
def test_write_access_follows_owner_and_mode(tmp_path: Path, mode: int, uids: set[int], may: bool) -> None:
    tmp_path.chmod(mode)

    assert may_write(tmp_path, "/", frozenset(uids)) is may
    assert not may_write(tmp_path, "/gone", frozenset(uids))


def test_path_that_only_begins_alike_is_not_below() -> None:
    assert below("/run/secrets/a", ("/run/secrets",))
    assert not below("/run/secrets-of-others", ("/run/secrets",))


@pytest.fixture
def state(tmp_path: Path) -> State:
    made = State(tmp_path / "state")
    made.prepare()
    for version, value in (("1", "old-value-of-it"), ("2", "new-value-of-it\n")):
        path = made.secrets / "redis-app" / version
        path.parent.mkdir(exist_ok=True, mode=0o700)
        path.write_text(value)
        path.chmod(0o600)
    return made


def test_secrets_and_keys_that_others_can_read_are_found(state: State) -> None:
    assert host.open_to_others(state) == {}
    (state.secrets / "redis-app" / "2").chmod(0o640)
    folder = state.certs / "nginx"
    folder.mkdir()
    key = "-----BEGIN PRIVATE KEY-----"
    for name, content, mode in (("cert.pem", "CERTIFICATE", 0o644), ("tls.pem", key, 0o600), (".tls.pem.next", key, 0o644)):
        (folder / name).write_text(content)
        (folder / name).chmod(mode)
    (folder / "key.pem").symlink_to("tls.pem")
    (state.ca / "passphrase").write_text("of the root's key")
    (state.ca / "passphrase").chmod(0o604)

    assert host.open_to_others(state) == {
        "secrets/redis-app/2": 0o640, "certs/nginx/.tls.pem.next": 0o644, "ca/passphrase": 0o604,
    }  # fmt: skip


def test_folder_is_open_only_where_all_above_it_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "volumes" / "redis-data"
    inner.mkdir(parents=True)
    modes = dict.fromkeys((inner, *inner.parents), 493)
    monkeypatch.setattr(Path, "stat", lambda self: os.stat_result((modes[self], *[0] * 9)))

    assert list(host.open_folders([inner])) == [str(inner)]
    modes[inner.parent] = 0o700
    assert list(host.open_folders([inner])) == []


def test_the_newest_value_of_a_secret_is_looked_for(state: State) -> None:
    (state.secrets / "short").mkdir()
    (state.secrets / "short" / "1").write_text("abc")

    assert newest_values(state) == {"redis-app": b"new-value-of-it"}


def test_own_process_is_one_of_the_host() -> None:
    seen = namespaces({"redis": os.getpid()}, {})

    assert seen[namespace("self", "pid")] == ("the host", "redis")
    assert namespaces({"redis": os.getpid()}, {"nginx": "redis"})[namespace("self", "net")] == ("the host",)
    assert pids_of(os.getpid(), {}) == [os.getpid()], "of the host's processes only the container's own"
    assert status(os.getpid())["Name"]
    assert status(1 << 22) == {}


def test_addresses_of_the_host_leave_out_loopback() -> None:
    assert [one for one in connections.host_addresses() if one.startswith("127.")] == []


@pytest.mark.parametrize("name", ["journal.jsonl", "journal.2.jsonl", "audit.jsonl", "audit.1.jsonl"])
def test_secret_in_a_record_is_found_in_each_of_its_parts(state: State, name: str) -> None:
    (state.secrets / "redis-app" / "3").write_text("a-value-that-is-long-enough-to-be-one")
    (state.root / name).write_text("x a-value-that-is-long-enough-to-be-one x")

    assert [(leak.secret, leak.where) for leak in host.leaks(state, {})] == [("redis-app", name)]


@pytest.mark.parametrize(
    ("problem", "why"),
    [
        (Unread("offline"), "offline"),
        (OpsError("no answer", "it is stopped", "inv start"), "no answer: it is stopped"),
        (FileNotFoundError(2, "gone"), "FileNotFoundError: [Errno 2] gone"),
    ],
)
def test_reason_of_an_unread_part_is_kept(problem: Exception, why: str) -> None:
    def reader() -> str:
        raise problem

    assert attempt(reader) == (None, why)
    assert attempt(lambda: "read") == ("read", "")


def test_packages_that_could_not_be_checked_are_unread() -> None:
    """pip-audit reports it in a field and exits with 0."""
    report = {"dependencies": [
        {"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "Dependency not found on PyPI"}
    ]}  # fmt: skip

    with pytest.raises(Unread, match=r"^pip-audit could not check 1 of 2 packages \(b …\)$"):
        read_pip_audit(report)


def test_each_lock_file_of_npm_is_audited() -> None:
    compose = REPOSITORY / "compose"
    locked = {path.parent for path in compose.rglob("package-lock.json") if "node_modules" not in path.parts}
    assert set(npm_folders(compose)) == locked == {compose / "frontend", compose / "nginx" / "charts"}


def test_answers_of_pip_audit_npm_and_debsecan_are_read() -> None:
    vulnerable = {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
    assert read_pip_audit({"dependencies": [vulnerable]}) == (Advisory("a 1", "PYSEC-1", "2"),)
    with pytest.raises(Unread, match=r"^npm: 405 Method Not Allowed$"):
        read_npm_audit({"message": "405 Method Not Allowed"})
    assert read_npm_audit({"vulnerabilities": {"b": {"via": [{"title": "Bad"}, "c"]}}}) == (
        Advisory("b", "Bad"),
        Advisory("b", "c"),
    )
    assert read_debsecan("CVE-2026-1 openssl\nCVE-2026-2 zlib1g (low urgency)\n") == (
        Advisory("openssl", "CVE-2026-1"), Advisory("zlib1g", "CVE-2026-2")
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "proves"),
    [
        (BurstResult(300, 1.0, False), False),
        (BurstResult(380, 1.0, False), True),
        (BurstResult(900, 9.0, False), False),
        (BurstResult(5, 1.0, True), True),
    ],
)
def test_burst_proves_something_beyond_the_limit_only(seen: BurstResult, proves: bool) -> None:
    assert BURSTS["API"].proves(seen) is proves
