"""config/objectives.yaml -> typed objectives, and the rules that Prometheus evaluates for them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from ops.stack.settings import ServiceName
from ops.stack.value_types import age_days
from ops.stack.yaml_model import Form, Keys, dump_yaml, parse_yaml, read

SOURCE = "config/objectives.yaml"
RULES = "config/prometheus/alerts/objectives.yml"
REFERENCE = "docs/how-to/slo.md"
WINDOW_DAYS = 30
"""Longest time over which an objective is judged; as long as metrics are kept where that is shorter."""
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Buckets of the edge's histogram (config/nginx/responses.js)."""
LEAST_PER_MINUTE = 4.0
"""Requests below which no budget burns fast: the probes alone make two, and one failure would be half of them."""
FIRST_SECONDS = 900
"""Of a new stack that count for nothing: its start, and the five minutes that each rate is about."""
SHORT = ("5m", "30m", "1h")
LONG = {"6h": ("6h", "1m"), "3d": ("3d", "5m"), "window": (f"{WINDOW_DAYS}d", "5m")}
"""Name of a burn rate -> its window, and how often it is evaluated: that reads every sample of the window."""

PromQL = Annotated[str, Field(min_length=1), Form("an expression of PromQL")]


SECONDS = ", ".join(f"{bound:g}" for bound in BOUNDS)


def _bucket(seconds: float) -> float:
    if seconds not in BOUNDS:
        raise ValueError(f"one of {SECONDS}: the buckets that nginx counts")
    return seconds


class Requests(Keys):
    route: Literal["page", "api", "login", "grafana"] = Field(description="Route of nginx (docs/reference/metrics.md).")
    within: Annotated[float, AfterValidator(_bucket), Form(f"a number of seconds: {SECONDS}")] | None = Field(
        default=None, description="Seconds within which a response must be complete. Without it, 5xx are bad."
    )

    def expressions(self) -> tuple[str, str]:
        route = f'route="{self.route}"'
        if self.within is None:
            name = "edge_responses_total"
            return f'sum(rate({name}{{{route},status=~"5.."}}[5m]))', f"sum(rate({name}{{{route}}}[5m]))"
        name = "edge_response_duration_seconds"
        every = f"sum(rate({name}_count{{{route}}}[5m]))"
        return f'{every} - sum(rate({name}_bucket{{{route},le="{self.within:g}"}}[5m]))', every


class Events(Keys):
    all: PromQL = Field(description="Counter of all events.")
    bad: PromQL = Field(description="Counter of the bad ones.")


class Objective(Keys):
    title: Annotated[str, Field(min_length=1), Form("a sentence in a user's words")] = Field(
        description="What is promised, in a user's words."
    )
    service: ServiceName = Field(description="Service that the alerts name.")
    target: Annotated[float, Field(ge=50, le=99.999)] = Field(description="Percent that must be good.")
    requests: Requests | None = Field(default=None, description="Responses at nginx.")
    events: Events | None = Field(default=None, description="Two counters.")
    time: PromQL | None = Field(default=None, description="Condition that is 1 while all is well, 0 while it is not.")

    @model_validator(mode="after")
    def _counts_one_thing(self) -> Objective:
        if sum(one is not None for one in (self.requests, self.events, self.time)) != 1:
            raise ValueError("a mapping with exactly one of requests, events and time")
        return self

    @property
    def budget(self) -> float:
        """Share that may be bad."""
        return round(1 - self.target / 100, 9)

    @property
    def counts(self) -> Literal["requests", "events", "time"]:
        return "requests" if self.requests else "events" if self.events else "time"

    def expressions(self) -> tuple[str, str]:
        """Bad events and all events, per second over 5 minutes."""
        if self.requests:
            return self.requests.expressions()
        if self.events:
            return f"sum(rate({self.events.bad}[5m]))", f"sum(rate({self.events.all}[5m]))"
        # A condition at an instant: the share of five minutes in which it did not hold, of one event each second.
        return f"1 - avg_over_time(({self.time})[5m:30s])", "vector(1)"


class Objectives(Keys):
    objectives: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$"), Form("a name of small letters")], Objective] = Field(
        description="Name -> objective."
    )


