"""argv of Podman: what must always, and what must never stand there."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from ops.core.process import Result
from ops.engines.engine import LOST, OneOff, Trial
from ops.engines.podman import argv as podman
from ops.engines.podman.engine import PodmanEngine
from ops.engines.podman.host import Host as PodmanHost
from ops.engines.podman.supervisor import health

FILE = Path("/state/releases/1/compose.yaml")
SERVICE = {
    "image": "localhost/cc03/keycloak:1", "user": "60704:60704", "networks": {"cc03-data": {"ipv4_address": "10.64.6.12"}},
    "extra_hosts": ["postgres:10.64.6.11"], "volumes": ["/state/config/keycloak:/etc/cc03:ro"], "tmpfs": ["/run:mode=1777"],
    "secrets": [{"source": "cc03-postgres-keycloak-1", "target": "postgres-keycloak", "uid": "1", "gid": "1", "mode": "0400"}],
    "deploy": {"resources": {"limits": {"memory": "2147483648", "cpus": "2"}}},
}  # fmt: skip

EVERY = {
    "list_images": podman.list_images(),
    "identify_images": podman.identify_images(["localhost/cc03/nginx:1"]),
    "network_create": podman.network_create("cc03-data", "10.64.0.0/24", "cc03.project=cc03", internal=True),
    "mirror_probe": podman.mirror_probe("base", podman.BUILD_NETWORK),
    "image_build": podman.image_build(Path("/compose/nginx"), "tag", {"BASE_TRIXIE": "base"}, Path("/ca.pem")),
    "run_one_off": podman.run_one_off(OneOff("image", ["bash"], mounts={Path("/copy"): "/h2"}), "cc03-h2"),
    "run_trial": podman.run_trial(
        "cc03-app-check-app", "cc03-app-check",
        Trial(SERVICE, "10.89.0.10", {"postgres": "10.89.0.20"}, ["/tmp/tls:/etc/tls:ro"]), Path("/tmp/app.log"),
    ),
    "remove_all": podman.remove_all(["cc03-redis"]),
    "compose_create": podman.compose_create(FILE, "cc03", ["nginx", "redis"]),
    "remove": podman.remove("a"),
    "exec_in": podman.exec_in("a", ["nginx", "-s", "reload"]),
    "exec_with_input": podman.exec_with_input("a", ["psql"]),
    "run_check": podman.run_one_off(
        OneOff("image", ["check", "it"], mounts={Path("/c"): "/etc/cc03:ro"}, user="60701", hosts={"redis": "10.64.0.11"})
    ),
    "run_as": podman.run_as("cc03-once", SERVICE, ("bash", "-c", "true")),
}  # fmt: skip


def test_every_builder_is_looked_at_here() -> None:
    builders = {
        name for name, function in inspect.getmembers(podman, inspect.isfunction)
        if function.__module__ == "ops.engines.podman.argv" and not name.startswith("_")
    }  # fmt: skip

    assert builders - set(EVERY) == set()


@pytest.mark.parametrize("argv", EVERY.values(), ids=EVERY.keys())
def test_every_command_is_plain_words_for_podman(argv: podman.Argv) -> None:
    assert argv[0] in ("podman", "podman-compose")
    assert all(isinstance(part, str) and part for part in argv)


@pytest.mark.parametrize("flag", ["--remove-orphans", "--replace", "--privileged", "--all-volumes", "prune"])
def test_no_command_ever_says(flag: str) -> None:
    files = Path(podman.__file__).parent.rglob("*.py")
    words = {node.value for path in files for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}

    assert flag not in words
    assert "--no-recreate" in words, "words are found"


class Host:
    """Notes what Podman is told. said: what it answers."""

    def __init__(self, said: str = "") -> None:
        self.said = said
        self.ran: list[tuple[tuple[str, ...], str | None]] = []

    def run(self, argv: Sequence[str], *, stdin: str | None = None, **_: object) -> Result:
        self.ran.append((tuple(argv), stdin))
        return Result(tuple(argv), 0, self.said, "", 0.0)


def engine(host: Host) -> PodmanEngine:
    return PodmanEngine(cast(PodmanHost, host), "cc03")


def test_secret_comes_on_standard_input() -> None:
    host = Host()
    engine(host).store_secret("cc03-redis-app-1", "value")

    assert host.ran[-1] == (("podman", "secret", "create", "cc03-redis-app-1", "-"), "value")
    assert not [argv for argv, _ in host.ran if "value" in argv]


@pytest.mark.parametrize("verb", ["stop", "restart"])
def test_grace_period_is_given_in_seconds(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.engines.podman.engine.recover", lambda *_: None)
    monkeypatch.setattr(PodmanEngine, "_list", lambda _: None)
    host = Host()
    getattr(engine(host), verb)("redis", 35)

    assert host.ran == [(("podman", verb, "--time", "35", "cc03-redis"), None)]


def test_port_belongs_to_the_project_whose_container_publishes_it_or_the_range_that_has_it() -> None:
    ports = [{"host_port": 80, "range": 1}, {"host_port": 8443, "range": 2}]
    said = json.dumps([{"Labels": {"cc03.project": "cc03"}, "Ports": ports}, {"Labels": {"cc03.project": "b"}, "Ports": None}])

    assert engine(Host(said)).published_ports() == {80: "cc03", 8443: "cc03", 8444: "cc03"}


@pytest.mark.parametrize(("internal", "count"), [(True, 1), (False, 0)])
def test_network_has_no_dns_and_is_internal_where_asked(internal: bool, count: int) -> None:
    argv = podman.network_create("n", "10.64.0.0/24", "cc03.project=cc03", internal=internal)

    assert "--disable-dns" in argv
    assert argv.count("--internal") == count
    assert argv[argv.index("--subnet") + 1] == "10.64.0.0/24"
    assert argv[argv.index("--label") + 1] == "cc03.project=cc03"
    assert argv[-1] == "n"


def test_containers_are_created_without_being_started_or_recreated() -> None:
    argv = EVERY["compose_create"]

    assert {"--no-start", "--no-recreate", "--in-pod=false"} <= set(argv)
    assert argv[-2:] == ("nginx", "redis")


def test_oom_score_is_an_argument_of_podman_itself() -> None:
    argv = podman.compose_create(FILE, "cc03", (), 200)

    assert argv.index("--podman-run-args=--oom-score-adj=200") < argv.index("up")


def test_removing_a_container_keeps_its_volumes() -> None:
    assert "--volumes=false" in EVERY["remove"]


def test_build_never_pulls_and_gets_the_ca_as_a_secret_where_there_is_one() -> None:
    argv = EVERY["image_build"]

    assert "--pull=never" in argv
    assert argv[argv.index("--secret") + 1] == "id=ca,src=/ca.pem"
    assert argv[argv.index("--build-arg") + 1] == "BASE_TRIXIE=base"
    assert argv[-1] == "/compose/nginx"
    assert "--secret" not in podman.image_build(Path("/c"), "tag", {}, None)


def test_configuration_is_checked_without_network_rights_or_anything_to_write_to() -> None:
    argv = EVERY["run_check"]

    assert argv[argv.index("--network") + 1] == "none"
    assert argv[argv.index("--cap-drop") + 1] == "ALL"
    assert argv[argv.index("--user") + 1] == "60701"
    assert {"--rm", "--read-only"} <= set(argv)
    assert argv[argv.index("--volume") + 1] == "/c:/etc/cc03:ro"
    assert argv[argv.index("--add-host") + 1] == "redis:10.64.0.11"
    assert argv[-4:] == ("--entrypoint", "check", "image", "it")


def test_one_off_container_stands_where_its_service_would_and_is_no_place_for_a_second_address() -> None:
    argv = EVERY["run_as"]

    assert argv[argv.index("--network") + 1] == "cc03-data"
    assert argv[argv.index("--add-host") + 1] == "postgres:10.64.6.11"
    assert argv[argv.index("--secret") + 1] == "cc03-postgres-keycloak-1,target=postgres-keycloak,uid=1,gid=1,mode=0400"
    assert {"--rm", "--interactive", "--read-only", "--pull=never"} <= set(argv)
    assert "10.64.6.12" not in " ".join(argv)
    assert argv[-5:] == ("--entrypoint", "bash", "localhost/cc03/keycloak:1", "-c", "true")


def test_file_that_is_nobody_s_business_is_read_without_network_or_rights() -> None:
    argv = EVERY["run_one_off"]

    assert argv[argv.index("--network") + 1] == "none"
    assert argv[argv.index("--cap-drop") + 1] == "ALL"
    assert "--read-only" in argv
    assert "DAC_OVERRIDE" not in argv
    assert "--read-only" not in podman.run_one_off(OneOff("image", ["b"], fixed=False))


def test_one_off_container_reads_every_file_and_leaves_the_host_where_it_is_told_to() -> None:
    argv = podman.run_one_off(OneOff("image", ["restic"], outside=True, reads_all=True))

    assert argv[argv.index("--cap-add") + 1] == "DAC_OVERRIDE"
    assert argv[argv.index("--network") + 1] == "host"
    assert "--interactive" not in argv
    assert "--interactive" in podman.run_one_off(OneOff("image", ["restic"]), reads=True)


def test_images_of_stacks_alone_are_listed() -> None:
    argv = EVERY["list_images"]

    assert argv[argv.index("--filter") + 1] == "reference=localhost/cc03/*"


def test_build_step_stands_in_a_network_of_its_own_and_can_neither_forge_packets_nor_make_devices() -> None:
    for argv in (EVERY["image_build"], EVERY["mirror_probe"]):
        kept = set(argv[argv.index("--cap-add") + 1].split(","))

        assert argv[argv.index("--network") + 1] == "podman"
        assert argv[argv.index("--cap-drop") + 1] == "all"
        assert not kept & {"NET_RAW", "NET_ADMIN", "NET_BIND_SERVICE", "MKNOD", "SYS_CHROOT", "SETPCAP", "AUDIT_WRITE"}
    assert "host" in podman.image_build(Path("/c"), "tag", {}, None, network=podman.HOST_NETWORK)


def test_build_can_stop_at_a_stage() -> None:
    argv = podman.image_build(Path("/c"), "tag", {}, None, target="distribution")

    assert argv[argv.index("--target") + 1] == "distribution"
    assert "--target" not in EVERY["image_build"]


def test_build_gets_the_docs_where_its_containerfile_takes_them() -> None:
    argv = podman.image_build(Path("/c"), "tag", {}, None, docs=Path("/docs"))

    assert argv[argv.index("--build-context") + 1] == "docs=/docs"
    assert "--build-context" not in EVERY["image_build"]


def test_state_of_a_container_without_a_monitor_has_one_name() -> None:
    """The supervisor, which is copied without the engine, has its own constant."""
    assert LOST == health.LOST
