"""Somebody drops a table: PostgreSQL goes back to right before that, and nothing later is left."""

from __future__ import annotations

import shutil
import time

import pytest

from tests.drill.backup.hands import Backups
from tests.drill.conftest import Record
from tests.drill.stack import inv
from tests.smoke.accounts import Account, Accounts
from tests.smoke.conftest import item_input
from tests.smoke.live import Live, eventually

TABLES = ("items", "ledger")
CHECKPOINT_SECONDS = 25.0
"""Of the collector of logs: twice what it may be behind."""
DROP = "BEGIN; SELECT txid_current(); DROP TABLE items; DROP TABLE ledger; COMMIT;"


def traced(live: Live) -> tuple[str, int]:
    """A word that stands in the log, and in how many lines; the collector has written down that it is past them."""
    tracer = f"drill-{time.time_ns()}"
    live.site.get(f"/{tracer}")
    eventually(lambda: "" if live.log_lines(f'"{tracer}"') else "the line is not in the store", 60)
    time.sleep(CHECKPOINT_SECONDS)
    return tracer, len(live.log_lines(f'"{tracer}"'))


def settled(live: Live, tracer: str, lines: int) -> None:
    """The same lines are there, and not one more once the collector has read what there is to read."""
    eventually(lambda: "" if len(live.log_lines(f'"{tracer}"')) >= lines else "the line of before is gone", 60)
    time.sleep(CHECKPOINT_SECONDS)
    assert len(live.log_lines(f'"{tracer}"')) == lines, "a line was taken in twice"


@pytest.mark.parametrize("way", ["at", "xid", "name"])
def test_before_a_drop_table(backups: Backups, people: Accounts, person: Account, record: Record, way: str) -> None:
    item = person("POST", "/items", json=item_input())
    assert item.status_code == 201, item.text
    backups.write(1001, 1500)
    before = backups.sums(*TABLES)
    # Recovery ends at the first one of a name.
    point = f"drill-{time.time_ns()}"
    backups.drill.psql(f"SELECT pg_create_restore_point('{point}')")
    moment = backups.second()
    later = people.create("editor") if way != "xid" else None
    if later:
        backups.write(1501, 1600)
    number = backups.drill.psql(DROP, "app")
    assert "items" not in backups.drill.psql("SELECT relname FROM pg_class WHERE relname IN ('items', 'ledger')", "app")

    began = time.monotonic()
    backups.restore(*{"at": ("--at", moment), "xid": ("--xid", number), "name": ("--name", point)}[way])
    record(f"inv restore --{way} before a DROP TABLE, all of it", time.monotonic() - began)
    assert backups.sums(*TABLES) == before
    assert person("GET", f"/items/{item.json()['id']}").json() == item.json()
    person.log_in_anew()
    if later:
        with pytest.raises(AssertionError, match="login refused"):
            later.log_in_anew()
        people.forget(later)
    backups.drill.assert_as_wanted()


def test_a_moment_that_cannot_be_reached_changes_nothing(backups: Backups) -> None:
    before = backups.sums(*TABLES)
    answer = inv("restore", "--yes", "--name", "never-made")
    assert answer.returncode == 1, answer.stdout[-2000:]
    assert "everything is as before" in answer.stderr
    assert backups.sums(*TABLES) == before
    backups.drill.assert_as_wanted()


def test_a_whole_set_and_the_way_back(backups: Backups, person: Account, record: Record) -> None:
    """Everything of a set, metrics and logs as well; then what was there before."""
    live = backups.live
    tracer, lines = traced(live)
    name = backups.make()
    made = time.time()
    counted = live.number(f"count_over_time(backup_healthy[10m] @ {made:.0f})")
    backups.write(1001, 1500)
    after = backups.sums(*TABLES)

    began = time.monotonic()
    backups.restore("--set", name, "--only", "all")
    record("inv restore --set … --only all", time.monotonic() - began)
    assert backups.rows() == 1000
    live = backups.live
    settled(live, tracer, lines)
    assert live.number(f"count_over_time(backup_healthy[10m] @ {made:.0f})") >= counted - 2
    person.log_in_anew()

    answer = inv("restore", "--undo", "--yes")
    assert answer.returncode == 0, answer.stdout[-2000:] + answer.stderr
    backups.drill.await_healthy()
    assert backups.sums(*TABLES) == after


def test_only_the_logs(backups: Backups) -> None:
    """The store's days come back from the set; PostgreSQL and the site are not touched."""
    live = backups.live
    tracer, lines = traced(live)
    name = backups.make()
    store = backups.drill.containers()["logs"]["Id"]
    before = {slot: item["State"]["StartedAt"] for slot, item in backups.drill.containers().items() if slot != "logs"}
    for day in (backups.mount("logs-data") / "data" / "partitions").iterdir():
        shutil.rmtree(day)

    backups.restore("--set", name, "--only", "logs")
    settled(backups.live, tracer, lines)
    assert backups.drill.containers()["logs"]["Id"] == store
    now = {slot: item["State"]["StartedAt"] for slot, item in backups.drill.containers().items() if slot != "logs"}
    assert now == before
