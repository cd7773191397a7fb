"""Client of a running stack's Prometheus, Alertmanager and log store, through the operator's listener.

Times are seconds since the epoch. Every call raises OpsError where no answer comes within its deadline, and where the answer
is an error: then with what the server says.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ops.core.errors import OpsError

if TYPE_CHECKING:
    import requests

    from ops.project import Project

CONNECT_SECONDS, ANSWER_SECONDS = 3.0, 30.0
LONGEST_WHY = 300
PROMETHEUS, ALERTMANAGER, LOGS, NGINX = "Prometheus", "Alertmanager", "the log store", "nginx"
NEXT: Mapping[str, str] = {
    PROMETHEUS: "inv status; inv logs prometheus", ALERTMANAGER: "inv status; inv logs alertmanager", LOGS: "inv status",
    NGINX: "inv status; inv logs nginx",
}  # fmt: skip


@dataclass(frozen=True)
class Series:
    """Values of one time series, oldest first. An instant query has one point; a scalar has no labels."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def value(self) -> float:
        """The newest value."""
        return self.points[-1][1]


@dataclass(frozen=True)
class Rule:
    """A rule as Prometheus evaluates it."""

    group: str
    name: str
    kind: Literal["alerting", "recording"]
    query: str
    health: str
    """ok, err or unknown."""
    error: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: str
    """inactive, pending or firing; empty for a recording rule."""
    seconds: float
    """Duration of the last evaluation."""


@dataclass(frozen=True)
class Target:
    """A scrape target."""

    job: str
    labels: Mapping[str, str]
    url: str
    health: str
    """up, down or unknown."""
    error: str
    scraped: float


@dataclass(frozen=True)
class Alert:
    """An alert that Alertmanager has, silenced or not."""

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: str
    """active, suppressed or unprocessed."""
    since: float
    silenced_by: tuple[str, ...]
    """Ids of silences."""
    inhibited_by: tuple[str, ...]
    """Fingerprints of alerts."""
    receivers: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True)
class Matcher:
    """One condition of a silence."""

    name: str
    value: str
    equal: bool = True
    regex: bool = False

    def __str__(self) -> str:
        return f'{self.name}{"=" if self.equal else "!"}{"~" if self.regex else ("" if self.equal else "=")}"{self.value}"'


@dataclass(frozen=True)
class Silence:
    """A silence of Alertmanager."""

    id: str
    matchers: tuple[Matcher, ...]
    starts: float
    ends: float
    by: str
    comment: str
    state: str
    """active, pending or expired."""


