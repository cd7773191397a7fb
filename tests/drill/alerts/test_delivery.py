"""What a person gets: every alert, once, within a minute of the fault, whatever happens to the receivers meanwhile.

Receivers of the test stand on an address of this host: an SMTP server and webhooks. The packet filter between them and
Alertmanager has a drill of its own, test_alerting.py.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ops.alerts.change import EXPLAINED
from ops.core.lock import hold
from tests.drill.alerts.receivers import ARRIVES, LASTING, Receivers, becomes, notifying
from tests.drill.conftest import Record
from tests.drill.stack import INV_SECONDS, Drill, begun

AWAY = 600.0
"""Seconds for which a receiver is away."""
LATE = 40
"""Seconds until the next receiver is called."""
PROMISED = 60.0
"""Seconds from a fault to the message about it."""
STORM = 200
HEARTBEAT = 10
FAULTS = 300.0
WATCHED = ("postgres", "redis", "keycloak", "backend", "frontend", "nginx", "cadvisor", "logs", "backup")
"""Services whose absence Prometheus notices. Its own and Alertmanager's end the heartbeat."""


@pytest.fixture(scope="module")
def receivers(drill: Drill, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receivers]:
    with notifying(drill, tmp_path_factory.mktemp("alerts"), declared) as found:
        yield found


def declared(found: Receivers) -> dict[str, Any]:
    return {
        "receivers": [
            {"name": "mail", "kind": "email", "server": found.mail, "to": ["ops@example.com"], "sender": "cc03@example.com",
             "tls": False},
            {"name": "hook", "kind": "webhook", "server": found.hook},
            {"name": "frail", "kind": "webhook", "server": found.frail_at},
            {"name": "next", "kind": "webhook", "server": found.hook, "severities": ["critical"], "after": f"{LATE}s"},
        ],
        "heartbeat": {"server": found.hook, "every": f"{HEARTBEAT}s"},
    }  # fmt: skip


