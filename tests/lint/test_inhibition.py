"""Which alerts mute which, asked of Alertmanager itself in the image that is deployed.

Every part of every inhibition is shown to matter: the rule is taken out, and each of its conditions, and a case must notice.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import yaml

from .deployed import CONFIG, Deployed, Question
from .test_alerts import FOLDER, RULES, TESTS

Labels = Mapping[str, str]


def alert(name: str, /, **labels: str) -> Labels:
    """An alert of the checkout with its own labels, and those that the series behind it brings."""
    own = next((rule.get("labels") or {} for rule in RULES if rule["alert"] == name), None)
    assert own is not None, f"there is no alert {name}"
    return {"alertname": name, **labels, **own}


def unhealthy(service: str, slot: str = "") -> Labels:
    return alert("ContainerUnhealthy", service=service, replica=slot or service, name=f"cc03-{slot or service}")


def site(probe: str) -> Labels:
    return alert("SiteDown", probe=probe, service={"page": "nginx", "login": "keycloak", "api": "backend"}[probe])


def lacks(dependency: str) -> Labels:
    return alert("BackendDependencyDown", service="backend", dependency=dependency)


@dataclass(frozen=True)
class Case:
    """While `source` fires: which other alerts reach nobody, and which do all the same."""

    name: str
    source: Labels
    muted: Sequence[Labels] = ()
    delivered: Sequence[Labels] = ()


CASES = (
    Case("critical and warning of one service", unhealthy("backend", "backend-1"),
         muted=[alert("ContainerMemoryHigh", service="backend", name="cc03-backend-2")],
         delivered=[alert("ContainerMemoryHigh", service="redis", name="cc03-redis"),
                    alert("ErrorRatioHigh", service="backend")]),
    Case("a warning mutes none", alert("DrillStale"), delivered=[alert("BackupIncomplete"), alert("BackupKeyNotEscrowed")]),
    Case("nor does the watchdog", alert("Watchdog"), delivered=[alert("ConfigurationNotLoaded", service="prometheus")]),
    Case("alerts of the host", alert("HealthTickerStopped"),
         delivered=[alert("OutOfMemoryKill"), alert("DiskFullSoon", device="/dev/vda"), alert("LockHeld")]),
    Case("no service", {"alertname": "One", "severity": "critical"}, delivered=[{"alertname": "Other", "severity": "warning"}]),
    Case("full disk", alert("DiskAlmostFull", device="/dev/vda"),
         muted=[alert("DiskFullSoon", device="/dev/vda")],
         delivered=[alert("DiskFullSoon", device="/dev/vdb"), site("page"), alert("WalArchivingFails"),
               unhealthy("postgres"), alert("HealthTickerStopped"), alert("ContainerMemoryHigh", service="redis")]),
    Case("memory of the host", alert("HostMemoryLow"),
         delivered=[site("login"), site("api"), alert("OutOfMemoryKill"), unhealthy("keycloak"), alert("WalPending")]),
    Case("postgres by its exporter", alert("DependencyDown", service="postgres", job="postgres"),
         muted=[lacks("postgres"), unhealthy("backend", "backend-1"), unhealthy("keycloak")],
         delivered=[lacks("redis"), unhealthy("nginx"), site("api"), site("login"), alert("ErrorRatioHigh", service="backend"),
               alert("CertificateExpiresVerySoon", service="keycloak"), {"alertname": "Other", "dependency": "postgres"}]),
    Case("postgres by its health check", unhealthy("postgres"), muted=[lacks("postgres"), unhealthy("backend", "backend-1")]),
    Case("another alert of postgres", alert("WalPending"), delivered=[lacks("postgres"), unhealthy("keycloak")]),
    Case("redis by its exporter", alert("DependencyDown", service="redis", job="redis"),
         muted=[lacks("redis")],
         delivered=[lacks("postgres"), unhealthy("backend", "backend-1"), {"alertname": "Other", "dependency": "redis"}]),
    Case("redis by its health check", unhealthy("redis"), muted=[lacks("redis")], delivered=[lacks("postgres")]),
    Case("another alert of redis", alert("TargetDown", service="redis", job="redis"), delivered=[lacks("redis")]),
    Case("the site", site("page"),
         muted=[site("login"), site("api")],
         delivered=[alert("DependencyDown", service="nginx", job="nginx"), unhealthy("keycloak"),
               {"alertname": "Other", "probe": "api"}]),
    Case("one probe of the site", site("login"), delivered=[site("api")]),
    Case("another alert with that label", {"alertname": "Other", "probe": "page"}, delivered=[site("login"), site("api")]),
)  # fmt: skip

ALWAYS_DELIVERED = {rule["alert"] for rule in RULES if rule["labels"]["severity"] == "critical"} - {
    "ContainerUnhealthy", "BackendDependencyDown", "SiteDown",
}  # fmt: skip
"""Critical alerts that no other one mutes. Of the three that are left out, some are the consequence of another alert."""

ASK = f"""
prometheus-alertmanager --config.file={CONFIG}/alertmanager.yml --storage.path=/tmp/alertmanager --cluster.listen-address= \
  --web.listen-address=127.0.0.1:9093 2>/tmp/log &
