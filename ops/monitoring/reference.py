"""docs/reference/alerts.md and metrics.md, from the rules, the dashboards and config/metrics.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import promql_parser
import yaml

from ops.core.machine import REPOSITORY
from ops.monitoring.dashboards import BOARDS

ALERTS = REPOSITORY / "config" / "prometheus" / "alerts"
METRICS = REPOSITORY / "config" / "metrics.yaml"
PARTS_OF_A_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


@dataclass(frozen=True)
class Metric:
    """One metric that a rule or a dashboard uses. missing: why a stack that works may have no data of it."""

    name: str
    type: str
    job: str
    meaning: str
    missing: str = ""


@cache
def metrics() -> dict[str, Metric]:
    """Name -> metric, by config/metrics.yaml."""
    listed = yaml.safe_load(METRICS.read_text(encoding="utf-8"))
    return {name: Metric(name, **fields) for name, fields in listed.items()}


@cache
def rules() -> tuple[Mapping[str, Any], ...]:
    """Alerts and recording rules, in the order of their files."""
    documents = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(ALERTS.glob("*.yml"))]
    return tuple(rule for document in documents for group in document["groups"] for rule in group["rules"])


def names_in(expression: str) -> set[str]:
    """The metrics that an expression names. Placeholders and variables of dashboards may stand in it."""
    plain = re.sub(r"\$__(rate_interval|range|interval)\b", "5m", re.sub(r"\$\{CC03_\w+\}", "1", expression))
    found: set[str] = set()

    def note(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector) and node.name:
            found.add(node.name)

    promql_parser.walk(promql_parser.parse(re.sub(r"\$\{?\w+\}?", ".*", plain)), note)
    return found


def family(name: str) -> str:
    """The metric that a series belongs to: the buckets of a histogram are not listed each."""
    base = PARTS_OF_A_HISTOGRAM.sub("", name)
    return base if base in metrics() and metrics()[base].type in ("histogram", "summary") else name


def uses() -> dict[str, list[str]]:
    """Metric -> what uses it: alerts as links, dashboards by their titles."""
    found: dict[str, list[str]] = {}
    recorded = {str(rule["record"]) for rule in rules() if "record" in rule}

    def add(expression: str, user: str) -> None:
        for name in sorted(map(family, names_in(expression) - recorded)):
            if user not in found.setdefault(name, []):
                found[name].append(user)

    for rule in rules():
        add(str(rule["expr"]), f"[{rule['alert']}](../runbooks/{rule['alert']}.md)" if "alert" in rule else "objectives")
    for board in BOARDS:
        for panel in board.panels:
            for query in panel.queries:
                add(query.expr, f"dashboard {board.title}")
    return found


def _shown(text: str) -> str:
    """A summary of an alert: labels by their names, the value as N."""
    return re.sub(r"{{ \$value[^}]*}}", "N", re.sub(r"{{ \$labels\.(\w+) }}", lambda found: found[1].upper(), text))


def alert_rows() -> Iterator[Sequence[str]]:
    for rule in rules():
        if "alert" in rule:
            name, says = str(rule["alert"]), rule["annotations"]
            meaning = f"{_shown(says['summary'])}. {_shown(says['description'])}".replace("\n", " ")
            yield f"[{name}](../runbooks/{name}.md)", meaning, str(rule["labels"]["severity"]), str(rule.get("for", "at once"))


def metric_rows() -> Iterator[Sequence[str]]:
    used = uses()
    for name, metric in sorted(metrics().items()):
        meaning = metric.meaning + (f" No data: {metric.missing}." if metric.missing else "")
        yield f"`{name}`", meaning, metric.type, metric.job, ", ".join(used.get(name, ()))
