"""Bad input and hosts that lack something: a clear message in three lines, the right exit code, and nothing changed."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from ops.core.machine import REPOSITORY
from ops.core.process import Result, run
from ops.core.records import entries
from tests.drill.stack import Drill, begun, inv
from tests.smoke.live import eventually

LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "node_modules", "__pycache__", ".*_cache")


def assert_refused(answer: Result, code: int, *said: str) -> None:
    """Exit code, and exactly three lines that hold these words; no traceback, whatever happened."""
    lines = answer.stderr.splitlines()
    assert answer.returncode == code, f"exit code {answer.returncode}\n{answer.stdout[-2000:]}\n{answer.stderr}"
    assert [line.split(":")[0].strip() for line in lines] == ["failed", "why", "next"], answer.stderr
    assert all(line.partition(":")[2].strip() for line in lines), answer.stderr
    assert [words for words in said if words not in answer.stderr] == [], answer.stderr
    assert "Traceback" not in answer.stdout + answer.stderr


SETTINGS = {
    "unknown key": ("\nprots:\n  http: 80\n", ":2 unknown setting", 'did you mean "ports"?'),
    "unknown key further down": ("ports:\n  htps: 443\n", ":2 unknown setting", 'did you mean "https"?'),
    "wrong type": ("ports:\n  https: many\n", ":2 ports.https is 'many'", "must be"),
    "wrong unit": ("limits:\n  redis:\n    memory: plenty\n", ":3 limits.redis.memory", "512m"),
    "out of range": ("replicas: {backend: 0}\n", ":1 replicas.backend is 0", "must be"),
    "list for a value": ("domain: [a, b]\n", ":1 domain"),
    "not YAML": ("ports: {http: 80\nhttps: 443\n", "is not valid YAML", "correct line"),
    "key there twice": ("domain: a.example\ndomain: b.example\n", ":2", "twice"),
    "unknown service": ("limits:\n  redsi: {memory: 1g}\n", ":2 unknown setting", 'did you mean "redis"?'),
    "one port for two": ("ports: {http: 8080, https: 8080}\n", "are both 8080"),
    "too little for keycloak": ("limits: {keycloak: {memory: 512m}}\n", "keycloak", "1250"),
    "context that is not there": ("build: {backend: ../nowhere}\n", "nowhere", "Containerfile"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_cannot_be_meant(untouched: Drill, tmp_path: Path, case: str) -> None:
    text, *said = SETTINGS[case]
    path = tmp_path / "stack.yaml"
    path.write_text(text)

    assert_refused(inv("deploy", "--yes", env={"CC03_STACK": str(path)}), 2, str(path), *said)


def test_settings_file_that_is_not_there(untouched: Drill, tmp_path: Path) -> None:
    assert_refused(inv("deploy", "--yes", env={"CC03_STACK": str(tmp_path / "none.yaml")}), 2, "none.yaml")


@pytest.mark.parametrize("command", ["deploy", "restart", "build", "logs"])
def test_service_that_does_not_exist(untouched: Drill, command: str) -> None:
    assert_refused(inv(command, "--service", "redsi"), 2, 'there is no service "redsi"', 'did you mean "redis"?')


@pytest.fixture
def stopped(stack: Drill) -> Iterator[Drill]:
    """Its ports are free, and everything else is as it was."""
    assert inv("stop").returncode == 0
    yield stack
    assert inv("start").returncode == 0


def test_port_that_another_program_holds(stopped: Drill) -> None:
    port = stopped.project.ports["https"]
    before = stopped.fingerprint()
    with socket.create_server(("127.0.0.1", port)):
        assert_refused(inv("deploy", "--yes"), 3, f"port {port} is taken", f"sport = :{port}")
    assert stopped.fingerprint() == before


@pytest.fixture
def elsewhere(untouched: Drill, tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """Environment of a project that has never been on this host; no trace of it may be left in Podman."""
    name = "cc03-refused-drill"
    yield {"CC03_PROJECT": name, "CC03_STATE": str(tmp_path / "state")}
    for kind in ("container", "network", "volume"):
        listed = (
            "podman",
            kind,
            "ls",
            *(["--all"] if kind == "container" else []),
            "--quiet",
            "--filter",
            f"label=cc03.project={name}",
        )
        assert run(listed, timeout=60, env=untouched.project.host.environment).stdout.split() == []


def test_disk_that_is_nearly_full(elsewhere: Mapping[str, str]) -> None:
    """The mount is seen by this command only, and ends with it."""
    small = (
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mkdir -p "$CC03_STATE" && mount -t tmpfs -o size=64m none "$CC03_STATE" && exec "$@"',
        "sh",
    )

    assert_refused(inv("deploy", "--yes", under=small, env=elsewhere), 3, "0.1 GB free on", "needs", "inv images.prune")


def test_podman_that_is_missing(elsewhere: Mapping[str, str], tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()

    answer = inv("deploy", "--yes", env={**elsewhere, "PATH": str(empty)})
    assert_refused(answer, 3, "podman", "not installed", "quick-deploy.sh")


@pytest.fixture
def old_podman(tmp_path: Path) -> str:
    """A search path whose Podman says that it is an older one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "podman"
    answer = json.dumps({"Client": {"Version": "3.4.4"}})
    program.write_text(
        f'#!/bin/sh\nif [ "$1" = version ]; then echo \'{answer}\'; else exec {shutil.which("podman")} "$@"; fi\n'
    )
    program.chmod(0o755)
    return f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin"


