"""Is this container doing what its users need?

Where a service declares a probe, it is asked over HTTP, which costs a hundredth of running its health check inside the
container (143 ms of CPU each with Podman 4.3). The question is put from within the container's network namespace: the host
itself has no address on internal networks. Where a service declares none, the container's own health check is run.
"""

from __future__ import annotations

import ctypes
import errno
import http.client
import json
import os
import socket
import ssl
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from ops.core.process import Result

PROBE_TIMEOUT = 4.0
ANSWER_BYTES = 4096
PAUSED = "paused"
LOST = "lost"
"""State of a container that Podman believes to run, and that has neither a process nor a monitor any more."""


@dataclass(frozen=True)
class Target:
    """One container to watch. `address` is its own; `ca` verifies a probe over TLS, `certificate` is shown in it.

    `socket`: path in the container at which it alone answers the probe. `holder`: container in whose network it stands.
    `needs`: services without which it cannot do what its users need. `live`: URL that answers, or program in the container that
    succeeds, as long as the process works at all, however busy it is; empty: it has none.
    """

    slot: str
    service: str
    container: str
    address: str
    probe: str | None
    ca: str
    start_seconds: int
    grace: int
    socket: str = ""
    holder: str = ""
    needs: tuple[str, ...] = ()
    live: str = ""
    certificate: str = ""

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Target:
        return cls(**{**value, "needs": tuple(value.get("needs", ()))})


CLONE_NEWNET = 0x40000000
"""setns(2): the namespace to enter is one of networks."""


@contextmanager
def network_of(pid: int) -> Iterator[None]:
    """Within the block, this thread opens its connections in the network namespace of a process. Needs root.

    Raises OSError where the process is gone.
    """
    with network_at(Path(f"/proc/{pid}/ns/net")):
        yield


@contextmanager
def network_at(path: Path) -> Iterator[None]:
    """The same for a namespace that a file stands for, such as one of `ip netns`."""
    # os.setns exists from Python 3.12 only.
    setns = ctypes.CDLL(None, use_errno=True).setns

    def enter(namespace: IO[bytes]) -> None:
        if setns(namespace.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "cannot enter the network namespace")

    with Path("/proc/thread-self/ns/net").open("rb") as own, path.open("rb") as theirs:
        enter(theirs)
        try:
            yield
        finally:
            enter(own)


def probe(target: Target, pid: int) -> str:
    """Ask over HTTP. Empty: it answers as it should; else the reason. `pid`: a process of the container."""
    if target.probe is None:
        raise ValueError(f"{target.slot} declares no probe")
    try:
        status, body = _answer(target, target.probe, pid)
    except (OSError, http.client.HTTPException) as problem:
        return f"{target.probe}: {str(problem) or type(problem).__name__}"
    if 200 <= status < 300:
        return ""
    return f"{target.probe}: HTTP {status} {' '.join(body[:300].split())}"[:240]


def dependencies_down(target: Target, pid: int) -> str:
    """Which dependencies a service does without although it is healthy, by its own answer to its probe; empty: none."""
    if target.probe is None:
        return ""
    try:
        return not_ok(_answer(target, target.probe, pid)[1])
    except (OSError, http.client.HTTPException):
        return ""


def not_ok(body: str) -> str:
    """Dependencies that a JSON answer names in `checks` with something else than "ok"; empty: none, or it is another answer."""
    try:
        said = json.loads(body)
    except ValueError:
        return ""
    checks = said.get("checks") if isinstance(said, dict) else None
    if not isinstance(checks, dict):
        return ""
    return ", ".join(f"{name}: {state}" for name, state in sorted(checks.items()) if state != "ok")[:240]


def _answer(target: Target, address: str, pid: int) -> tuple[int, str]:
    """Status and beginning of the body. Raises OSError or HTTPException where there is no answer."""
    url = urlsplit(address)
    connection = _connection(target, url.scheme, url.port, pid)
    try:
        with network_of(pid):
            connection.connect()
        connection.request("GET", url.path or "/", headers={"Host": "localhost", "User-Agent": "cc03-health"})
        answer = connection.getresponse()
        return answer.status, answer.read(ANSWER_BYTES).decode(errors="replace")
    finally:
        connection.close()