api=http://127.0.0.1:9093/api/v2
for _ in $(seq 100); do curl -fs -o /dev/null $api/status && break; sleep 0.1; done
curl -fsS -o /dev/null -H 'Content-Type: application/json' --data @{CONFIG}/alerts.json $api/alerts || cat /tmp/log
sleep 0.2
curl -fsS $api/alerts
kill $!; wait $!; rm -r /tmp/alertmanager
"""
"""What becomes of alerts that all fire at once. Whether one is muted is decided anew for each answer."""


def question(config: Mapping[str, Any], alerts: Sequence[Labels]) -> Question:
    files = {"alertmanager.yml": yaml.safe_dump(config), "alerts.json": json.dumps([{"labels": dict(one)} for one in alerts])}
    return Question(["bash", "-c", ASK], files)


def muted(output: str) -> set[frozenset[tuple[str, str]]]:
    """Labels of the alerts that Alertmanager says are inhibited."""
    try:
        found = json.loads(output)
    except ValueError:
        pytest.fail(output, pytrace=False)
    return {frozenset(one["labels"].items()) for one in found if one["status"]["inhibitedBy"]}


def apart(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same, but alerts of different cases have nothing to do with each other: all can be asked about at once."""
    fresh = copy.deepcopy(dict(config))
    for rule in fresh["inhibit_rules"]:
        rule["equal"] = [*rule.get("equal", ()), "case"]
    return fresh


def all_cases() -> list[Labels]:
    return [{**one, "case": case.name} for case in CASES for one in (case.source, *case.muted, *case.delivered)]


def wrong(output: str) -> list[str]:
    """What differs from the cases."""
    found = muted(output)
    return [
        f"{case.name}: {dict(one)} is {'delivered' if expected else 'muted'}"
        for case in CASES
        for one, expected in (*((one, True) for one in case.muted), *((one, False) for one in (case.source, *case.delivered)))
        if (frozenset({**one, "case": case.name}.items()) in found) != expected
    ]


def mutants(config: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The configuration without each inhibition, and without each condition of one."""
    for at, rule in enumerate(config["inhibit_rules"]):
        fresh = copy.deepcopy(dict(config))
        del fresh["inhibit_rules"][at]
        yield f"without inhibition {at + 1}", fresh
        for key in ("source_matchers", "target_matchers", "equal"):
            conditions = rule.get(key, [])
            for number in range(len(conditions) if len(conditions) > 1 or key == "equal" else 0):
                fresh = copy.deepcopy(dict(config))
                gone = fresh["inhibit_rules"][at][key].pop(number)
                yield f"inhibition {at + 1} without {key}: {gone}", fresh


@dataclass
class Alertmanager:
    """Everything that is asked of Alertmanager, in one container."""

    deployed: Deployed
    _answers: dict[str, str] = field(default_factory=dict)

    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = yaml.safe_load(self.deployed.config("alertmanager")["alertmanager.yml"])
        return config

    def answers(self) -> dict[str, str]:
        if not self._answers:
            config, cases = self.config(), all_cases()
            questions = {"cases": question(apart(config), cases), "storm": question(config, storm())}
            questions |= {name: question(apart(mutant), cases) for name, mutant in mutants(config)}
            answers = self.deployed.ask("alertmanager", list(questions.values()))
            self._answers = {name: answer.output for name, answer in zip(questions, answers, strict=True)}
        return self._answers


def storm() -> list[Labels]:
    """Every alert at once, with the labels that the tests of the rules expect."""
    return [
        {"alertname": test["alertname"], **{name: str(value) for name, value in one["exp_labels"].items()}}
        for test in TESTS for one in test.get("exp_alerts") or ()
    ]  # fmt: skip


@pytest.fixture(scope="module")
def alertmanager(deployed: Deployed) -> Alertmanager:
    return Alertmanager(deployed)


def test_alerts_mute_what_they_explain_and_nothing_else(alertmanager: Alertmanager) -> None:
    assert not wrong(alertmanager.answers()["cases"])


def test_each_condition_of_each_inhibition_is_shown_by_a_case(alertmanager: Alertmanager) -> None:
    unnoticed = [
        name for name, answer in alertmanager.answers().items() if name not in ("cases", "storm") and not wrong(answer)
    ]
    assert not unnoticed


def test_critical_alerts_are_delivered_while_everything_fires(alertmanager: Alertmanager) -> None:
    answer = alertmanager.answers()["storm"]
    firing = {one["labels"]["alertname"] for one in json.loads(answer)}
    silent = {dict(labels)["alertname"] for labels in muted(answer)}
    assert firing == {rule["alert"] for rule in RULES}
    assert not silent & ALWAYS_DELIVERED
    assert not [labels for labels in muted(answer) if ("probe", "page") in labels]


def test_inhibitions_name_alerts_that_exist() -> None:
    text = (FOLDER.parent / "alertmanager" / "alertmanager.yml").read_text()
    matchers = [
        matcher for rule in yaml.safe_load(text)["inhibit_rules"]
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]) if matcher.startswith("alertname")
    ]  # fmt: skip
    named = {name for matcher in matchers for name in matcher.split('"')[1].split("|")}
    assert named <= {rule["alert"] for rule in RULES}