def test_podman_that_is_too_old(elsewhere: Mapping[str, str], old_podman: str) -> None:
    answer = inv("deploy", "--yes", env={**elsewhere, "PATH": old_podman})

    assert_refused(answer, 3, "Podman 3.4.4 is too old", "4.3 or newer")


def test_caller_who_is_not_root(untouched: Drill, tmp_path: Path) -> None:
    """nobody, who may read every file (the checkout may lie anywhere) and write none."""
    may_read = ("--inh-caps", "-all,+dac_read_search", "--ambient-caps", "-all,+dac_read_search")
    nobody = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", *may_read)

    assert_refused(inv("deploy", "--yes", under=nobody), 3, "needs root", "sudo")


def test_two_deploys_at_once(stack: Drill, changed: Mapping[str, str], tmp_path: Path) -> None:
    """The first is held in the middle of its work, so that it cannot end before the second has asked for the lock."""
    since = len(list(entries(stack.project.state.journal)))
    with begun("deploy", "--yes", log=tmp_path / "log", env=changed) as first:
        eventually(lambda: "" if stack.step_began(since, "remove redis") else "it has not begun", 60)
        first.send_signal(signal.SIGSTOP)
        try:
            second = inv("deploy", "--yes", env=changed)
        finally:
            first.send_signal(signal.SIGCONT)
        assert_refused(second, 4, f"process {first.pid}", "inv deploy", "wait until it has ended")
        assert first.wait(120) == 0, (tmp_path / "log").read_text()
    assert stack.unhealthy() == ""


Altered = Callable[[str, Callable[[str], str]], Path]


@pytest.fixture
def altered(tmp_path: Path) -> Altered:
    """A copy of the checkout in which one file is another; an image that it goes into has to be built anew."""

    def copy(path: str, change: Callable[[str], str]) -> Path:
        root = tmp_path / "checkout"
        shutil.copytree(REPOSITORY, root, ignore=LEFT_OUT, symlinks=True)
        content = (root / path).read_text()
        (root / path).write_text(change(content))
        assert (root / path).read_text() != content
        return root

    return copy


@pytest.fixture
def same_images(untouched: Drill) -> Iterator[None]:
    before = set(untouched.project.engine.images())
    yield
    assert set(untouched.project.engine.images()) == before


@pytest.mark.usefixtures("same_images")
def test_build_without_a_network(elsewhere: Mapping[str, str], altered: Altered) -> None:
    def fetches_more(text: str) -> str:
        return re.sub(r"apt-get install -y", "apt-get install -y --reinstall", text, count=1)

    root = altered("compose/redis/Containerfile", fetches_more)
    began = time.monotonic()
    answer = inv("build", "--service", "redis", root=root, under=("unshare", "--net"), env=elsewhere)

    assert_refused(answer, 1, "cannot build redis", "cannot be reached", "images.load")
    assert time.monotonic() - began < 300


@pytest.mark.usefixtures("same_images")
def test_download_with_another_checksum(elsewhere: Mapping[str, str], altered: Altered) -> None:
    def other_digits(text: str) -> str:
        """Every pinned hash of the first package with one digit changed."""
        first, *rest = re.split(r"(?=^[a-z0-9])", text, flags=re.MULTILINE)
        head, *others = [first, *rest] if "--hash" in first else rest
        changed = re.sub(r"sha256:(.)", lambda match: f"sha256:{'1' if match[1] == '0' else '0'}", head)
        return text.replace(head, changed) if others else changed

    root = altered("compose/backend/requirements.lock", other_digits)
    answer = inv("build", "--service", "backend", root=root, env=elsewhere)

    assert_refused(answer, 1, "cannot build backend", "does not have the pinned checksum", "compare with the publisher")


def test_every_command_explains_itself(untouched: Drill) -> None:
    """A command or an option that does not exist is named, and none of these runs leaves anything behind."""
    assert_refused(inv("delpoy"), 2, 'there is no command "delpoy"', 'did you mean "deploy"?', "inv --list")
    assert_refused(inv("deploy", "--plna"), 2, "no option --plna", 'did you mean "--plan"?', "inv --help deploy")