def _connection(target: Target, scheme: str, port: int | None, pid: int) -> http.client.HTTPConnection:
    if scheme != "https":
        return http.client.HTTPConnection(target.address, port, timeout=PROBE_TIMEOUT)
    # A port is shared by all who listen on it in one network; a file of the container is its own.
    return NamedConnection(
        target.address, port, target.service, target.ca, timeout=PROBE_TIMEOUT, path=target.socket,
        root=Path(f"/proc/{pid}/root"), certificate=target.certificate,
    )  # fmt: skip


def present(context: ssl.SSLContext, file: str) -> None:
    """Have a client show the certificate in a file. Raises OSError (ssl.SSLError is one) where it cannot be read."""
    try:
        context.load_cert_chain(file)
    except ssl.SSLError:
        # OpenSSL opens it once for the chain and once for the key: it may have been replaced in between.
        context.load_cert_chain(file)


class NamedConnection(http.client.HTTPSConnection):
    """HTTPS to an address, verified against the name of a service: that is what certificates are for.

    ca: file of the roots that are trusted. timeout: seconds. path: of the socket to connect to instead of the address,
    below `root`, where no link is followed.
    certificate: file of the certificate to show where the server asks for one, with its key; empty: none.
    """

    def __init__(
        self,
        address: str,
        port: int | None,
        name: str,
        ca: str,
        *,
        timeout: float,
        path: str = "",
        root: Path = Path("/"),
        certificate: str = "",
    ) -> None:
        context = ssl.create_default_context(cafile=ca)
        if certificate and Path(certificate).is_file():
            present(context, certificate)
        super().__init__(address, port, timeout=timeout, context=context)
        self.name, self.path, self.root = name, path, root

    def connect(self) -> None:
        if self.path:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            with within(self.root, self.path) as found:
                self.sock.connect(str(found))
        else:
            http.client.HTTPConnection.connect(self)
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self.name)  # type: ignore[attr-defined]


def state_of(item: Mapping[str, Any]) -> str:
    """What a container does, as `podman container inspect` says it, but `lost` where it ended and nobody told Podman.

    Podman hears of an end from the container's monitor. Where that ended as well (a power cut, `kill -9` of both), it goes on
    saying `running`, or `stopping` once somebody tried to stop it.
    """
    state = item["State"]
    if state["Status"] not in ("running", "stopping"):
        return str(state["Status"])
    processes = [state[key] for key in ("Pid", "ConmonPid") if state.get(key)]
    ended = processes and not any(_lives(pid) for pid in processes)
    return LOST if ended else str(state["Status"])


