"""The flat file of a release: addresses, neighbours, secrets, mounts, and the hash that decides about replacement."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ops.stack.model import LABEL_HASH, LABEL_PROJECT, LABEL_SERVICE, LABEL_SLOT, Allocation, Limits, Stack
from ops.stack.render import digest, hosts_of, render_release
from tests.unit.builders import CONFIG, STATE, allocation, image, stack


def render(of: Stack | None = None, given: Allocation | None = None, **changes: Any) -> dict[str, Any]:
    own = of or stack()
    arguments: dict[str, Any] = {
        "images": {name: image(name).tag for name in own.services}, "versions": dict.fromkeys(own.secrets, 1),
        "config_hashes": CONFIG, "state": STATE, "log_megabytes": 20, **changes,
    }  # fmt: skip
    return render_release(own, given or allocation(own), **arguments)


def hashes(release: dict[str, Any]) -> dict[str, str]:
    return {slot: one["labels"][LABEL_HASH] for slot, one in release["services"].items()}


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    old, new = hashes(before), hashes(after)
    return {slot for slot in old if old[slot] != new[slot]}


def test_every_slot_has_one_fixed_name_and_one_fixed_address_a_network() -> None:
    services = render()["services"]

    assert services["backend-2"]["container_name"] == "cc03-backend-2"
    assert services["backend-2"]["hostname"] == "backend-2"
    assert {name: one["ipv4_address"] for name, one in services["backend-2"]["networks"].items()} == {
        "cc03-app": "10.64.1.13",
        "cc03-data": "10.64.2.13",
    }
    assert services["backend-2"]["labels"].items() >= {
        LABEL_PROJECT: "cc03", LABEL_SERVICE: "backend", LABEL_SLOT: "backend-2",
    }.items()  # fmt: skip


def test_neighbours_are_those_of_shared_networks_and_never_oneself() -> None:
    services = render()["services"]

    def names(slot: str) -> list[str]:
        return [entry.split(":")[0] for entry in services[slot]["extra_hosts"]]

    # Every replica that could ever be, so that scaling out changes nothing in its neighbours.
    replicas = [*(f"backend-{number}" for number in range(1, 9)), "backend-surge"]
    assert names("postgres") == [*replicas, "keycloak"]
    assert names("edge") == [*replicas, "grafana", "keycloak"]
    assert names("backend-2") == sorted({*replicas, "postgres", "keycloak", "nginx", "grafana"} - {"backend-2"})
    assert "nginx:10.64.1.21" in services["keycloak"]["extra_hosts"]


def test_hardware_address_belongs_to_the_address_so_that_neighbours_find_a_replaced_container_at_once() -> None:
    attachments = [one for slot in render()["services"].values() for one in slot.get("networks", {}).values() if one]

    by_address = {one["ipv4_address"]: one["mac_address"] for one in attachments}
    assert by_address["10.64.1.13"] == "02:cc:0a:40:01:0d"
    assert len(set(by_address.values())) == len(by_address) == len(attachments)


def test_neighbour_on_two_shared_networks_is_named_once_at_the_first() -> None:
    own = stack()

    assert hosts_of(own, allocation(own), own.services["backend"])["keycloak"] == "10.64.1.11"


def test_who_shares_a_network_has_none_of_its_own_and_everybody_finds_it_at_the_holders_address() -> None:
    services = render()["services"]

    for slot in ("nginx", "nginx-surge"):
        assert services[slot]["network_mode"] == "container:cc03-edge"
        assert not {"networks", "ports", "hostname", "extra_hosts", "sysctls"} & set(services[slot])
    assert services["edge"]["networks"]["cc03-app"]["ipv4_address"] == "10.64.1.21"
    assert services["edge"]["ports"] == ["443:8443"]
    neighbours = [entry for entry in services["backend-1"]["extra_hosts"] if "10.64.1.21" in entry]
    assert neighbours == ["nginx:10.64.1.21"]


def test_what_is_kept_has_the_same_hash_under_another_image() -> None:
    images = {name: image(name).tag for name in stack().services}
    after = render(images={**images, "edge": "localhost/cc03/edge:2"})

    assert changed(render(), after) == set()
    assert after["services"]["edge"]["image"] == "localhost/cc03/edge:2"


def test_secrets_are_mounted_by_version_for_their_owner_only() -> None:
    release = render(versions={"postgres-superuser": 1, "postgres-app": 3})

    secret = release["services"]["postgres"]["secrets"][1]
    assert (secret["source"], secret["target"]) == ("cc03-postgres-app-3", "postgres-app")
    assert (secret["uid"], secret["gid"], int(str(secret["mode"]), 8)) == ("60705", "60705", 0o400)
    assert release["secrets"] == {
        "cc03-postgres-app-3": {"external": True},
        "cc03-postgres-superuser-1": {"external": True},
    }


def test_networks_and_volumes_are_those_that_deploy_has_created() -> None:
    release = render()

    assert release["networks"] == {f"cc03-{name}": {"external": True} for name in ("web", "app", "data")}
    assert release["volumes"] == {"cc03-postgres-data": {"external": True}}


def test_mounts_are_configuration_by_its_parent_volumes_by_project_and_paths_as_they_are() -> None:
    assert render()["services"]["postgres"]["volumes"] == [
        "/state/config/postgres:/etc/cc03:ro",
        "cc03-postgres-data:/var/lib/postgresql",
        "/state/certs/postgres:/etc/tls:ro",
    ]


def test_podmans_own_health_timers_are_off_and_logs_are_bounded() -> None:
    one = render(log_megabytes=7)["services"]["nginx"]

    assert one["healthcheck"] == {"test": ["CMD", "/healthy"], "interval": "disable"}
    assert one["logging"]["options"] == {"path": "/state/logs/nginx.log", "max-size": "7mb"}


def test_runtime_dependencies_stay_out_of_the_file() -> None:
    for one in render()["services"].values():
        assert not {"depends_on", "x-cc03", "build"} & set(one)


@pytest.mark.parametrize(
    ("service", "replaced"),
    [
        pytest.param("keycloak", {"keycloak"}, id="cannot reload: replaced"),
        pytest.param("postgres", set(), id="reloads: kept"),
        pytest.param("nginx", set(), id="reloads: kept too"),
    ],
)
def test_configuration_counts_in_the_hash_only_where_it_cannot_be_reloaded(service: str, replaced: set[str]) -> None:
    assert changed(render(), render(config_hashes={**CONFIG, service: "new"})) == replaced


def test_image_of_a_service_changes_the_hash_of_its_own_slots_only() -> None:
    images = {name: image(name).tag for name in stack().services}

    after = render(images={**images, "backend": "localhost/cc03/backend:2"})
    assert changed(render(), after) == {
        "backend-1", "backend-2", "backend-surge", "backend-migrate", "backend-migrate-check", "backend-migrate-contracting",
    }  # fmt: skip


def test_secret_version_changes_the_hash_of_whoever_mounts_it() -> None:
    after = render(versions={"postgres-superuser": 2, "postgres-app": 1})

    assert changed(render(), after) == {"postgres"}


def test_every_container_names_the_seccomp_profile_and_another_one_replaces_all() -> None:
    before, after = render(seccomp="/state/seccomp/a.json"), render(seccomp="/state/seccomp/b.json")

    assert {one["security_opt"][-1] for one in before["services"].values()} == {"seccomp=/state/seccomp/a.json"}
    assert changed(before, after) == set(hashes(before))
    assert not any("seccomp" in str(one.get("security_opt")) for one in render()["services"].values())


def test_declared_seccomp_profile_is_left_as_it_is() -> None:
    own = stack()
    definition = {**own.services["nginx"].definition, "security_opt": ["seccomp=unconfined"]}
    changed_stack = replace(own, services={**own.services, "nginx": replace(own.services["nginx"], definition=definition)})

    assert render(changed_stack, seccomp="/state/a.json")["services"]["nginx"]["security_opt"] == ["seccomp=unconfined"]


def test_limit_changes_the_hash() -> None:
    own = stack()
    smaller = replace(own.services["nginx"], limits=Limits(128 << 20, 0.5))

    after = render(replace(own, services={**own.services, "nginx": smaller}))
    assert changed(render(), after) == {"nginx", "nginx-surge"}
    assert after["services"]["nginx"]["deploy"]["resources"]["limits"] == {"memory": "134217728", "cpus": "0.5"}


def test_the_same_input_gives_the_same_hashes() -> None:
    assert hashes(render()) == hashes(render())


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest({"a": 1}) != digest({"a": "1"})
    assert len(digest(None)) == 16


def test_migration_is_the_service_itself_with_another_command_and_nothing_that_would_clash() -> None:
    services = render()["services"]
    once, service = services["backend-migrate"], services["backend-1"]

    assert once["command"] == ["migrate"]
    assert once["container_name"] == "cc03-backend-migrate"
    assert {key: once[key] for key in ("image", "secrets", "environment", "volumes", "extra_hosts")}.items() <= service.items()
    assert once["networks"] == {"cc03-app": {}, "cc03-data": {}}, "the address is the replica's"
    assert not {"restart", "healthcheck", "ports"} & set(once)
    assert once["labels"][LABEL_SLOT] == "backend-migrate"
    assert once["logging"]["options"]["path"] == "/state/logs/backend-migrate.log"
    assert [name for name in services if name.endswith("-migrate")] == ["backend-migrate"]


def test_optional_service_without_its_image_is_left_out_and_changes_nobody_else() -> None:
    short = render(without=frozenset({"grafana"}))

    assert "grafana" not in short["services"]
    assert changed(short, render()) == set()


def test_two_projects_share_no_name() -> None:
    first, second = render(), render(stack(project="cc03-test"), state=Path("/other"))

    for kind in ("networks", "volumes", "secrets"):
        assert not set(first[kind]) & set(second[kind])
    names = [{one["container_name"] for one in release["services"].values()} for release in (first, second)]
    assert not names[0] & names[1]


def test_service_that_binds_one_network_is_known_by_it_alone() -> None:
    own = stack()
    bound = replace(own.services["keycloak"], listen_network="data")
    services = render(replace(own, services={**own.services, "keycloak": bound}))["services"]
    where = services["keycloak"]["networks"]["cc03-data"]["ipv4_address"]

    assert services["keycloak"]["environment"]["CC03_LISTEN"] == where
    assert f"keycloak:{where}" in services["keycloak"]["extra_hosts"], "it finds itself there"
    assert f"keycloak:{where}" in services["backend-1"]["extra_hosts"]
    assert not [entry for entry in services["edge"]["extra_hosts"] if entry.startswith("keycloak:")], "they share app alone"
