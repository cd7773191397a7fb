"""argv of Podman: what must always, and what must never stand there."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from ops.engines.engine import OneOff, Trial
from ops.engines.podman import argv as podman

FILE = Path("/state/releases/1/compose.yaml")
LABELS = {"cc03.project": "cc03"}
SERVICE = {
    "image": "localhost/cc03/keycloak:1", "user": "60704:60704", "networks": {"cc03-data": {"ipv4_address": "10.64.6.12"}},
    "extra_hosts": ["postgres:10.64.6.11"], "volumes": ["/state/config/keycloak:/etc/cc03:ro"], "tmpfs": ["/run:mode=1777"],
    "secrets": [{"source": "cc03-postgres-keycloak-1", "target": "postgres-keycloak", "uid": "1", "gid": "1", "mode": "0400"}],
    "deploy": {"resources": {"limits": {"memory": "2147483648", "cpus": "2"}}},
}  # fmt: skip

EVERY = {
    "version": podman.version(),
    "containers_of": podman.containers_of("cc03"),
    "inspect_containers": podman.inspect_containers(["a"]),
    "list_images": podman.list_images(),
    "identify_images": podman.identify_images(["localhost/cc03/nginx:1"]),
    "list_networks": podman.list_networks("cc03"),
    "list_subnets": podman.list_subnets(),
    "list_volumes": podman.list_volumes("cc03"),
    "list_secrets": podman.list_secrets(),
    "graph_root": podman.graph_root(),
    "network_create": podman.network_create("cc03-data", "10.64.0.0/24", internal=True, labels=LABELS),
    "network_remove": podman.network_remove("cc03-data"),
    "inspect_networks": podman.inspect_networks(["cc03-data"]),
    "volume_create": podman.volume_create("cc03-data", LABELS),
    "inspect_volumes": podman.inspect_volumes(["cc03-redis-data"]),
    "volume_remove": podman.volume_remove("cc03-data"),
    "secret_create": podman.secret_create("cc03-redis-app-1"),
    "secret_remove": podman.secret_remove("cc03-redis-app-1"),
    "mirror_probe": podman.mirror_probe("base", podman.BUILD_NETWORK),
    "image_build": podman.image_build(Path("/compose/nginx"), "tag", {"BASE_TRIXIE": "base"}, LABELS, Path("/ca.pem")),
    "run_one_off": podman.run_one_off(OneOff("image", ["bash"], mounts={Path("/copy"): "/h2"}), "cc03-h2"),
    "network_for_trial": podman.network_for_trial("cc03-app-check"),
    "networks_of_trials": podman.networks_of_trials(),
    "run_trial": podman.run_trial(
        "cc03-app-check-app",
        "cc03-app-check",
        Trial(SERVICE, "10.89.0.10", {"postgres": "10.89.0.20"}, ["/tmp/tls:/etc/tls:ro"], Path("/tmp/app.log")),
    ),
    "image_pull": podman.image_pull("image"),
    "image_offered": podman.image_offered("image"),
    "image_import": podman.image_import(Path("/base.tar"), "tag"),
    "image_tag": podman.image_tag("image", "tag"),
    "container_names": podman.container_names("cc03.project=cc03"),
    "labelled": podman.labelled(podman.LABEL_TRIAL),
    "used_images": podman.used_images(),
    "remove_all": podman.remove_all(["cc03-redis"]),
    "rename": podman.rename("cc03-redis-next", "cc03-redis"),
    "image_remove": podman.image_remove("image"),
    "image_history": podman.image_history("image"),
    "image_save": podman.image_save(["image"], Path("/archive")),
    "image_load": podman.image_load(Path("/archive")),
    "compose_create": podman.compose_create(FILE, "cc03", ["nginx", "redis"]),
    "start": podman.start(["a"]),
    "stop": podman.stop("a", 35),
    "restart": podman.restart("a", 35),
    "remove": podman.remove("a"),
    "remove_leftover": podman.remove_leftover("a"),
    "healthcheck": podman.healthcheck("a"),
    "exec_in": podman.exec_in("a", ["nginx", "-s", "reload"]),
    "exec_with_input": podman.exec_with_input("a", ["psql"]),
    "start_attached": podman.start_attached("a"),
    "run_check": podman.run_one_off(
        OneOff("image", ["check", "it"], mounts={Path("/c"): "/etc/cc03:ro"}, user="60701", hosts={"redis": "10.64.0.11"})
    ),
    "run_as": podman.run_as("cc03-once", SERVICE, ("bash", "-c", "true")),
    "pause": podman.pause("a"),
    "unpause": podman.unpause("a"),
    "attached_to": podman.attached_to("cc03-data"),
    "containers_on": podman.containers_on("cc03-data"),
    "published_ports": podman.published_ports(),
    "image_exists": podman.image_exists("image"),
    "inspect_images": podman.inspect_images(["image"]),
    "ends": podman.ends("a", "10m"),
}


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
    assert [name for name, argv in EVERY.items() if flag in argv] == []


def test_secret_comes_on_standard_input_because_no_builder_takes_its_value() -> None:
    assert EVERY["secret_create"] == ("podman", "secret", "create", "cc03-redis-app-1", "-")
    assert list(inspect.signature(podman.secret_create).parameters) == ["name"]


@pytest.mark.parametrize(("internal", "count"), [(True, 1), (False, 0)])
def test_network_has_no_dns_and_is_internal_where_asked(internal: bool, count: int) -> None:
    argv = podman.network_create("n", "10.64.0.0/24", internal=internal, labels=LABELS)

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
    assert "--secret" not in podman.image_build(Path("/c"), "tag", {}, {}, None)


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


@pytest.mark.parametrize("builder", [podman.stop, podman.restart])
def test_grace_period_is_given_in_seconds(builder: object) -> None:
    assert callable(builder)
    assert builder("a", 35)[2:] == ("--time", "35", "a")


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
    assert "host" in podman.image_build(Path("/c"), "tag", {}, {}, None, network=podman.HOST_NETWORK)


def test_build_can_stop_at_a_stage() -> None:
    argv = podman.image_build(Path("/c"), "tag", {}, {}, None, target="distribution")

    assert argv[argv.index("--target") + 1] == "distribution"
    assert "--target" not in EVERY["image_build"]
