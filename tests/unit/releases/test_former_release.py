"""A release that was sealed before the keys of compose.yaml had today's names can be read and rolled back to.

former_release.json is what that version wrote of this repository's stack, with three containers of the backend.
"""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from ops.deploy.plan import plan_deploy
from ops.stack.compose import parse_stack
from ops.stack.model import LABEL_HASH, LABEL_SERVICE, Account, Seen, Service
from ops.stack.render import hash_of, one_off
from ops.stack.wanted import FORMER_NAMES, Wanted, pack, unpack, with_versions
from tests.unit import builders

SEALED: dict[str, Any] = json.loads((Path(__file__).parent / "former_release.json").read_text(encoding="utf-8"))
FORMER_FIELDS = {"hands", *FORMER_NAMES}


@pytest.fixture
def former() -> Wanted:
    return unpack(SEALED["stack"], SEALED["compose"], {}, "", 7)


def test_it_is_written_in_the_former_words() -> None:
    assert {key for service in SEALED["stack"]["stack"]["services"].values() for key in service} >= FORMER_FIELDS
    assert not FORMER_FIELDS & {entry.name for entry in fields(Service)}


def test_its_services_say_what_they_said(former: Wanted) -> None:
    services = former.stack.services

    assert services["backend"].credentials == {"postgres-app": Account("pair", "app"), "redis-app": Account("redis", "app")}
    assert services["backend"].logins == {"postgres-app": "CC03_DATABASE_USER"}
    assert services["backend"].login_check == ("/usr/local/bin/logged-in",)
    assert services["backup"].stop_after == ("postgres",)
    assert services["keycloak"].queue_requests == ("hold", "keycloak")
    assert "operator-password" in services["keycloak"].api_secrets
    assert services["prometheus"].listen_network == "monitoring"
    assert services["redis"].reload_certificate == ("/usr/local/bin/reload",)
    assert services["logs"].reload_roots == ("s6-svc", "-h", "/run/s6/proxy")
    assert services["grafana"].roots_at_start
    assert [name for name, one in services.items() if one.stops_requests] == ["postgres", "nginx"]
    assert [name for name, one in services.items() if one.keep] == ["edge"]


def test_each_container_has_the_hash_under_which_it_runs(former: Wanted) -> None:
    for slot, definition in former.compose["services"].items():
        service = former.stack.services[definition["labels"][LABEL_SERVICE]]
        if not one_off(slot):
            assert hash_of(service, "cc03", definition, service.name) == definition["labels"][LABEL_HASH], slot


def test_rotated_secret_names_the_other_account(former: Wanted) -> None:
    found = with_versions(former, {"postgres-app": 2}).compose["services"]["backend-1"]

    assert found["environment"]["CC03_DATABASE_USER"] == "app_2"


def test_sealed_anew_it_is_in_todays_words_and_the_same(former: Wanted) -> None:
    packed = json.loads(json.dumps(pack(former)))

    assert not FORMER_FIELDS & {key for service in packed["stack"]["services"].values() for key in service}
    assert unpack(packed, SEALED["compose"], {}, "", 7) == former


SINCE = {"keycloak-ops-pages"}
"""Credentials that came later than the former release."""


def test_todays_stack_has_no_container_replaced_for_the_names_of_keys(former: Wanted) -> None:
    text = (builders.REPOSITORY / "compose" / "compose.yaml").read_text(encoding="utf-8")
    own = builders.settings("limits: {redis: {memory: 512m}}\nreplicas: {backend: 3}\n")
    today = parse_stack(text, own, builders.PORTS, builders.REPOSITORY, builders.STATE)

    for name, service in today.services.items():
        before = former.stack.services[name]
        credentials = {secret: account for secret, account in service.credentials.items() if secret not in SINCE}
        assert (credentials, service.logins, service.late_secrets) == (
            before.credentials, before.logins, before.late_secrets
        )  # fmt: skip
        assert (service.probe, service.live, service.socket) == (before.probe, before.live, before.socket)
        assert {port: service.listens[port] for port in before.listens} == before.listens
        assert (service.smoke, service.migrate, service.migrates_as, service.keep) == (
            before.smoke, before.migrate, before.migrates_as, before.keep
        )  # fmt: skip


def test_it_can_be_brought_about_on_an_empty_host() -> None:
    names = SEALED["stack"]["stack"]["services"]
    own = {**SEALED["stack"], "certificate_names": {name: ["localhost"] for name in names}}
    former = unpack(own, SEALED["compose"], {name: {"file": name} for name in names}, "", 7)

    assert {f"start {slot}" for slot in former.slots()} <= {step.key for step in plan_deploy(former, Seen()).steps}
