"""Receivers of stack.yaml: what they add to Alertmanager's configuration, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ops.core.errors import UsageProblem
from ops.secrets.table import target_named
from ops.stack.alert_receivers import alertmanager_files, check_credential, commands_template
from ops.stack.applied_settings import ALERTING
from ops.stack.compose import parse_stack
from ops.stack.yaml_model import load_yaml
from tests.unit.builders import PORTS, REPOSITORY, STATE, settings

BASE = (REPOSITORY / "config" / "alertmanager" / "alertmanager.yml").read_text()
TEAM = '{name: team, kind: email, server: "mail.example.com:587", to: [a@example.com, b@example.com], sender: c@example.com}'
CHAT = '{name: chat, kind: slack, server: "hooks.slack.com:443", severities: [critical], services: [postgres, host]}'
BOSS = '{name: boss, kind: webhook, server: "192.0.2.7:8443", severities: [critical], after: 15m}'


def alerts(*receivers: str, more: str = "") -> str:
    return f"alerts: {{receivers: [{', '.join(receivers)}]{more}}}"


def config(text: str) -> dict[str, Any]:
    files = alertmanager_files({"alertmanager.yml": BASE}, settings(text).alerts)
    found: dict[str, Any] = load_yaml(files["alertmanager.yml"])
    return found


def routes(text: str, receiver: str) -> list[dict[str, Any]]:
    return [one for one in config(text)["route"]["routes"] if one["receiver"] == receiver and one.get("continue")]


def test_configuration_is_as_it_is_written_where_no_receiver_is_declared() -> None:
    assert alertmanager_files({"alertmanager.yml": BASE}, settings("").alerts) == {"alertmanager.yml": BASE}


def test_receiver_gets_the_severities_and_services_that_it_wants() -> None:
    text = alerts(TEAM, CHAT)
    assert [one["matchers"] for one in routes(text, "team")] == [['severity = "critical"'], ['severity = "warning"']]
    assert [one["matchers"] for one in routes(text, "chat")] == [['severity = "critical"', 'service =~ "postgres|host"']]


def test_own_routes_and_receivers_stay_behind_those_of_the_settings() -> None:
    base = load_yaml(BASE)
    found = config(alerts(TEAM))
    assert found["route"]["routes"][-len(base["route"]["routes"]) :] == base["route"]["routes"]
    assert [one["name"] for one in found["receivers"]] == [*(one["name"] for one in base["receivers"]), "team"]
    assert found["inhibit_rules"] == base["inhibit_rules"]


def test_who_is_called_next_waits_and_each_alert_has_a_clock_of_its_own() -> None:
    (route,) = routes(alerts(TEAM, BOSS), "boss")
    assert (route["group_wait"], route["group_by"]) == ("15m", ["alertname", "service"])
    assert {one["group_wait"] for one in routes(alerts(TEAM, BOSS), "team")} == {"10s"}


def test_warnings_wait_in_quiet_hours_and_critical_alerts_do_not() -> None:
    text = alerts(TEAM, more=', quiet_hours: {begin: "21:30", end: "07:00", timezone: Europe/Berlin, weekends: true}')
    muted = {one["matchers"][0]: one.get("mute_time_intervals", []) for one in routes(text, "team")}
    assert muted == {'severity = "critical"': [], 'severity = "warning"': ["quiet-hours"]}
    night, weekend = config(text)["time_intervals"][0]["time_intervals"]
    assert night["times"] == [
        {"start_time": "21:30", "end_time": "24:00"}, {"start_time": "00:00", "end_time": "07:00"},
    ]  # fmt: skip
    assert weekend == {"weekdays": ["saturday", "sunday"], "location": "Europe/Berlin"}


def test_heartbeat_goes_out_at_its_pace() -> None:
    found = config('alerts: {heartbeat: {server: "hc.example.com:443", every: 2m}}')
    (watchdog,) = [one for one in found["receivers"] if one["name"] == "watchdog"]
    (route,) = [one for one in found["route"]["routes"] if one["receiver"] == "watchdog"]
    assert watchdog["webhook_configs"] == [{"url_file": "/run/secrets/alert-heartbeat", "send_resolved": False}]
    assert (route["group_interval"], route["repeat_interval"]) == ("2m", "1s")


def test_servers_are_the_only_way_out_and_credentials_are_secrets() -> None:
    text = alerts(TEAM, CHAT, more=', heartbeat: {server: "hc.example.com:443"}, destinations: ["old.example.com:25"]')
    stack = parse_stack((REPOSITORY / "compose" / "compose.yaml").read_text(), settings(text), PORTS, REPOSITORY, STATE)
    assert stack.destinations == ("old.example.com:25", "mail.example.com:587", "hooks.slack.com:443", "hc.example.com:443")
    assert ALERTING in stack.services["alertmanager"].networks
    assert stack.services["alertmanager"].secrets == ("alert-chat", "alert-heartbeat")
    assert target_named("alert-chat").command == "inv alerts.credentials chat FILE, then inv deploy"


def test_release_keeps_what_was_declared() -> None:
    """As JSON, without what is only a default."""
    given = json.loads(json.dumps(settings(alerts(CHAT, more=", group: {by: [service]}")).given()))
    assert given == {
        "alerts.group.by": ["service"],
        "alerts.receivers": [{
            "name": "chat", "kind": "slack", "server": "hooks.slack.com:443", "severities": ["critical"],
            "services": ["postgres", "host"],
        }],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        (TEAM.replace("to: [a@example.com, b@example.com], ", ""), "email takes"),
        (CHAT.replace("slack", "email"), "email takes"),
        (CHAT.replace("chat", "watchdog"), "other than operator"),
        (CHAT.replace("postgres", "postgress"), "postgres"),
        (CHAT.replace("critical", "high"), "critical"),
        (CHAT.replace("hooks.slack.com:443", "https://hooks.slack.com"), "server"),
        (f"{CHAT}, {CHAT}", "names that differ"),
    ],
)
def test_what_cannot_be_meant_is_refused(said: str, complaint: str) -> None:
    with pytest.raises(UsageProblem) as problem:
        settings(alerts(said))
    assert complaint in f"{problem.value} {problem.value.why}"


def test_unknown_time_zone_is_refused() -> None:
    with pytest.raises(UsageProblem, match="timezone"):
        settings(alerts(TEAM, more=", quiet_hours: {timezone: Berlin}"))


def test_url_leads_to_the_declared_server() -> None:
    url = "https://hooks.slack.com/services/T/B/X"
    assert check_credential(f" {url}\n", "hooks.slack.com:443", is_url=True) == f"{url}\n"
    for text, server in (
        (url, "hooks.example.com:443"),
        (url, "hooks.slack.com:8443"),
        ("hooks.slack.com", "x:1"),
        ("", "x:1"),
    ):
        with pytest.raises(UsageProblem):
            check_credential(text, server, is_url=True)


def test_first_command_of_a_runbook_takes_the_labels_of_the_alert() -> None:
    page = "# Slow\n\n```sh\nexport CONTAINERS_CONF=/x\ninv logs SERVICE --since 10m    # why\ninv status\n```\n"
    assert commands_template({"runbooks/Slow.md": page, "runbooks/None.md": "no command"}) == (
        '{{ define "cc03.command" }}{{- if eq .Labels.alertname "Slow" }}'
        "{{ `inv logs ` }}{{ .Labels.service }}{{ ` --since 10m` }}{{ else }}\n{{- `inv status` }}{{ end }}{{ end }}\n"
    )
