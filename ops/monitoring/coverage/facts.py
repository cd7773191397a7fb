"""Reads what the matrix is computed from: from Prometheus, Alertmanager, the log store and the checkout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ops.core.machine import REPOSITORY
from ops.monitoring.api import Monitoring, Rule
from ops.monitoring.coverage.matrix import AlertRule, Found, selectors
from ops.monitoring.dashboards import BOARDS
from ops.monitoring.dashboards.model import VARIABLE
from ops.stack.yaml_model import load_yaml

if TYPE_CHECKING:
    from ops.project import Project

SERIES = 'count by (service) (container_memory_working_set_bytes{service!=""})'
PROBES = "count by (service) (probe_success == 1 or cc03_container_healthy == 1)"
AT_THE_EDGE = 'count by (service) (edge_upstream_responses_total and on (instance) up{job="edge"} == 1)'
"""Responses of each container as nginx counts them: all that there is of a service without metrics of its own (frontend)."""
NAMES = 'group by (__name__) ({__name__!=""})'
FRESH = "_time:15m | stats by (service) count() as lines"
ROUTES = "while read -r labels; do amtool config routes test --config.file=/etc/cc03/current/alertmanager.yml $labels; done"
"""Reads the labels of one alert a line, and prints its receiver."""
ALWAYS_FIRES = "Watchdog"


def services(project: Project) -> list[str]:
    """Those that are deployed here, without what only holds the address of another one."""
    slots = project.engine.slots()
    return [
        one.name for one in project.deployed.stack.services.values()
        if not one.holds and not slots.isdisjoint(one.slots())
    ]  # fmt: skip


def gather(project: Project) -> Found:
    monitoring = Monitoring.of(project)
    names = frozenset(one.labels["__name__"] for one in monitoring.query(NAMES))
    rules = [rule for rule in monitoring.rules() if rule.kind == "alerting" and rule.name != ALWAYS_FIRES]
    alerts = _alerts(project, monitoring, rules, names)
    up = _counted(target.labels.get("service", "") for target in monitoring.targets() if target.health == "up")
    return Found(
        targets=_by_service(monitoring, AT_THE_EDGE) | up,
        series=_by_service(monitoring, SERIES), probes=_by_service(monitoring, PROBES),
        panels=_panels(monitoring, {alert.name: alert.services for alert in alerts}),
        logs={str(row["service"]): int(row["lines"]) for row in monitoring.logs(FRESH)},
        alerts=alerts,
    )  # fmt: skip


def _alerts(project: Project, monitoring: Monitoring, rules: list[Rule], names: frozenset[str]) -> list[AlertRule]:
    fires_for: dict[str, frozenset[str]] = {}

    def services_of(rule: Rule) -> frozenset[str]:
        if service := rule.labels.get("service"):
            return frozenset((service,))
        found: frozenset[str] = frozenset()
        for selector in selectors(rule.query, names):
            if selector not in fires_for:
                fires_for[selector] = frozenset(_by_service(monitoring, f"group by (service) ({selector})"))
            found |= fires_for[selector]
        return found

    kinds = kinds_of(load_yaml((REPOSITORY / "config" / "coverage.yaml").read_text(encoding="utf-8")))
    tests = with_tests(REPOSITORY / "config" / "prometheus" / "tests")
    runbooks = {path.stem for path in (REPOSITORY / "docs" / "runbooks").glob("*.md")}
    receivers = _receivers(project, rules)
    return [
        AlertRule(
            rule.name, kinds.get(rule.name, frozenset()), services_of(rule),
            rule.name in tests, rule.name in runbooks, bool(receiver),
        )
        for rule, receiver in zip(rules, receivers, strict=True)
    ]  # fmt: skip


def kinds_of(listed: Mapping[str, Iterable[str]]) -> dict[str, frozenset[str]]:
    """Alert -> the kind that it is listed under."""
    return {alert: frozenset((kind,)) for kind, alerts in listed.items() for alert in alerts}


def with_tests(folder: Path) -> set[str]:
    """Alerts that a test shows firing and another one shows silent."""
    fires: dict[str, set[bool]] = {}
    for path in sorted(folder.glob("*_test.yml")):
        for case in load_yaml(path.read_text(encoding="utf-8"))["tests"]:
            for test in case.get("alert_rule_test") or ():
                fires.setdefault(test["alertname"], set()).add(bool(test.get("exp_alerts")))
    return {name for name, outcomes in fires.items() if outcomes == {True, False}}


def _receivers(project: Project, rules: Iterable[Rule]) -> list[str]:
    """The receiver that Alertmanager's configuration has for each alert."""
    labels = [
        " ".join(f"{name}={value}" for name, value in {**rule.labels, "alertname": rule.name}.items() if " " not in value)
        for rule in rules
    ]  # fmt: skip
    said = project.engine.exec("alertmanager", ("bash", "-c", ROUTES), stdin="".join(f"{one}\n" for one in labels))
    return said.stdout.splitlines()


def _panels(monitoring: Monitoring, fires_for: Mapping[str, frozenset[str]]) -> dict[str, list[str]]:
    """Service -> panels with data about it: its name is a label of the data, or an alert of the panel can fire for it."""
    found: dict[str, list[str]] = {}
    for board in BOARDS:
        for panel in board.panels:
            data = [one for query in panel.queries for one in monitoring.query(_filled(query.expr))]
            named = {one.labels.get("service", "") for one in data}
            about = named.union(*(fires_for.get(name, ()) for name in panel.runbooks)) if data else ()
            for service in about:
                found.setdefault(service, []).append(f"{board.title}: {panel.title}")
    return found


def _filled(expr: str) -> str:
    """A query of a panel for all values of its variables."""
    return VARIABLE.sub(lambda match: "5m" if "interval" in match[0] or "range" in match[0] else ".*", expr)


def _by_service(monitoring: Monitoring, expr: str) -> dict[str, int]:
    return {one.labels["service"]: int(one.value) for one in monitoring.query(expr) if one.labels.get("service")}


def _counted(names: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return found