def _lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody has asked about yet (a zombie) does not."""
    try:
        # The name, in parentheses, may hold anything; what follows it is the state (proc(5)).
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def stranded(container: Mapping[str, Any], holder: Mapping[str, Any] | None) -> bool:
    """Whether a running container stands in a network that its holder has no more, or not yet again.

    Podman gives a container that is stopped and started a new network. Those that share it stay in the old one, without an
    address, until they are started again. A holder that is killed keeps its network (both seen with 4.3.1).

    holder: what `podman container inspect` says of the container in whose network it should stand; None: there is none.
    """
    places = []
    for item in (container, holder or {}):
        try:
            places.append(Path(f"/proc/{item.get('State', {}).get('Pid') or 'none'}/ns/net").readlink())
        except OSError:
            return True
    return places[0] != places[1]


def assess(
    target: Target, container: Mapping[str, Any] | None, check: Callable[[str], str],
    holder: Mapping[str, Any] | None = None,
) -> str:  # fmt: skip
    """Why a container is not healthy; empty when it is.

    container: what `podman container inspect` says of it, or None.
    check: runs the container's own health check; returns the reason, or nothing.
    holder: what is known of the container in whose network it stands, if it shares one.
    """
    if container is None:
        return "there is no such container"
    state = container["State"]
    if state_of(container) == LOST:
        return "its process is gone, but Podman lists it as running (a power cut?)"
    if state["Status"] == PAUSED:
        return "it is paused"
    if state["Status"] != "running":
        killed = ", killed for lack of memory" if state.get("OOMKilled") else ""
        return f"it is {state['Status']} (exit code {state.get('ExitCode', '?')}{killed})"
    if target.holder and stranded(container, holder):
        return f"it has lost its network: {target.holder} has been stopped or started meanwhile"
    return probe(target, int(state["Pid"])) if target.probe else check(target.container)


def is_live(target: Target, container: Mapping[str, Any] | None, succeeds: Callable[[str, str], bool]) -> bool:
    """Whether a container that is not ready answers its liveness probe: it is busy, recovers, or waits for another service.

    succeeds: given a container and a program in it, runs that.
    """
    if not target.live or container is None or state_of(container) != "running":
        return False
    if target.live.startswith("/"):
        return succeeds(target.container, target.live)
    return not probe(replace(target, probe=target.live), int(container["State"]["Pid"]))


def failure_of(inspected: Mapping[str, Any]) -> str:
    """Last output of a container's own failed health check."""
    state = inspected["State"]
    log = (state.get("Health") or state.get("Healthcheck") or {}).get("Log") or []
    return " ".join(str(log[-1].get("Output", "")).split())[-200:] if log else ""


@contextmanager
def within(root: Path, path: str) -> Iterator[Path]:
    """A path, good for the block, of what `path` names below `root`, the /proc/PID/root of a container.

    The container decides what is there. No link is followed: an absolute one would lead into the host's own files, on which
    this program acts as root.

    Raises OSError where there is nothing, or a link in any place.
    """
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        for part in PurePosixPath(path.lstrip("/")).parts:
            above, descriptor = descriptor, os.open(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(above)
            if part == ".." or stat.S_ISLNK(os.fstat(descriptor).st_mode):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), f"{root}/{path.lstrip('/')}")
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def text_within(root: Path, path: str) -> str:
    """The text of a regular file. Raises OSError as `within`."""
    with within(root, path) as found:
        if not stat.S_ISREG(found.stat().st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", path)
        return found.read_text(encoding="utf-8", errors="replace")


EXITS = Path("/run/libpod/exits")
"""Where root's Podman looks (`--tmpdir`, libpod's default)."""
STOPPING, STOP_SECONDS = "stopping", "50"
"""The latter below the time that the supervisor gives a command of Podman."""
KILLED = "137"
"""128 + SIGKILL: what is known of the end of a process that nobody watched."""


def recover(name: str, podman: Callable[..., Result]) -> bool:
    """Let a paused container go on, stop a half stopped one, and let Podman know of one that is gone where it does not.

    Podman 4.3 and 5 learn of an end from one file that the monitor (conmon) writes, `<id>` in the exits folder of their
    temporary directory. Without it, `start` does nothing, `restart` and `stop` end in the state `stopping` for good, and only a
    new container would help. So the file is written here, as the monitor would have done, and the rest takes its ordinary
    course (tried with 4.3.1 and 5.4.2).

    podman: runs podman with these arguments, whatever its exit code.

    Returns whether there was anything to do. Afterwards the container can be started, stopped and removed.
    """
    answer = podman("container", "inspect", name)
    found: list[Mapping[str, Any]] = json.loads(answer.stdout or "[]") if answer.returncode == 0 else []
    if found and state_of(found[0]) == PAUSED:
        return podman("unpause", name).returncode == 0
    if found and state_of(found[0]) == STOPPING:
        return podman("stop", "--time", STOP_SECONDS, name).returncode == 0
    if not found or state_of(found[0]) != LOST or not EXITS.is_dir():
        return False
    (EXITS / str(found[0]["Id"])).write_text(KILLED)
    podman("container", "cleanup", name)
    return True
