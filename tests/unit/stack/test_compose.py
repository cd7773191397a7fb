"""compose.yaml and mounted configuration: placeholders, repeated lines, and what plans decide by."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ops.core.errors import UsageProblem
from ops.stack.compose import fill, fill_config, parse_stack, placeholders
from ops.stack.model import Limits
from tests.unit.builders import COMPOSE, PORTS, REPOSITORY, STATE, settings, stack

VALUES = {"CC03_DOMAIN": "shop.example.com", "CC03_HTTP_PORT": "80"}
SLOTS = {"backend": ("backend-1", "backend-2"), "nginx": ("nginx",)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("server_name ${CC03_DOMAIN};", "server_name shop.example.com;"),
        ("${CC03_HTTP_PORT:-8080}:80", "80:80"),
        ("${CC03_OTHER:-fallback}", "fallback"),
        ("${CC03_OTHER:-}", ""),
        ("$host ${PGDATA} $CC03_DOMAIN $${x}", "$host ${PGDATA} $CC03_DOMAIN $${x}"),
    ],
)
def test_fill(text: str, expected: str) -> None:
    assert fill(text, VALUES, "a file") == expected


def test_fill_refuses_a_name_that_does_not_exist_and_says_where_it_stands() -> None:
    with pytest.raises(UsageProblem, match=r"config/nginx/x\.conf uses \$\{CC03_DOMIAN\}") as caught:
        fill("${CC03_DOMIAN}", VALUES, "config/nginx/x.conf")
    assert "CC03_DOMAIN" in caught.value.why


def test_line_of_a_slot_is_repeated_for_every_container_of_the_service() -> None:
    text = "upstream {\n  server ${CC03_SLOT_BACKEND}:8000;\n}\nserver_name ${CC03_DOMAIN};"

    assert fill_config(text, VALUES, SLOTS, "a file") == (
        "upstream {\n  server backend-1:8000;\n  server backend-2:8000;\n}\nserver_name shop.example.com;"
    )


def test_slot_that_stands_twice_in_a_line_is_filled_twice() -> None:
    assert fill_config("${CC03_SLOT_NGINX} ${CC03_SLOT_NGINX}\n", VALUES, SLOTS, "a file") == "nginx nginx\n"


def test_slot_of_a_service_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UsageProblem, match="CC03_SLOT_BAKEND"):
        fill_config("${CC03_SLOT_BAKEND}", VALUES, SLOTS, "a file")


@pytest.mark.parametrize(("port", "public"), [(443, "https://shop.example.com"), (8443, "https://shop.example.com:8443")])
def test_public_url_names_the_port_only_where_it_is_not_the_default(port: int, public: str) -> None:
    found = placeholders(settings("domain: shop.example.com"), {**PORTS, "https": port})

    assert found["CC03_PUBLIC_URL"] == public
    assert found["CC03_OPS_URL"] == "https://localhost:9443"


@pytest.mark.parametrize(("public", "url"), [("true", "https://shop.example.com/ops"), ("false", "https://localhost:9443")])
def test_pages_are_under_the_public_name_or_on_loopback(public: str, url: str) -> None:
    found = placeholders(settings(f"{{domain: shop.example.com, pages: {{public: {public}}}}}"), {**PORTS, "https": 443})

    assert found["CC03_PAGES_URL"] == url


def test_nginx_believes_the_declared_load_balancers_only() -> None:
    found = placeholders(settings("load_balancer: {addresses: [192.0.2.7, 198.51.100.0/24]}"), PORTS)

    assert found["CC03_LOAD_BALANCERS"] == "set_real_ip_from 192.0.2.7; set_real_ip_from 198.51.100.0/24;"
    assert placeholders(settings(""), PORTS)["CC03_LOAD_BALANCERS"] == ""


def test_stack_is_read_with_all_that_plans_decide_by() -> None:
    found = stack()
    postgres, keycloak, backend, edge, nginx, grafana = found.services.values()

    assert found.networks == {"web": False, "app": True, "data": True}
    assert (found.volumes, found.secrets) == (("postgres-data",), ("postgres-superuser", "postgres-app"))
    assert (postgres.reload, postgres.check, postgres.owner) == (("/reload", "now"), ("/check",), 60705)
    assert (postgres.volumes, postgres.has_config, postgres.has_tls) == (("postgres-data",), True, True)
    assert (keycloak.reload, keycloak.needs, keycloak.start_seconds) == (None, ("postgres",), 600)
    assert (backend.slots(), backend.migrate, backend.has_config) == (("backend-1", "backend-2"), ("migrate",), False)
    assert backend.definition["environment"]["ISSUER"] == "https://localhost/auth"
    assert nginx.limits == Limits(256 << 20, 0.5)
    assert (nginx.shares, nginx.holds, nginx.networks, nginx.socket) == ("edge", None, ("web", "app"), "/run/probe.sock")
    assert (edge.shares, edge.holds, edge.networks, edge.keep) == (None, "nginx", ("web", "app"), True)
    assert (grafana.optional, grafana.build) == ("no registry answers", None)


def test_only_who_shares_a_network_or_is_replicated_has_an_extra_container_and_only_who_has_an_address_is_named() -> None:
    own = stack().services

    assert {name: one.reserved_slots()[-1] for name, one in own.items()} == {
        "postgres": "postgres", "keycloak": "keycloak", "backend": "backend-surge", "edge": "edge", "nginx": "nginx-surge",
        "grafana": "grafana",
    }  # fmt: skip
    assert (own["edge"].addresses(), own["nginx"].addresses()) == ((), ("nginx",))
    assert {own[name].address_name(slot) for name in ("edge", "nginx") for slot in own[name].reserved_slots()} == {"nginx"}


def test_what_cannot_be_changed_without_the_other_is_changed_together() -> None:
    assert {name: stack().together(name) for name in ("edge", "nginx", "backend")} == {
        "edge": ("edge", "nginx"), "nginx": ("edge", "nginx"), "backend": ("backend",),
    }  # fmt: skip


def test_slot_leads_to_its_service() -> None:
    assert stack().service_of("backend-2").name == "backend"
    with pytest.raises(KeyError):
        stack().service_of("backend-3")


def test_settings_override_limits_replicas_and_deadlines() -> None:
    found = stack("limits: {keycloak: {memory: 3g, cpus: 2}}\nreplicas: {backend: 3}\ndeadlines: {start: {backend: 30}}")

    assert found.services["keycloak"].limits == Limits(3 << 30, 2.0)
    assert found.services["backend"].slots() == ("backend-1", "backend-2", "backend-3")
    assert found.services["backend"].start_seconds == 30


def test_one_replica_is_still_numbered_so_that_a_second_renames_nothing() -> None:
    assert stack("replicas: {backend: 1}").services["backend"].slots() == ("backend-1",)


def test_build_context_without_a_containerfile_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match=r"build\.backend") as caught:
        parse_stack(COMPOSE, settings("build: {backend: ../product}"), PORTS, tmp_path, STATE)
    assert "no Containerfile" in caught.value.why


def test_build_context_of_the_settings_may_be_anywhere(tmp_path: Path) -> None:
    (tmp_path / "Containerfile").write_text("FROM scratch\n")

    found = parse_stack(COMPOSE, settings(f"build: {{backend: {tmp_path}}}"), PORTS, REPOSITORY, STATE)

    assert found.services["backend"].build == tmp_path
    assert found.services["nginx"].build == REPOSITORY / "compose" / "nginx"


TARGETS = sorted((REPOSITORY / "config" / "prometheus" / "targets").glob("*.yml"))


@pytest.mark.parametrize("path", TARGETS, ids=lambda path: path.name)
def test_targets_of_a_service_that_is_left_out_are_an_empty_group(path: Path) -> None:
    """Without any group Prometheus 2.53 is told nothing, and goes on with the old targets until it is started again."""
    groups = yaml.safe_load(fill_config(path.read_text(), {}, {"backend": (), "grafana": ()}, path.name))

    assert len(groups) == 1
    assert not groups[0]["targets"]


# How long metrics and logs are kept.


def test_sizes_are_filled_in_as_bytes() -> None:
    values = placeholders(settings("retention: {metrics_size: 2g, logs_size: 1t}"), PORTS)

    assert (values["CC03_METRICS_BYTES"], values["CC03_LOGS_BYTES"]) == (str(2 << 30), str(1 << 40))


def test_default_sizes_are_those_of_earlier_releases() -> None:
    values = placeholders(settings(""), PORTS)

    assert (values["CC03_METRICS_BYTES"], values["CC03_LOGS_BYTES"]) == (str(4 << 30), str(5 << 30))


@pytest.mark.parametrize(("age", "days"), [("14d", "14"), ("8w", "56"), ("1y", "365")])
def test_age_of_logs_is_filled_in_as_days(age: str, days: str) -> None:
    assert placeholders(settings(f"retention: {{logs: {age}}}"), PORTS)["CC03_LOGS_DAYS"] == days


@pytest.mark.parametrize(("percent", "line"), [(0, "# 0% 01;"), (10, "10% 01;"), (100, "100% 01;")])
def test_share_of_traced_requests_in_the_words_of_nginx(percent: int, line: str) -> None:
    text = (REPOSITORY / "config/nginx/tracing.conf").read_text()
    written = next(one.strip() for one in text.splitlines() if "TRACES_PERCENT" in one)
    assert fill(written, placeholders(settings(f"traces: {{sample: {percent}}}"), PORTS), "tracing.conf") == line
