"""What a container can lay in the way of those who look at its files from the host."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from ops.engines.podman.supervisor.health import NamedConnection, text_within, within
from ops.security_audit.facts import Unread
from ops.security_audit.probe import advisories
from ops.security_audit.probe.containers import secrets_below, writable_below


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "shadow").write_text("of the host")
    (tmp_path / "root" / "run").mkdir(parents=True)
    (tmp_path / "root" / "run" / "pid").write_text("7")
    return tmp_path / "root"


def test_file_is_found_and_read(root: Path) -> None:
    assert text_within(root, "/run/pid") == "7"


@pytest.mark.parametrize(
    ("link", "target", "path"),
    [("run/last", "host/shadow", "run/last"), ("etc", "host", "etc/shadow"), ("run/up", "root/run", "run/up/pid")],
)
def test_link_in_any_place_is_refused(root: Path, link: str, target: str, path: str) -> None:
    (root / link).symlink_to(root.parent / target)

    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        text_within(root, path)


@pytest.mark.parametrize("path", ["../host/shadow", "run/../../host/shadow", "run/missing"])
def test_nothing_above_the_root_is_reached(root: Path, path: str) -> None:
    with pytest.raises(OSError, match=r"symbolic links|No such file"):
        text_within(root, path)


def test_no_descriptor_stays_open(root: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with within(root, "run/pid"):
        pass
    with pytest.raises(OSError, match="No such file"):
        text_within(root, "run/missing/pid")

    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_probe_connects_to_the_socket_and_not_to_where_a_link_leads(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Socket(socket.socket):
        def connect(self, address: object) -> None:
            asked.append(str(Path(str(address)).readlink()))
            raise ConnectionRefusedError

    os.mknod(root / "run" / "probe.sock", stat.S_IFSOCK | 0o600)
    (root / "run" / "link.sock").symlink_to(root.parent / "host" / "shadow")
    monkeypatch.setattr(socket, "socket", Socket)
    ca = "/etc/ssl/certs/ca-certificates.crt"
    with pytest.raises(ConnectionRefusedError):
        NamedConnection("127.0.0.1", 8443, "nginx", ca, timeout=1, path="/run/probe.sock", root=root).connect()
    with pytest.raises(OSError, match="symbolic links"):
        NamedConnection("127.0.0.1", 8443, "nginx", ca, timeout=1, path="/run/link.sock", root=root).connect()

    assert asked == [str(root / "run" / "probe.sock")]


def test_audit_makes_no_file_where_a_link_of_the_container_leads(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name that it tries could be laid there as a link before."""
    (root / "etc").mkdir()
    (root / "home").symlink_to(root.parent / "host")
    monkeypatch.setattr("ops.security_audit.probe.containers.token_hex", lambda length: "known")
    (root / "etc" / ".cc03-audit-known").symlink_to(root.parent / "host" / "made")

    found = list(writable_below(root, frozenset()))

    assert found == ["/"]
    assert sorted(path.name for path in (root.parent / "host").iterdir()) == ["shadow"]


def test_secrets_are_the_files_themselves(root: Path) -> None:
    (root / "run" / "secrets").mkdir()
    (root / "run" / "secrets" / "redis").write_text("a")
    (root / "run" / "secrets" / "redis").chmod(0o400)
    (root / "run" / "secrets" / "other").symlink_to(root.parent / "host" / "shadow")

    assert secrets_below(root) == {"redis": (os.getuid(), 0o400)}


def test_list_of_packages_is_not_read_through_a_link(root: Path) -> None:
    for path, text in (("usr/lib/os-release", "VERSION_CODENAME=bookworm\n"),):
        (root / path).parent.mkdir(parents=True)
        (root / path).write_text(text)
    (root / "var/lib/dpkg").mkdir(parents=True)
    (root / "var/lib/dpkg/status").symlink_to(root.parent / "host" / "shadow")

    with pytest.raises(Unread, match=r"^its image has no list of Debian packages$"):
        advisories.debsecan(root)
