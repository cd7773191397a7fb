"""The part of the stack that an ordinary user can run here: images, hardening and a service that serves, without root."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ops.certificates.authority import issue_certificate
from ops.core.process import Result, run, until
from ops.core.state import State
from ops.engines.podman.supervisor.health import network_of
from ops.project import Project
from tests.drill.walls.rootless import FIRST, USER

SERVICE = "frontend"
Rootless = Callable[..., Result]


@pytest.fixture(scope="module")
def rootless(project: Project) -> Iterator[Rootless]:
    """Podman of an ordinary user, with a storage of its own that has the image of one service."""
    home = Path(tempfile.mkdtemp(prefix="cc03-rootless-"))
    home.chmod(0o755)
    (home / "run").mkdir()
    (home / "containers.conf").write_text(
        '[containers]\ndefault_ulimits=["nofile=1024:1024","nproc=4096:4096"]\ncgroupns="host"\nlog_driver="k8s-file"\n'
        '[engine]\ncgroup_manager="cgroupfs"\nevents_logger="file"\nruntime="runc"\n'
    )
    (home / "storage.conf").write_text(
        f'[storage]\ndriver="overlay"\nrunroot="{home}/run/containers"\ngraphroot="{home}/storage"\n'
    )
    archive = home / "image.tar"
    project.engine.save_images([project.images[SERVICE].tag], archive)
    archive.chmod(0o644)
    for path in (home, home / "run"):
        shutil.chown(path, USER, USER)

    def call(*argv: str, ok: tuple[int, ...] | None = (0,)) -> Result:
        return run((sys.executable, "-m", "tests.drill.walls.rootless", str(home), *argv), timeout=120, ok=ok)

    try:
        call("podman", "load", "--quiet", "--input", str(archive))
        yield call
    finally:
        call("podman", "rm", "--all", "--force", "--time", "0", ok=None)
        shutil.rmtree(home, ignore_errors=True)


def hardened(project: Project) -> tuple[str, ...]:
    """The flags of the service's own container, but for its networks: those need pasta or slirp4netns."""
    service = project.deployed.compose["services"][f"{SERVICE}-1"]
    tmpfs = [part for mount in service["tmpfs"] for part in ("--tmpfs", str(mount))]
    return (
        "--pull=never", "--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
        "--user", str(service["user"]), *tmpfs,
    )  # fmt: skip


def certificate(scratch: Path, folder: Path) -> Path:
    """One that whoever it is in the container can read: it is of an authority that nobody trusts but this test."""
    state = State(scratch / "state")
    state.prepare()
    issue_certificate(state, "rootless", SERVICE, os.getuid(), (SERVICE, "127.0.0.1"))
    folder.mkdir(mode=0o755)
    for source, name in ((state.certs / SERVICE / "tls.pem", "tls.pem"), (state.ca / "root.pem", "ca.pem")):
        (folder / name).write_bytes(source.read_bytes())
    return folder


def status(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+):\s*(.*)$", text, re.MULTILINE))


def test_processes_are_confined_and_not_root_on_the_host(project: Project, rootless: Rootless) -> None:
    answer = rootless(
        "podman", "run", "--rm", *hardened(project), "--entrypoint", "cat", project.images[SERVICE].tag,
        "/proc/self/status", "/proc/self/uid_map",
    )  # fmt: skip
    found = status(answer.stdout)

    assert {found[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}
    assert (found["NoNewPrivs"], found["Seccomp"], found["Uid"].split()[0]) == ("1", "2", "60702")
    assert f"0 {USER} 1" in " ".join(answer.stdout.split()), "root of the container must be the ordinary user"
    assert f"1 {FIRST} " in " ".join(answer.stdout.split())


def test_service_serves_without_root(project: Project, rootless: Rootless, tmp_path: Path) -> None:
    """Its own entry point and its page of health, with the configuration that is deployed."""
    config = Path(tempfile.mkdtemp(prefix="cc03-rootless-config-"))
    try:
        for name, text in project.config()[SERVICE].items():
            (config / name).write_text(text)
        certificates = certificate(tmp_path, config / "tls")
        config.chmod(0o755)
        rootless(
            "podman", "run", "--detach", "--name", "served", *hardened(project), "--volume", f"{config}:/etc/cc03/current:ro",
            "--volume", f"{certificates}:/etc/tls:ro", project.images[SERVICE].tag,
        )  # fmt: skip
        strict = ssl.create_default_context(cafile=certificates / "ca.pem")

        # Asked from its network: to enter a container without root, runc needs more than some hosts allow.
        inner = int(rootless("podman", "inspect", "--format", "{{.State.Pid}}", "served").stdout)

        def ill() -> str:
            with network_of(inner):
                asking = http.client.HTTPSConnection("127.0.0.1", 8080, timeout=2, context=strict)
                try:
                    asking.connect()
                except OSError as problem:
                    return str(problem)
            asking.request("GET", "/healthz")
            return "" if (answer := asking.getresponse()).status == 200 else f"HTTP {answer.status}"

        assert not (reason := until(ill, 20)), reason
    finally:
        shutil.rmtree(config)


def test_commands_say_that_they_need_root(tmp_path: Path) -> None:
    """What is not offered is refused in words, before anything is done."""
    answer = run(
        ("setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups", sys.executable, "-m", "invoke", "audit"),
        timeout=60, ok=None, env={"HOME": "/"},
    )  # fmt: skip

    assert (answer.returncode, answer.stderr.splitlines()[0]) == (3, "failed: this command needs root")
