"""Judging one request, and adding up those of a deploy."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ops.deploy.measure import MOST_FAILURES, Outcome, Sample, judge, nearest_rank, parse, retried, summarise

BEGAN, ENDED = 100.0, 110.0
WINDOWS = {"before": 95.0, "during": 105.0, "after": 115.0}


def sample(at: float, ms: float = 5.0, **more: Any) -> Sample:
    return Sample(**{"at": at, "kind": "get", "ms": ms, "status": 200, **more})


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param(Outcome(200, expected=2, received=2), id="answer"),
        pytest.param(Outcome(201, received=7), id="answer of undeclared length"),
        pytest.param(Outcome(404), id="refusal"),
        pytest.param(Outcome(101), id="open socket"),
        pytest.param(Outcome(101, closed=1012), id="service restart"),
        pytest.param(Outcome(101, closed=1001), id="going away"),
        pytest.param(Outcome(200, connections=("created",)), id="new connection"),
        pytest.param(Outcome(200, connections=("reused", "created")), id="idle connection was closed"),
    ],
)
def test_request_did_not_fail(outcome: Outcome) -> None:
    assert judge(outcome) == ""


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (Outcome(), "no answer"),
        (Outcome(502), "answered 502"),
        (Outcome(200, expected=10, received=4), "the answer was cut short: 4 of 10 bytes"),
        (Outcome(200, error="the answer was cut short"), "the answer was cut short"),
        (Outcome(101, closed=1006), "the socket was closed with 1006"),
        (Outcome(101, closed=1011), "the socket was closed with 1011"),
        (Outcome(200, connections=("created", "created")), "the connection was closed before the answer"),
        (Outcome(error="no answer in time", connections=("reused", "created")), "no answer in time"),
    ],
)
def test_request_failed(outcome: Outcome, why: str) -> None:
    assert judge(outcome) == why


@pytest.mark.parametrize(
    ("connections", "expected"),
    [((), False), (("reused",), False), (("created", "created"), False), (("reused", "created"), True)],
)
def test_only_an_idle_connection_may_be_tried_again(connections: tuple[str, ...], expected: bool) -> None:
    assert retried(Outcome(200, connections=connections)) is expected


def test_sample_survives_its_file() -> None:
    samples = (
        sample(1.5, 2.25),
        sample(2.5, kind="post", status=201, attempts=2),
        sample(3.5, status=0, failed="no answer", retried=True),
        sample(4.5, kind="websocket", status=101, closed=1012),
    )

    assert parse("".join(one.as_line() for one in samples)) == samples


def test_line_says_only_what_there_is_to_say() -> None:
    assert sample(1.5).as_line() == '{"at": 1.5, "kind": "get", "ms": 5.0, "status": 200, "failed": ""}\n'


@pytest.mark.parametrize("cut", ['{"at": 2, "ki', "null\n", '{"colour": "red"}\n', "\n"])
def test_what_is_no_sample_is_left_out(cut: str) -> None:
    assert parse(sample(1.5).as_line() + cut) == (sample(1.5),)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 99, None),
        ([7], 50, 7),
        ([7], 99, 7),
        ([1, 2], 50, 1),
        ([3, 1, 2], 50, 2),
        (range(1, 101), 99, 99),
        (range(1, 102), 99, 100),
        (range(1, 11), 99, 10),
        ([5, 5, 5], 0, 5),
    ],
)
def test_percentile_is_the_nearest_rank(values: list[float], percent: float, expected: float | None) -> None:
    assert nearest_rank(values, percent) == expected


@pytest.mark.parametrize("seed", range(5))
def test_percentile_covers_its_share_and_no_smaller_value_does(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  (no secret)
    values = [chance.randint(0, 30) for _ in range(chance.randint(1, 200))]
    for percent in (1, 50, 90, 99, 100):
        found = nearest_rank(values, percent)
        assert found in values
        assert sum(value <= found for value in values) >= percent / 100 * len(values)
        assert sum(value < found for value in values) < percent / 100 * len(values)


def test_nothing_measured_is_a_summary_of_nothing() -> None:
    nothing = {"before": None, "during": None, "after": None}

    assert summarise([], BEGAN, ENDED) == {
        "requests": 0, "failed": 0, "announced": 0, "failed_before": 0, "retried": 0, "repeated": 0, "refused": 0,
        "failures": [], "p50_ms": nothing, "p99_ms": nothing, "websocket_closed": 0, "seconds": 10.0,
    }  # fmt: skip


@pytest.mark.parametrize("empty", WINDOWS)
def test_window_without_requests_has_no_percentiles(empty: str) -> None:
    samples = [sample(at, ms=index) for index, (name, at) in enumerate(WINDOWS.items()) if name != empty]
    found = summarise(samples, BEGAN, ENDED)

    assert {name for name, value in found["p50_ms"].items() if value is None} == {empty}
    assert {name for name, value in found["p99_ms"].items() if value is None} == {empty}


def test_windows_have_their_own_percentiles_in_whatever_order_samples_come() -> None:
    samples = [sample(at + n / 1000, ms=base + n) for at, base in ((95, 0), (105, 100), (115, 200)) for n in range(100)]
    random.Random(1).shuffle(samples)  # noqa: S311  (no secret)
    found = summarise(samples, BEGAN, ENDED)

    assert found["p50_ms"] == {"before": 49, "during": 149, "after": 249}
    assert found["p99_ms"] == {"before": 98, "during": 198, "after": 298}
    assert (found["requests"], found["failed"]) == (200, 0)


def test_request_that_was_under_way_when_the_deploy_began_belongs_to_it() -> None:
    cut = sample(98.0, ms=4000, kind="download", failed="the answer was cut short")
    done = sample(90.0, ms=5000, kind="download")
    found = summarise([cut, done], BEGAN, ENDED)

    assert (found["requests"], found["failed"]) == (1, 1)


def test_request_that_was_due_in_the_deploy_belongs_to_it_however_late_it_ended() -> None:
    assert summarise([sample(109.9, ms=9000)], BEGAN, ENDED)["p99_ms"] == {"before": None, "during": 9000, "after": None}


def test_failures_of_before_are_not_the_deploys() -> None:
    samples = [sample(95.0, failed="answered 502", status=502), sample(105.0)]
    found = summarise(samples, BEGAN, ENDED)

    assert (found["requests"], found["failed"], found["failed_before"], found["failures"]) == (1, 0, 1, [])


def test_the_first_failures_are_named_and_all_are_counted() -> None:
    samples = [sample(101 + n / 10, kind="post", failed=f"answered 50{n % 3}") for n in reversed(range(15))]
    found = summarise(samples, BEGAN, ENDED)

    assert (found["failed"], len(found["failures"])) == (15, MOST_FAILURES)
    assert found["failures"][0] == {"at": 101.0, "kind": "post", "why": "answered 500"}


def test_what_is_no_failure_is_counted_apart() -> None:
    samples = [
        sample(101, retried=True),
        sample(102, kind="post", attempts=2),
        sample(103, kind="post", attempts=1),
        sample(104, status=404),
        sample(105, kind="websocket", status=101, closed=1012),
    ]
    found = summarise(samples, BEGAN, ENDED)

    assert found["failed"] == 0
    assert {name: found[name] for name in ("retried", "repeated", "refused", "websocket_closed")} == {
        "retried": 1, "repeated": 1, "refused": 1, "websocket_closed": 1,
    }  # fmt: skip


def test_latencies_are_those_of_answered_short_requests() -> None:
    samples = [
        sample(101, ms=10),
        sample(102, ms=20, kind="post"),
        sample(103, ms=5000, kind="download"),
        sample(104, ms=900, kind="websocket"),
        sample(105, ms=1, failed="answered 502"),
    ]
    found = summarise(samples, BEGAN, ENDED)

    assert (found["p50_ms"]["during"], found["p99_ms"]["during"]) == (10, 20)