@dataclass(frozen=True)
class Monitoring:
    """The three servers at one address.

    base: URL of the operator's listener. ca: file of the roots that are trusted. seconds: how long an answer may take.
    """

    base: str
    ca: Path
    seconds: float = ANSWER_SECONDS

    @classmethod
    def of(cls, project: Project, seconds: float = ANSWER_SECONDS) -> Monitoring:
        from ops.stack.compose import placeholders

        return cls(placeholders(project.settings, project.ports)["CC03_OPS_URL"], project.state.site_roots, seconds)

    @cached_property
    def session(self) -> requests.Session:
        import requests

        made = requests.Session()
        # Neither a proxy nor a CA bundle named by the environment may stand in the way.
        made.trust_env = False
        made.verify = str(self.ca)
        return made

    # ---- Prometheus
    def query(self, expr: str, at: float | None = None) -> list[Series]:
        """The value of a PromQL expression, now or at a time: a vector or a scalar."""
        data = self._prometheus("query", query=expr, time=at)
        if data["resultType"] == "scalar":
            return [Series({}, (_point(data["result"]),))]
        if data["resultType"] == "matrix":
            return [_series(one) for one in data["result"]]
        return [Series(one["metric"], (_point(one["value"]),)) for one in data["result"]]

    def query_range(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        """Values of a PromQL expression from start to end, one each `step` seconds."""
        return [_series(one) for one in self._prometheus("query_range", query=expr, start=start, end=end, step=step)["result"]]

    def rules(self) -> list[Rule]:
        groups = self._prometheus("rules", method="GET")["groups"]
        return [_rule(group["name"], one) for group in groups for one in group["rules"]]

    def targets(self) -> list[Target]:
        return [
            Target(one["labels"].get("job", ""), one["labels"], one["scrapeUrl"], one["health"], one["lastError"],
                   _seconds(one["lastScrape"]))
            for one in self._prometheus("targets", method="GET", state="active")["activeTargets"]
        ]  # fmt: skip

    def values(self) -> list[tuple[Mapping[str, str], float]]:
        """Labels and value of each alert that is pending or fires, by Prometheus' own labels."""
        return [(one["labels"], float(one["value"])) for one in self._prometheus("alerts", method="GET")["alerts"]]

    def _prometheus(self, path: str, *, method: str = "POST", **fields: Any) -> Any:
        where = {"data" if method == "POST" else "params": {name: value for name, value in fields.items() if value is not None}}
        return self._json(PROMETHEUS, method, f"/prometheus/api/v1/{path}", **where)["data"]

    # ---- Alertmanager
    def alerts(self) -> list[Alert]:
        """Those that are silenced or inhibited too."""
        return [_alert(one) for one in self._json(ALERTMANAGER, "GET", "/alertmanager/api/v2/alerts")]

    def silences(self) -> list[Silence]:
        """Expired ones too, as long as Alertmanager keeps them."""
        return [_silence(one) for one in self._json(ALERTMANAGER, "GET", "/alertmanager/api/v2/silences")]

    def silence(
        self, matchers: tuple[Matcher, ...], starts: float, ends: float, by: str, comment: str, silence: str = ""
    ) -> str:  # fmt: skip
        """Add a silence, or change the one with this id; its id."""
        body = {
            **({"id": silence} if silence else {}),
            "matchers": [{"name": m.name, "value": m.value, "isEqual": m.equal, "isRegex": m.regex} for m in matchers],
            "startsAt": _stamp(starts), "endsAt": _stamp(ends), "createdBy": by, "comment": comment,
        }  # fmt: skip
        return str(self._json(ALERTMANAGER, "POST", "/alertmanager/api/v2/silences", json=body)["silenceID"])

    def expire(self, silence: str) -> None:
        """End a silence now."""
        self._ask(ALERTMANAGER, "DELETE", f"/alertmanager/api/v2/silence/{silence}")

    def post_alert(self, labels: Mapping[str, str], annotations: Mapping[str, str], ends: float) -> None:
        """Have Alertmanager take an alert that fires from now on until then."""
        begins = min(time.time(), ends)
        body = [{
            "labels": dict(labels), "annotations": dict(annotations), "startsAt": _stamp(begins), "endsAt": _stamp(ends),
        }]  # fmt: skip
        self._ask(ALERTMANAGER, "POST", "/alertmanager/api/v2/alerts", json=body)

    def alertmanager_metrics(self) -> str:
        return self._ask(ALERTMANAGER, "GET", "/alertmanager/metrics").text

    def receivers(self) -> list[str]:
        return [str(one["name"]) for one in self._json(ALERTMANAGER, "GET", "/alertmanager/api/v2/receivers")]

    # ---- Log store
    def logs(
        self, query: str, limit: int = 1000, start: float | None = None, end: float | None = None
    ) -> list[Mapping[str, Any]]:
        """Rows that a LogsQL query finds, the newest `limit` of them, oldest first where they have a time."""
        times = {name: _stamp(at) for name, at in (("start", start), ("end", end)) if at is not None}
        text = self._ask(LOGS, "POST", "/logs/select/logsql/query", data={"query": query, "limit": str(limit), **times}).text
        try:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as problem:
            raise _no_answer(LOGS, f"its answer is no JSON: {text[:LONGEST_WHY]}") from problem
        return sorted(rows, key=lambda row: str(row.get("_time", "")))

    # ---- HTTP
    def _json(self, server: str, method: str, path: str, **options: Any) -> Any:
        answer = self._ask(server, method, path, **options)
        try:
            return answer.json()
        except ValueError as problem:
            raise _no_answer(server, f"its answer is no JSON: {answer.text[:LONGEST_WHY]}") from problem

    def _ask(self, server: str, method: str, path: str, **options: Any) -> requests.Response:
        import requests

        try:
            answer = self.session.request(
                method, self.base + path, timeout=(CONNECT_SECONDS, self.seconds), allow_redirects=False, **options
            )
        except requests.ConnectionError as problem:  # no connection comes about: that is nginx, before any of the three
            raise _no_answer(NGINX, str(problem)[:LONGEST_WHY]) from problem
        except OSError as problem:  # what requests raises is one, and so is the lack of the file of the roots
            raise _no_answer(server, str(problem)[:LONGEST_WHY]) from problem
        if answer.status_code == requests.codes.ok:
            return answer
        if answer.status_code in (400, 404, 422):
            raise OpsError(f"{server} refuses the request", _words(answer), "correct the query or the id")
        raise _no_answer(server, f"{self.base}{path} answers {answer.status_code}: {_words(answer)}")


def _no_answer(server: str, why: str) -> OpsError:
    return OpsError(f"{server} does not answer", why, NEXT[server])


def _words(answer: requests.Response) -> str:
    """What an error answer says: Prometheus' field `error`, Alertmanager's string, or the text."""
    try:
        said = answer.json()
    except ValueError:
        said = answer.text
    if isinstance(said, dict):
        said = said.get("error") or said.get("message") or said
    return str(said).strip()[:LONGEST_WHY] or f"HTTP {answer.status_code}"


def _point(pair: tuple[float, str]) -> tuple[float, float]:
    return float(pair[0]), float(pair[1])


def _series(one: Mapping[str, Any]) -> Series:
    return Series(one["metric"], tuple(map(_point, one["values"])))


def _rule(group: str, one: Mapping[str, Any]) -> Rule:
    return Rule(
        group, one["name"], one["type"], one["query"], one["health"], one.get("lastError", ""), one.get("labels") or {},
        one.get("annotations") or {}, one.get("state", ""), float(one["evaluationTime"]),
    )  # fmt: skip


def _alert(one: Mapping[str, Any]) -> Alert:
    status = one["status"]
    return Alert(
        one["labels"]["alertname"], one["labels"], one["annotations"], status["state"], _seconds(one["startsAt"]),
        tuple(status["silencedBy"]), tuple(status["inhibitedBy"]), tuple(each["name"] for each in one["receivers"]),
        one["fingerprint"],
    )  # fmt: skip


def _silence(one: Mapping[str, Any]) -> Silence:
    matchers = tuple(Matcher(m["name"], m["value"], m.get("isEqual", True), m["isRegex"]) for m in one["matchers"])
    return Silence(
        one["id"], matchers, _seconds(one["startsAt"]), _seconds(one["endsAt"]), one["createdBy"], one["comment"],
        one["status"]["state"],
    )  # fmt: skip


def _seconds(stamp: str) -> float:
    """RFC 3339, of which Go writes up to nine digits after the second. A target that was never scraped has the year 1."""
    whole = datetime.fromisoformat(stamp)
    return whole.timestamp() if whole.year > 1 else math.nan


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