def test_each_receiver_answers_a_marked_alert_and_one_that_is_away_is_named(receivers: Receivers, record: Record) -> None:
    answer = receivers.inv("alerts.test", "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    outcomes = json.loads(answer.stdout)
    assert {one["receiver"] for one in outcomes if one["delivered"]} == {"mail", "hook", "frail", "next", "heartbeat"}
    assert any("Test of the delivery to mail" in one for one in receivers.mails), receivers.mails
    record("a marked alert through every receiver", max(one["seconds"] for one in outcomes))


def test_alert_that_fires_and_ends_is_told_with_what_to_type(receivers: Receivers) -> None:
    receivers.post("ContainerUnhealthy")
    becomes(lambda: receivers.about("hook", "ContainerUnhealthy", "firing"), "no notice")
    becomes(lambda: any("[CRITICAL] Trial ContainerUnhealthy" in one for one in receivers.mails), "no message")
    said = "".join(receivers.bodies)
    assert "Its value is 7." in said and "Type first: inv status" in said and "/docs/runbooks/ContainerUnhealthy/" in said
    receivers.post("ContainerUnhealthy", ends=0)
    becomes(lambda: receivers.about("hook", "ContainerUnhealthy", "resolved"), "no end")
    becomes(lambda: any("[RESOLVED] Trial ContainerUnhealthy" in one for one in receivers.mails), "no message about its end")


def test_who_is_next_is_called_where_nobody_answers(receivers: Receivers) -> None:
    receivers.post("TrialUnanswered")
    becomes(lambda: receivers.about("hook", "TrialUnanswered", "firing"), "no notice")
    assert not receivers.about("next", "TrialUnanswered", "firing")
    becomes(lambda: receivers.about("next", "TrialUnanswered", "firing"), "not escalated", LATE + ARRIVES)
    receivers.post("TrialUnanswered", ends=0)
    becomes(lambda: receivers.about("next", "TrialUnanswered", "resolved"), "no end")


def test_answered_alert_is_not_escalated(receivers: Receivers) -> None:
    receivers.post("TrialAnswered")
    becomes(lambda: receivers.about("hook", "TrialAnswered", "firing"), "no notice")
    answer = receivers.inv("alerts.silence", "TrialAnswered", "--for", "30m", "--reason", "drill")
    assert answer.returncode == 0 and "covers now: TrialAnswered" in answer.stdout, answer.stdout + answer.stderr
    (row,) = [one for one in json.loads(receivers.inv("alerts", "--json").stdout) if one["alert"] == "TrialAnswered"]
    assert row["silenced_by"][0]["reason"] == "drill"
    time.sleep(LATE + 20)
    assert not receivers.about("next", "TrialAnswered", "firing")
    receivers.post("TrialAnswered", ends=0)
    receivers.inv("alerts.silence", "--expire", row["silenced_by"][0]["id"])


def test_storm_is_a_handful_of_messages(receivers: Receivers, record: Record) -> None:
    mails, notices = len(receivers.mails), len(receivers.of("hook"))
    receivers.post("TrialStorm", severity="warning", number=STORM)
    becomes(lambda: receivers.about("hook", "TrialStorm", "firing"), "no notice")
    time.sleep(45)
    assert sum(len(one[2]["alerts"]) for one in receivers.about("hook", "TrialStorm", "firing")) >= STORM
    sent = max(len(receivers.mails) - mails, len(receivers.of("hook")) - notices)
    receivers.post("TrialStorm", severity="warning", number=STORM, ends=0)
    record(f"messages about {STORM} alerts at once", float(sent))
    assert sent <= 5


def test_heartbeat_ends_with_alertmanager(receivers: Receivers, drill: Drill, record: Record) -> None:
    def calls() -> list[float]:
        return [at for at, path, _ in receivers.notices if path == "/heartbeat"]

    time.sleep(6 * HEARTBEAT)
    steps = [after - before for before, after in zip(calls()[-5:], calls()[-4:], strict=False)]
    assert all(HEARTBEAT - 3 <= step <= HEARTBEAT + 3 for step in steps), steps
    project = drill.project
    with hold(project.state.lock, "drill", patiently=True):
        project.engine.stop("alertmanager", 10)
        stopped = time.time()
        time.sleep(3 * HEARTBEAT)
        assert not [at for at in calls() if at > stopped + 1]
        project.engine.start("alertmanager")
    becomes(lambda: calls()[-1] > stopped + 3 * HEARTBEAT, "it does not come back", 180)
    record("the heartbeat returns after Alertmanager", time.time() - stopped - 3 * HEARTBEAT)


def test_what_a_command_explains_notifies_nobody(receivers: Receivers, drill: Drill) -> None:
    """Keycloak takes longer to start than an alert waits."""
    began = time.time()
    answer = receivers.inv("restart", "keycloak")
    assert answer.returncode == 0, answer.stderr
    listed = receivers.inv("alerts.silence", "--list").stdout
    assert "inv restart is under way" in listed and "keycloak" in listed, listed
    becomes(lambda: "under way" not in receivers.inv("alerts.silence", "--list").stdout, "the silence stays", 180)
    told = [each for one in receivers.of("hook") if one[0] > began for each in one[2]["alerts"] if each["status"] == "firing"]
    assert not [
        each for each in told if each["labels"].get("service") == "keycloak" and each["labels"]["alertname"] in EXPLAINED
    ]


def test_what_a_change_does_not_explain_notifies_while_it_is_under_way(
    receivers: Receivers, drill: Drill, record: Record, tmp_path: Path
) -> None:
    """Keycloak is replaced, which takes longer than an alert waits; Redis fails meanwhile, and nobody mends it."""
    slow = "\nlimits: {keycloak: {cpus: 0.3}}\nalerts:"
    receivers.clone.edit("config/stack.yaml", "\nalerts:", slow)
    began = time.time()
    with begun("deploy", "--yes", log=tmp_path / "deploy.log", root=receivers.clone.root) as deploy:
        becomes(lambda: "inv deploy is under way" in receivers.inv("alerts.silence", "--list").stdout, "not announced")
        drill.project.engine.stop("redis", 5)
        failed = time.time()
        becomes(lambda: receivers.since("hook", failed, "DependencyDown", "redis"), "nobody is told of redis", FAULTS)
        told = receivers.since("hook", failed, "DependencyDown", "redis")[0]
        running = deploy.poll() is None
        drill.project.engine.start("redis")
        assert deploy.wait(INV_SECONDS) == 0, (tmp_path / "deploy.log").read_text()
    record("redis fails during a deploy of keycloak", told - failed, PROMISED, "the deploy was under way" if running else "")
    window = int(time.time() - began)
    fired = receivers.live.query(f'max_over_time(ALERTS{{service="keycloak",alertstate="firing"}}[{window}s])')
    assert fired, "nothing fired about keycloak: it shows nothing that nobody was told"
    assert not [name for name in EXPLAINED if receivers.since("hook", began, name, "keycloak")]
    receivers.clone.edit("config/stack.yaml", slow, "\nalerts:")
    receivers.clone.deploy()


@pytest.fixture(scope="module")
def away(receivers: Receivers) -> float:
    """One receiver is away from here on; since when. The faults of services fall into that time."""
    receivers.frail.close()
    receivers.post("TrialMissed", ends=AWAY + 3600)
    becomes(lambda: receivers.about("hook", "TrialMissed", "firing"), "no notice")
    return time.time()


@pytest.mark.usefixtures("away")
@pytest.mark.parametrize("service", WATCHED)
def test_message_about_a_service_that_is_down_leaves_within_a_minute(
    receivers: Receivers, drill: Drill, record: Record, service: str
) -> None:
    project = drill.project
    slots = drill.slots(service)
    # The supervisor mends nothing while an operation has the lock.
    with hold(project.state.lock, "drill", patiently=True):
        for slot in slots:
            project.engine.stop(slot, 5)
        began = time.time()

        def told() -> list[tuple[float, str]]:
            return [
                (at, each["labels"]["alertname"]) for at, _, body in receivers.of("hook") for each in body["alerts"]
                if each["status"] == "firing" and one_of(each["labels"], service)
                and datetime.fromisoformat(each["startsAt"]).timestamp() > began
            ]  # fmt: skip

        becomes(told, f"nothing about {service}", FAULTS)
        first = told()[0][0]
        seconds, names = first - began, {name for at, name in told() if at == first}
        record(f"{service} is down: told by {', '.join(sorted(names))}", seconds, PROMISED)
        for slot in slots:
            project.engine.start(slot)
    drill.await_healthy()
    becomes(lambda: not open_of(receivers, service), "it does not resolve", FAULTS)
    assert seconds <= 2 * PROMISED


def test_receiver_that_was_away_gets_what_it_missed_once(receivers: Receivers, away: float, record: Record) -> None:
    time.sleep(max(0.0, away + AWAY - time.time()))
    assert not receivers.about("frail", "TrialMissed", "firing")
    assert "NotificationsFail" in receivers.inv("alerts").stdout
    receivers.open_frail()
    back = time.time()
    becomes(lambda: receivers.about("frail", "TrialMissed", "firing"), "not delivered afterwards", 120)
    record(f"delivery after {back - away:.0f} s without the receiver", time.time() - back)
    time.sleep(75)
    assert len(receivers.about("frail", "TrialMissed", "firing")) == 1
    receivers.post("TrialMissed", ends=0)


def one_of(labels: dict[str, str], service: str) -> bool:
    """Whether an alert is about a service that is away: the page is what users see of the frontend."""
    if labels["alertname"] in LASTING:
        return False
    return labels.get("service") == service or (service == "frontend" and labels["alertname"] == "SiteDown")


def open_of(receivers: Receivers, service: str) -> list[str]:
    rows = json.loads(receivers.inv("alerts", "--json").stdout)
    return [row["alert"] for row in rows if one_of({**row["labels"]}, service)]
