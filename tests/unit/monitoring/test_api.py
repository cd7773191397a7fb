"""The client of Prometheus, Alertmanager and the log store reads what they answer, and says why where they do not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests

from ops.core.errors import OpsError
from ops.monitoring.api import Matcher, Monitoring
from tests.unit.monitoring.recorded import BASE, Recorded, monitoring

MINUTE = 1796077731.819
ID = "6a4ba1e8-4b06-4c5f-9f3b-0a8f8a1b2c3d"


def test_query_of_a_vector() -> None:
    client, adapter = monitoring("vector")

    first, second = client.query("up", at=5.0)

    assert (first.labels["job"], first.value, second.labels["job"]) == ("alertmanager", 1.0, "nginx")
    (asked,) = adapter.asked
    assert (asked.method, asked.url) == ("POST", f"{BASE}/prometheus/api/v1/query")
    assert parse_qs(str(asked.body)) == {"query": ["up"], "time": ["5.0"]}


def test_query_of_a_scalar_has_one_value_without_labels() -> None:
    (one,) = monitoring("scalar")[0].query("1")
    assert (dict(one.labels), one.value) == ({}, 1.0)


def test_query_range() -> None:
    client, adapter = monitoring("matrix")

    first, second = client.query_range("up", 0, 60, 30)

    assert [value for _, value in first.points] == [1, 1, 1]
    assert second.points[0] == (1796077652.737, 0.0)
    assert parse_qs(str(adapter.asked[0].body)) == {"query": ["up"], "start": ["0"], "end": ["60"], "step": ["30"]}


def test_rules() -> None:
    stale, watchdog = monitoring("rules")[0].rules()

    assert (stale.group, stale.name, stale.kind, stale.state, stale.health) == (
        "backup", "BackupStale", "alerting", "inactive", "ok",
    )  # fmt: skip
    assert stale.labels["severity"] == "critical"
    assert (watchdog.state, 0 < watchdog.seconds < 1) == ("firing", True)


def test_targets() -> None:
    (one, _) = monitoring("targets")[0].targets()
    assert (one.job, one.health, one.error) == ("alertmanager", "up", "")
    assert one.scraped == pytest.approx(1796077710.893935)


def test_alerts() -> None:
    (one,) = monitoring("alerts")[0].alerts()
    assert (one.name, one.state, one.receivers, one.silenced_by) == ("Watchdog", "active", ("watchdog",), ())
    assert one.since == pytest.approx(1796077651.819)


def test_receivers() -> None:
    assert monitoring("receivers")[0].receivers() == ["operator", "watchdog"]


def test_silences() -> None:
    (one,) = monitoring("silences")[0].silences()
    assert (one.id, one.by, one.state, [str(each) for each in one.matchers]) == (
        ID,
        "alice",
        "active",
        ['alertname="SiteDown"'],
    )
    assert one.ends - one.starts == pytest.approx(3600, abs=1)


def test_silence_and_expire() -> None:
    client, adapter = monitoring("silence", "silence")

    assert client.silence((Matcher("service", "redis|nginx", regex=True),), MINUTE, MINUTE + 60, "alice", "work") == ID
    client.expire(ID)

    made, ended = adapter.asked
    assert json.loads(made.body or "") == {
        "matchers": [{"name": "service", "value": "redis|nginx", "isEqual": True, "isRegex": True}],
        "startsAt": "2026-11-30T22:28:51.819Z", "endsAt": "2026-11-30T22:29:51.819Z", "createdBy": "alice", "comment": "work",
    }  # fmt: skip
    assert (ended.method, ended.url) == ("DELETE", f"{BASE}/alertmanager/api/v2/silence/{ID}")


@pytest.mark.parametrize(
    ("matcher", "shown"),
    [
        (Matcher("a", "b"), 'a="b"'), (Matcher("a", "b", regex=True), 'a=~"b"'), (Matcher("a", "b", equal=False), 'a!="b"'),
        (Matcher("a", "b", equal=False, regex=True), 'a!~"b"'),
    ],
)  # fmt: skip
def test_matcher_is_shown_as_promql_writes_it(matcher: Matcher, shown: str) -> None:
    assert str(matcher) == shown


def test_logs() -> None:
    client, adapter = monitoring("logs")

    rows = client.logs("service:nginx", limit=2, start=MINUTE)

    assert [row["service"] for row in rows] == ["nginx", "nginx"]
    assert [row["_time"] for row in rows] == sorted(row["_time"] for row in rows)
    assert parse_qs(str(adapter.asked[0].body)) == {
        "query": ["service:nginx"], "limit": ["2"], "start": ["2026-11-30T22:28:51.819Z"]
    }  # fmt: skip


def test_rows_of_statistics_have_no_time() -> None:
    assert monitoring("stats")[0].logs("* | stats by (service) count() n")[0] == {"service": "audit", "n": "5"}


@pytest.mark.parametrize(
    ("name", "call", "why"),
    [
        ("bad query", lambda client: client.query("up{"), "unexpected end of input inside braces"),
        ("bad logs", lambda client: client.logs("("), "missing filter after '('"),
        ("no silence", lambda client: client.expire(ID), "HTTP 404"),
    ],
)
def test_refusal_is_told_in_the_words_of_the_server(name: str, call: Callable[[Monitoring], Any], why: str) -> None:
    with pytest.raises(OpsError) as caught:
        call(monitoring(name)[0])
    assert "refuses" in caught.value.what
    assert why in caught.value.why


def away(_: requests.PreparedRequest) -> tuple[int, Any]:
    raise requests.ConnectionError("connection refused")


@pytest.mark.parametrize("answer", [lambda _: (502, "<html>"), lambda _: (200, "<html>")])
@pytest.mark.parametrize(
    ("call", "server"),
    [(lambda client: client.query("up"), "Prometheus"), (Monitoring.alerts, "Alertmanager"),
     (lambda client: client.logs("*"), "the log store")],
)  # fmt: skip
def test_what_does_not_answer_is_named_with_the_next_step(
    answer: Callable[[requests.PreparedRequest], tuple[int, Any]], call: Callable[[Monitoring], Any], server: str
) -> None:
    client = Monitoring(BASE, Path("/ca.pem"))
    client.session.mount("https://", Recorded(answer))
    with pytest.raises(OpsError) as caught:
        call(client)
    assert caught.value.what == f"{server} does not answer"
    assert caught.value.next_step.startswith("inv status")


def test_without_a_connection_it_is_nginx_that_does_not_answer() -> None:
    client = Monitoring(BASE, Path("/ca.pem"))
    client.session.mount("https://", Recorded(away))
    with pytest.raises(OpsError) as caught:
        client.alerts()
    assert caught.value.what == "nginx does not answer"
    assert caught.value.next_step.startswith("inv status")


def test_target_that_was_never_scraped_has_no_time() -> None:
    client, adapter = monitoring("targets")
    kept = adapter.answer

    def never(request: requests.PreparedRequest) -> tuple[int, Any]:
        status, body = kept(request)
        text = json.dumps(body).replace("2026-11-30T22:28:30.893935481Z", "0001-01-01T00:00:00Z")
        return status, text

    adapter.answer = never
    assert math.isnan(client.targets()[0].scraped)


def test_neither_proxy_nor_authorities_of_the_environment_are_used() -> None:
    client, _ = monitoring()
    assert (client.session.trust_env, client.session.verify) == (False, "/ca.pem")
