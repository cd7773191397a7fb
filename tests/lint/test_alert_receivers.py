"""Alertmanager's own tool judges what settings make of its configuration: is it accepted, who gets what, what messages say."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
import yaml

from ops.stack.alert_receivers import alertmanager_files
from ops.stack.settings import parse_settings

from .deployed import CONFIG, Answer, Deployed, Question

TEAM = {"name": "team", "kind": "email", "server": "mail.example.com:587", "to": ["a@example.com"], "sender": "b@example.com"}
CHAT = {"name": "chat", "kind": "slack", "server": "hooks.slack.com:443", "services": ["postgres", "host"]}
ROOM = {"name": "room", "kind": "teams", "server": "teams.example.com:443", "severities": ["warning"]}
BOSS = {"name": "boss", "kind": "webhook", "server": "192.0.2.7:8443", "severities": ["critical"], "after": "15m"}
PEM = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"
CASES: Mapping[str, dict[str, object]] = {
    "none": {},
    "one": {"receivers": [TEAM]},
    "everything": {
        "receivers": [{**TEAM, "user": "cc03", "ca": PEM}, {**CHAT, "ca": PEM}, ROOM, BOSS],
        "heartbeat": {"server": "hc.example.com:443", "every": "30s"}, "group": {"by": ["service"]},
        "quiet_hours": {"begin": "22:00", "end": "06:00", "timezone": "Europe/Berlin", "weekends": True},
    },
    "by day": {"receivers": [TEAM], "quiet_hours": {"begin": "00:00", "end": "06:00"}},
    "weekends": {"receivers": [TEAM], "quiet_hours": {"begin": "00:00", "end": "00:00", "weekends": True}},
}  # fmt: skip
ROUTES = {
    "alertname=Watchdog severity=none service=prometheus": "watchdog",
    "alertname=TargetDown severity=critical service=redis": "team,boss,operator",
    "alertname=TargetDown severity=critical service=postgres": "team,chat,boss,operator",
    "alertname=DiskFullSoon severity=warning service=host": "team,chat,room",
    "alertname=DeliveryTest severity=none receiver=boss": "boss",
}
ALERT = {
    "status": "firing", "labels": {"alertname": "ContainerUnhealthy", "severity": "critical", "service": "<b>"},
    "annotations": {"summary": "The shop is <down>", "description": "For 2 minutes."},
    "startsAt": "2026-01-31T12:00:00Z", "endsAt": "2026-01-31T13:00:00Z",
}  # fmt: skip
STORM = 200


def data(status: str, number: int) -> str:
    alerts = [{**ALERT, "status": status} for _ in range(number)]
    return json.dumps({"status": status, "alerts": alerts, "commonLabels": {}, "commonAnnotations": {}, "groupLabels": {}})


def rendered(name: str, kind: str) -> list[str]:
    argv = [
        "amtool",
        "template",
        "render",
        f"--template.glob={CONFIG}/templates/*.tmpl",
        f"--template.data={CONFIG}/{name}.json",
    ]
    return [
        *argv,
        f"--template.type={kind}",
        f'--template.text={{{{ template "cc03.{"html" if kind == "html" else kind}" . }}}}',
    ]


@pytest.fixture(scope="module")
def answers(deployed: Deployed) -> dict[str, Answer]:
    base = deployed.config("alertmanager")
    questions = {}
    for name, case in CASES.items():
        settings = parse_settings(yaml.safe_dump({"alerts": case}), deployed.project.settings.source)
        files = alertmanager_files(base, settings.alerts)
        questions[name] = Question(["amtool", "check-config", f"{CONFIG}/alertmanager.yml"], files)
        if name == "everything":
            route = ["amtool", "config", "routes", "test", f"--config.file={CONFIG}/alertmanager.yml"]
            questions |= {labels: Question([*route, *labels.split()], files) for labels in ROUTES}
    files = {**base, "one.json": data("firing", 1), "ended.json": data("resolved", 1), "storm.json": data("firing", STORM)}
    for name in ("one", "ended", "storm"):
        for kind in ("text", "html", "teams", "title"):
            argv = rendered(name, "text" if kind != "html" else kind)
            questions[f"{kind} of {name}"] = Question([one.replace("cc03.text", f"cc03.{kind}") for one in argv], files)
    return dict(zip(questions, deployed.ask("alertmanager", list(questions.values())), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_configuration_of_settings_is_accepted(answers: dict[str, Answer], case: str) -> None:
    assert answers[case].returncode == 0, str(answers[case])


@pytest.mark.parametrize("labels", ROUTES)
def test_alert_reaches_who_wants_it(answers: dict[str, Answer], labels: str) -> None:
    assert answers[labels].output.splitlines()[-1] == ROUTES[labels], str(answers[labels])


@pytest.mark.parametrize("kind", ["text", "html", "teams"])
def test_message_says_what_users_notice_and_what_to_type(answers: dict[str, Answer], kind: str) -> None:
    said = answers[f"{kind} of one"].output
    summary = "The shop is &lt;down&gt;" if kind == "html" else "The shop is <down>"
    for part in (summary, "For 2 minutes.", "inv status", "/docs/runbooks/ContainerUnhealthy/", "2026-01-31 12:00:00 UTC"):
        assert part in said, said
    assert kind != "html" or "<b>:" not in said


def test_title_is_one_line(answers: dict[str, Answer], deployed: Deployed) -> None:
    project = deployed.project.name
    titles = {name: answers[f"title of {name}"].output.rstrip("\n") for name in ("one", "ended", "storm")}
    assert titles == {
        "one": f"[CRITICAL] The shop is <down> - {project}", "ended": f"[RESOLVED] The shop is <down> - {project}",
        "storm": f"[CRITICAL] The shop is <down> (of {STORM} alerts) - {project}",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["text", "html", "teams"])
def test_message_about_a_storm_is_short(answers: dict[str, Answer], kind: str) -> None:
    said = answers[f"{kind} of storm"].output
    assert said.count("Type first") == 10
    assert f"All {STORM} alerts" in said
