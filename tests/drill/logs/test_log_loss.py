"""Each line is stored once: with a killed collector or store under load, and while the store is down. Each line has an id."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.drill.conftest import Record
from tests.drill.stack import Drill
from tests.smoke.live import Live, eventually

WRITERS = ("backend-1", "keycloak", "redis")
LINES, SECONDS, PARTS = 100_000, 60, 200
AWAY = 60
SEARCHABLE = 5.0
CATCHES_UP = 180.0
LATE = 20.0
"""Seconds in which a line that is sent again would arrive: longer than between two checkpoints."""
KILLED = {"the collector": ("collector",), "the store": ("victoria-logs",), "both": ("victoria-logs", "collector")}
BAD_GATEWAY = 502
MILLION, BATCH = 1_000_000, 20_000
INSERT = "http://127.0.0.1:9427/insert/jsonline?_stream_fields=service,level"


def write(stack: Drill, slot: str, mark: str, lines: int, seconds: float) -> None:
    """Lines on the standard output of a container's first process, as its program writes them, evenly in that time."""
    began, sent = time.monotonic(), 0
    with Path(f"/proc/{stack.pid(slot)}/fd/1").open("w", encoding="utf-8") as output:
        for part in range(1, PARTS + 1):
            until = lines * part // PARTS
            output.write("".join(f'{{"level":"info","message":"{mark} {slot} {n}"}}\n' for n in range(sent, until)))
            output.flush()
            sent = until
            time.sleep(max(0.0, began + seconds * part / PARTS - time.monotonic()))


def written(stack: Drill, mark: str, lines: int, seconds: float, meanwhile: Callable[[], None]) -> int:
    """All writers at once; what happens meanwhile begins after a third of the time. Returns how many lines there are."""
    each = -(-lines // len(WRITERS))
    threads = [threading.Thread(target=write, args=(stack, slot, mark, each, seconds)) for slot in WRITERS]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 3)
    meanwhile()
    for thread in threads:
        thread.join()
    return each * len(WRITERS)


def stored(live: Live, mark: str) -> tuple[int, int]:
    """Different lines, and rows, with this mark; none while the store does not answer."""
    query = f'_time:1h "{mark}" | stats count_uniq(_msg) different, count() all'
    answer = live.ops.get("/logs/select/logsql/query", params={"query": query})
    if answer.status_code == BAD_GATEWAY:
        return 0, 0
    found = answer.json()
    return int(found["different"]), int(found["all"])


def losses(live: Live) -> float:
    return live.number("sum(collector_losses_total) or vector(0)")


def await_all(live: Live, mark: str, wanted: int) -> tuple[float, int]:
    """Wait until all lines are found. Returns the seconds until then, and how many are there more than once in the end."""
    began = time.monotonic()
    eventually(lambda: "" if stored(live, mark)[0] == wanted else f"{stored(live, mark)[0]} of {wanted}", CATCHES_UP)
    took = time.monotonic() - began
    time.sleep(LATE)
    return took, stored(live, mark)[1] - wanted


@pytest.mark.parametrize("what", KILLED)
def test_kill_stores_each_line_once(stack: Drill, live: Live, record: Record, what: str) -> None:
    mark, before = secrets.token_hex(8), losses(live)

    def kill() -> None:
        stack.exec("logs", "sh", "-c", f"kill -9 $(pidof {' '.join(KILLED[what])})")

    wanted = written(stack, mark, LINES, SECONDS, kill)
    took, double = await_all(live, mark, wanted)
    record(f"{wanted} lines in {SECONDS} s, kill -9 of {what}: all found, {double} twice", took)
    assert double == 0
    assert losses(live) == before


def test_store_that_is_away_for_a_minute_stores_each_line_once(stack: Drill, live: Live, record: Record) -> None:
    mark, before = secrets.token_hex(8), losses(live)

    def away() -> None:
        stack.exec("logs", "s6-svc", "-d", "/run/s6/victoria-logs")
        try:
            time.sleep(AWAY)
        finally:
            stack.exec("logs", "s6-svc", "-u", "/run/s6/victoria-logs")

    wanted = written(stack, mark, LINES // 2, 30, away)
    took, double = await_all(live, mark, wanted)
    record(f"{wanted} lines, the store down for {AWAY} s: all found, {double} twice", took)
    assert double == 0
    assert losses(live) == before


def test_line_is_found_within_seconds(stack: Drill, live: Live, record: Record) -> None:
    took = []
    for _ in range(5):
        mark = secrets.token_hex(8)
        # Podman is asked for the container's process before, which takes seconds on a busy host.
        write(stack, "backend-1", mark, 1, 0)
        began = time.monotonic()
        eventually(lambda mark=mark: "" if stored(live, mark)[0] else "not found", 4 * SEARCHABLE)  # type: ignore[misc]
        took.append(time.monotonic() - began)
    record("a line until it is found, the longest of five", max(took))
    assert max(took) < SEARCHABLE


def test_request_is_found_among_a_million_lines(stack: Drill, live: Live, record: Record) -> None:
    """Rows are written to the store itself: what is measured is the search."""
    mark = secrets.token_hex(8)
    row = json.dumps({"_msg": "GET /api/v1/items", "service": "drill", "level": "info", "request_id": f"{mark}-%d"})
    script = f"""for ((i = 0; i < {MILLION}; i += {BATCH})); do
      seq -f '%.0f' $i $((i + {BATCH} - 1)) | awk '{{printf "{json.dumps(row)[1:-1]}\\n", $1}}' |
        curl -fsS -H 'Content-Type: application/stream+json' --data-binary @- '{INSERT}' || exit 1
    done"""
    stack.exec("logs", "bash", "-c", script, timeout=600)
    wanted = str(MILLION)
    eventually(lambda: "" if count(live, mark) == wanted else count(live, mark), 60)
    took = []
    for number in (3, MILLION // 2, MILLION - 1):
        began = time.monotonic()
        found = live.log_lines(f'request_id:="{mark}-{number}"')
        took.append(time.monotonic() - began)
        assert [row["request_id"] for row in found] == [f"{mark}-{number}"]
    record("search for a request id among a million lines, the longest of three", max(took))
    assert max(took) < 1


def count(live: Live, mark: str) -> str:
    return live.log_lines(f'_time:1h service:drill request_id:"{mark}"* | stats count() n')[0]["n"]
