"""Obtaining and building images on this host, each with its own log file under `builds/`."""

from __future__ import annotations

import math
import re
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ops.core import files
from ops.core.errors import OpsError
from ops.core.files import host_ca_bundle
from ops.core.lock import alone
from ops.core.process import installed, tail, until
from ops.core.state import State
from ops.engines.podman import argv as podman
from ops.engines.podman.host import Host
from ops.stack.images import DOCS

BASE_SECONDS = 900.0
AT_ONCE = 3
"""Builds side by side: they alternate between waiting for downloads and using a core."""
LOCKS = ".builds"
"""Folder beside those of the projects: they share their images."""
PROBE_SECONDS = 60.0
KEPT = "network.json"
"""Below `builds/`: why the last builds ran in the host's network; empty where they did not."""
_guard = threading.Lock()
_chosen: dict[str, str] = {}
_slots = threading.BoundedSemaphore(AT_ONCE)
_STEP = re.compile(r"^(?:\[\d+/\d+\] )?STEP (\d+)/(\d+): (.*)$")


def log_of(host: Host, name: str) -> Path:
    return host.state.builds / f"{name}.log"


def obtain_base(host: Host, suite: str, tag: str, report: Callable[[str], None]) -> None:
    """Bootstrap a Debian suite from its signed packages, then add what every image here needs."""
    log = log_of(host, f"base-{suite}")
    log.write_text("")
    with _only_builder(host, tag, BASE_SECONDS, report) as built:
        if not built:
            _obtain_base(host, suite, tag, log, report)


def _obtain_base(host: Host, suite: str, tag: str, log: Path, report: Callable[[str], None]) -> None:
    report("bootstrapping from packages")
    source = _bootstrap(host, suite, log)
    report("adding common packages")
    context, network = host.repository / "compose" / "base", network_for_builds(host, source)
    argv = podman.image_build(context, tag, {"BOOTSTRAP": source}, None, network=network)
    _build(host, argv, BASE_SECONDS, log, f"base-{suite}")


def _bootstrap(host: Host, suite: str, log: Path) -> str:
    """The image of a suite, made of packages whose signatures mmdebstrap verifies: nothing is taken by a mutable tag."""
    if not installed("mmdebstrap"):
        raise OpsError(
            f"cannot obtain Debian {suite}", "mmdebstrap is not installed", "apt-get install mmdebstrap debian-archive-keyring"
        )
    tag = f"localhost/cc03/bootstrap-{suite}:latest"
    with tempfile.TemporaryDirectory(dir=host.state.root) as folder:
        tarball = Path(folder) / f"{suite}.tar"
        try:
            host.run(
                ("mmdebstrap", "--variant=minbase", "--include=ca-certificates", suite, str(tarball)), timeout=600, log=log
            )
        except OpsError as problem:
            raise OpsError(f"cannot bootstrap Debian {suite}", *diagnose_build(log.read_text(), str(log))) from problem
        host.run(("podman", "import", "--quiet", str(tarball), tag), timeout=120)
    return tag


def build_image(
    host: Host, name: str, tag: str, context: Path, args: Mapping[str, str], deadline: int, report: Callable[[str], None],
    stage: str = "",
) -> None:  # fmt: skip
    """Build one image. A failure names the step of the Containerfile and the log."""
    log = log_of(host, name)
    report("waiting for a free builder")
    with _free_builder(), _only_builder(host, tag, deadline, report) as built:
        if built:
            return
        with _Follow(log, report):
            network = network_for_builds(host, next(iter(args.values()), ""))
            takes_docs = DOCS.search((context / "Containerfile").read_text(encoding="utf-8"))
            docs = host.repository / "docs" if takes_docs else None
            argv = podman.image_build(context, tag, args, host_ca_bundle(), stage, network, docs)
            _build(host, argv, deadline, log, name)


@contextmanager
def _free_builder() -> Iterator[None]:
    """One of the builds that run side by side. Who waits for that begins none where the command comes to its end meanwhile."""
    until(lambda: "" if _slots.acquire(blocking=False) else "all builders are busy", math.inf, longest_pause=0.5)
    try:
        yield
    finally:
        _slots.release()


@contextmanager
def _only_builder(host: Host, tag: str, seconds: float, report: Callable[[str], None]) -> Iterator[bool]:
    """One build of an image at a time, whatever project asks for it. Yields whether another one has built it meanwhile."""
    report("waiting for another build of the same image")
    name = tag.rpartition("/")[2].replace(":", "-")
    with alone(host.state.root.parent / LOCKS / name, seconds) as free:
        yield not free and host.run(("podman", "image", "exists", tag), ok=None).returncode == 0


