"""What a change explains, and for how long."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ops.alerts import change
from ops.alerts.change import LASTS, Announcement, explained, services_of
from ops.core.plan import Described, Plan
from ops.deploy.steps import CreateContainers, RemoveContainer, RestartContainer
from ops.monitoring.api import Alert, Monitoring
from tests.unit.builders import REPOSITORY, wanted
from tests.unit.monitoring.recorded import BASE, Recorded


def firing(name: str, service: str) -> Alert:
    return Alert(name, {"service": service}, {}, "active", 0.0, (), (), (), "")


def test_services_are_those_whose_containers_are_touched() -> None:
    stack = wanted().stack
    plan = Plan("deploy", (
        RemoveContainer("a", "a", slot="backend-1"), RestartContainer("b", "b", slot="postgres"),
        CreateContainers("c", "c", slots=("keycloak",)), Described("d", "d"),
    ))  # fmt: skip
    assert services_of(plan, stack) == ("backend", "postgres")
    assert services_of(Plan("certs.rotate", ()), stack) == ()


def test_replacement_explains_that_a_service_is_away_and_not_that_users_notice() -> None:
    ((names, services),) = explained("deploy", ("backend", "redis"), ()).items()
    assert services == ["backend", "redis"]
    assert "TargetDown" in names and not {"SiteDown", "ErrorRatioHigh", "ContainerRestarting"} & set(names)
    assert "SiteDown" in next(iter(explained("restore", ("backend",), ())))


def test_what_fires_before_stays_loud() -> None:
    found = explained("deploy", ("backend", "redis"), (firing("TargetDown", "redis"),))
    (loud,) = [names for names, services in found.items() if services == ["redis"]]
    (other,) = [names for names, services in found.items() if services == ["backend"]]
    assert set(other) - set(loud) == {"TargetDown"}


def test_explained_alerts_exist() -> None:
    rules = "".join(path.read_text() for path in (REPOSITORY / "config" / "prometheus" / "alerts").glob("*.yml"))
    assert {*change.EXPLAINED, *change.OUTAGE} <= set(re.findall(r"alert: (\w+)", rules))


def test_silence_is_extended_under_its_id_and_ends_soon_after_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_000_000.0]
    monkeypatch.setattr("time.time", lambda: clock[0])
    posted: list[dict[str, Any]] = []

    def answer(request: Any) -> tuple[int, Any]:
        if request.method == "GET":
            return 200, []
        posted.append(json.loads(request.body))
        return 200, {"silenceID": "one"}

    monitoring = Monitoring(BASE, Path("/ca.pem"))
    monitoring.session.mount("https://", Recorded(answer))
    announced = Announcement(monitoring, "deploy", ("redis",))
    announced.begin()
    clock[0] += 100
    announced.end()

    first, last = posted
    assert ("id" in first, last["id"]) == (False, "one")
    assert first["comment"] == "inv deploy is under way" and first["startsAt"] == last["startsAt"]
    assert (first["endsAt"], last["endsAt"]) == ("1970-01-12T13:49:40.000Z", "1970-01-12T13:49:50.000Z")
    assert LASTS <= 300, "a killed command mutes for no longer"