def parse_objectives(text: str, source: str = SOURCE) -> Mapping[str, Objective]:
    """Name -> objective, in the order of the file. Raises UsageProblem, with its line, for what cannot be meant."""
    return read(Objectives, parse_yaml(text, source), REFERENCE).objectives


def window_days(retention: str) -> int:
    """Days over which objectives are judged. retention: retention.metrics of stack.yaml."""
    return min(WINDOW_DAYS, age_days(retention))


# ---- Rules


def rules_text(objectives: Mapping[str, Objective]) -> str:
    """The file of rules: recording rules and alerts for these objectives."""
    short = [COUNTED, *_bases(objectives), *(_burn(window, window) for window in SHORT), FAST, SLOW]
    groups = [
        {"name": "objectives", "rules": short},
        *(
            {"name": f"objectives {name}", "interval": every, "rules": [_burn(name, window)]}
            for name, (window, every) in LONG.items()
        ),
    ]
    return HEADER + dump_yaml({"groups": groups})


HEADER = f"# yamllint disable\n# Written by `nox -s docs` from {SOURCE}. Do not edit.\n"


COUNTED = {
    "record": "slo:counted",
    "expr": f"time() - max(prometheus_tsdb_lowest_timestamp_seconds) > {FIRST_SECONDS}",
}
"""There from some time after the first sample: while a stack is deployed for the first time nothing was promised to anybody."""


def _bases(objectives: Mapping[str, Objective]) -> Iterator[dict[str, Any]]:
    for name, one in objectives.items():
        labels = {"objective": name, "service": one.service, "counts": one.counts}
        bad, events = one.expressions()
        for part, expr in (("bad", bad), ("events", events)):
            counted = f"({' '.join(expr.split())}) and on () slo:counted"
            yield {"record": f"slo:{part}:rate5m", "expr": counted, "labels": {**labels}}
        yield {"record": "slo:budget:ratio", "expr": f"vector({one.budget:g})", "labels": {**labels, "title": one.title}}


def _burn(name: str, window: str) -> dict[str, Any]:
    """How many times faster than allowed the budget is used: 1 uses it up in the whole window."""
    bad, events = (
        f"slo:{one}:rate5m" if window == "5m" else f"avg_over_time(slo:{one}:rate5m[{window}])" for one in ("bad", "events")
    )
    return {"record": f"slo:burn_rate:{name}", "expr": f"{bad} / ({events} > 0) / ignoring (title) slo:budget:ratio"}


def _alert(name: str, severity: str, condition: str, traffic: str, summary: str) -> dict[str, Any]:
    """traffic: window in which enough must have happened."""
    return {
        "alert": name,
        # Twenty minutes of samples: less is no trend.
        "expr": f"({condition})"
        f' unless on (objective) avg_over_time(slo:events:rate5m{{counts="requests"}}[{traffic}]) < {LEAST_PER_MINUTE / 60:.4f}'
        " and on (objective) count_over_time(slo:events:rate5m[1h]) > 40",
        "labels": {"severity": severity},
        "annotations": {
            "summary": f"{summary}: {TITLE}",
            "description": "The error budget of {{ $labels.objective }} is used {{ $value | humanize }} times as fast as it "
            "may be. inv slo shows what is left of it, and what used it.",
            "runbook_url": f"docs/runbooks/{name}.md",
        },
    }


TITLE = '{{ range query (printf "slo:budget:ratio{objective=%q}" $labels.objective) }}{{ .Labels.title }}{{ end }}'
FAST = _alert(
    "ErrorBudgetBurnsFast", "critical",
    "slo:burn_rate:1h > 14.4 and slo:burn_rate:5m > 14.4 or slo:burn_rate:6h > 6 and slo:burn_rate:30m > 6",
    "1h", "Missed far too often",
)  # fmt: skip
SLOW = _alert(
    "ErrorBudgetBurnsSlowly", "warning", "slo:burn_rate:3d > 1 and slo:burn_rate:6h > 1", "6h", "Missed too often",
)  # fmt: skip
"""Windows and factors of the SRE Workbook, chapter 5: 2 % of a month's budget in an hour, 5 % in 6 hours, 10 % in 3 days."""