def _build(host: Host, argv: podman.Argv, deadline: float, log: Path, name: str) -> None:
    try:
        host.run(argv, timeout=deadline, log=log)
    except OpsError as problem:
        text = log.read_text(errors="replace")
        at = [match for line in text.splitlines() if (match := _STEP.match(line))]
        where = f" at step {at[-1][1]}/{at[-1][2]}, {at[-1][3][:80]}" if at else ""
        why, next_step = diagnose_build(text, str(log))
        timed_out = "did not end" in problem.why
        raise OpsError(f"cannot build {name}{where}", problem.why if timed_out else why, next_step) from problem


class _Follow:
    """Reports the step that a build is at, by reading its log as it grows."""

    def __init__(self, log: Path, report: Callable[[str], None]) -> None:
        self.log, self.report = log, report
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> None:
        self.log.write_text("")
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    def _follow(self) -> None:
        with self.log.open(errors="replace") as file:
            while not self.ended.wait(0.3):
                steps = [match for line in file.readlines() if (match := _STEP.match(line))]
                if steps:
                    self.report(f"step {steps[-1][1]}/{steps[-1][2]}: {steps[-1][3][:60]}")


def fetch_image(host: Host, name: str, tag: str, source: str) -> None:
    """Pull an image by digest."""
    log = log_of(host, name)
    try:
        host.run(("podman", "pull", "--quiet", source), timeout=600, log=log)
        host.run(("podman", "tag", source, tag))
    except OpsError as problem:
        raise OpsError(f"cannot fetch {source}", tail(log), "inv images.load FILE, with an archive of that image") from problem


def network_for_builds(host: Host, image: str) -> str:
    """The network that build steps run in, probed once by each command.

    image: a Debian image that is on this host; its package mirror is what is asked for. Empty where a build has none.
    """
    with _guard:
        if not image:
            return _chosen.get(host.project, podman.BUILD_NETWORK)
        if host.project not in _chosen:
            why = _unreachable(host, image)
            if host.state.builds.is_dir():  # lint builds an image for a project that this host may have nothing of
                files.write(host.state.builds / KEPT, files.dump({"fallback": why}))
            _chosen[host.project] = podman.HOST_NETWORK if why else podman.BUILD_NETWORK
        return _chosen[host.project]


def _unreachable(host: Host, image: str) -> str:
    """Why the package mirror cannot be reached from a network apart from the host's; empty where it can."""
    try:
        answer = host.run(podman.mirror_probe(image, podman.BUILD_NETWORK), timeout=PROBE_SECONDS, ok=None)
    except OpsError as problem:
        return problem.why
    return "" if answer.returncode == 0 else answer.last_words()


def fallback(state: State) -> str:
    """Why the last builds on this host ran in its own network; empty where they did not, or none ran."""
    return str((files.read_json(state.builds / KEPT) or {}).get("fallback", ""))


def warning(state: State) -> str:
    """What an operator has to know of a build in the host's network; empty where there was none."""
    if why := fallback(state):
        return f"build steps ran in the host's own network, from which the operator's pages can be read: {why}"
    return ""


_BUILD = (
    (r"Temporary failure resolving|Could not resolve|Name or service not known|getaddrinfo|EAI_AGAIN|no such host",
     "the package mirrors cannot be reached: their names do not resolve",
     "check the network and /etc/resolv.conf, then run the command again; a host without network takes inv images.load FILE"),
    (r"Could not connect|Connection timed out|Network is unreachable|ETIMEDOUT|i/o timeout|Unable to connect",
     "the package mirrors cannot be reached: no connection",
     "check the network and proxy settings, then run the command again; a host without network takes inv images.load FILE"),
    (r"No space left on device", "the disk is full", "make room (inv images.prune, df -h), then run the command again"),
    (r"THESE PACKAGES DO NOT MATCH THE HASHES|checksum mismatch|EINTEGRITY|computed checksum did NOT match|sha256sum: WARNING"
     r"|SECURITY ERROR|wrong checksum|checksum.*(?:differs|does not match)",
     "a download does not have the pinned checksum: it was changed or cut short on the way, or the pin is wrong",
     "run the command again; if it stays, compare with the publisher before changing any pin"),
    (r"certificate verify failed|SELF_SIGNED_CERT|unable to get local issuer|x509: certificate signed by unknown|PKIX path",
     "a download server shows a certificate that the build does not trust",
     "install your proxy's CA on this host (update-ca-certificates), then run the command again"),
)  # fmt: skip


def diagnose_build(log: str, where: str) -> tuple[str, str]:
    """Why a build failed and what to type next.

    log: all that it said. where: the file that holds it.
    """
    end = "\n".join(log.splitlines()[-60:])
    for pattern, why, next_step in _BUILD:
        if re.search(pattern, end, re.IGNORECASE):
            return why, f"{next_step} (log: {where})"
    said = [line.strip() for line in end.splitlines() if line.strip()]
    return (" / ".join(said[-2:]) or "it printed nothing"), f"read {where}, correct the cause, run the command again"
