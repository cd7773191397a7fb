"""PostgreSQL is killed and its volume deleted while somebody writes: what of the acknowledged rows comes back, and when."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from ops.core.machine import REPOSITORY
from ops.stack.render import container_name, volume_name
from tests.drill.backup.hands import Backups
from tests.drill.backup.writer import TABLE, Writer, committing, survived
from tests.drill.conftest import Record
from tests.drill.stack import Drill, inv, kill
from tests.smoke.live import eventually

RPO_SECONDS = 60.0
LONG_ENOUGH = 75.0
"""Seconds of writing: more than the longest time until a segment is archived, so that the promise can be broken."""
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
SIDE = "SELECT state || ' ' || sync_state FROM pg_stat_replication WHERE application_name = 'receiver'"
SET = "SELECT current_setting('synchronous_standby_names') || '/' || (SELECT count(*) FROM pg_replication_slots)"


@pytest.fixture
def synchronous(tmp_path: Path) -> Mapping[str, str]:
    """Environment of a command for which commits wait for the receiver."""
    path = tmp_path / "stack.yaml"
    text = (REPOSITORY / "config" / "stack.yaml").read_text()
    assert text.count("  synchronous: false") == 1
    path.write_text(text.replace("  synchronous: false", "  synchronous: true"))
    return {"CC03_STACK": str(path)}


def lose_the_volume(drill: Drill) -> float:
    """Kills PostgreSQL, and removes its container and all its data. Returns when it was killed."""
    project = drill.project
    pid = drill.pid("postgres")
    kill(pid)
    killed = time.time()
    project.host.run(("podman", "rm", "--force", "--time", "0", container_name(project.name, "postgres")))
    project.host.run(("podman", "volume", "rm", "--force", volume_name(project.name, "postgres-data")))
    return killed


def restored(drill: Drill, env: Mapping[str, str] | None = None) -> float:
    """Seconds that `inv restore` takes, until users are served and its full set is made."""
    began = time.monotonic()
    answer = inv("restore", "--yes", env=env)
    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr
    drill.await_healthy()
    return time.monotonic() - began


def await_receiver(drill: Drill) -> None:
    """Until PostgreSQL waits for it, and it has everything."""
    eventually(lambda: "" if drill.psql(SIDE) == "streaming sync" else f"the receiver: {drill.psql(SIDE) or 'away'}", 60)


def lost(writer: Writer, drill: Drill) -> tuple[int, float]:
    """Rows, and seconds between the last acknowledged one and the last one that is back."""
    acknowledged, there = writer.acknowledged(), survived(drill)
    gone = acknowledged.keys() - there
    last = max((when for number, when in acknowledged.items() if number in there), default=0.0)
    return len(gone), max(acknowledged.values()) - last if gone else 0.0


def test_at_most_a_minute_is_lost_with_the_volume(stack: Drill, record: Record, tmp_path: Path) -> None:
    assert inv("backup").returncode == 0
    with committing(stack, tmp_path / "acknowledged") as writer:
        time.sleep(LONG_ENOUGH)
        lose_the_volume(stack)
        writer.end()
    rto = restored(stack)

    rows, seconds = lost(writer, stack)
    note = f"{rows} of {len(writer.acknowledged())} acknowledged rows; restored in {rto:.0f} s"
    record("acknowledged changes lost with the volume of PostgreSQL", seconds, RPO_SECONDS, note)
    assert seconds <= RPO_SECONDS
    stack.psql(f"DROP TABLE {TABLE}", "app")


def test_nothing_is_lost_where_commits_wait_for_the_receiver(
    stack: Drill, record: Record, synchronous: Mapping[str, str], tmp_path: Path
) -> None:
    assert inv("backup").returncode == 0
    with committing(stack, tmp_path / "acknowledged") as writer:
        # Those of before count as well: the stream begins with what was not archived.
        stack.deploy(env=synchronous)
        await_receiver(stack)
        writer.await_more(1000, patience=120)
        lose_the_volume(stack)
        writer.end()
    rto = restored(stack, synchronous)

    rows, seconds = lost(writer, stack)
    note = f"{rows} of {len(writer.acknowledged())} acknowledged rows; restored in {rto:.0f} s"
    note += f"; longest commit while it was switched on {writer.longest:.2f} s"
    record("the same with backup.synchronous", seconds, 0.0, note)
    assert rows == 0
    # The next loss would cost nothing either: the receiver has begun anew behind the restore.
    await_receiver(stack)
    stack.psql(f"DROP TABLE {TABLE}", "app")


def test_commits_wait_while_the_backup_is_away_and_none_fails(
    stack: Drill, record: Record, synchronous: Mapping[str, str], tmp_path: Path
) -> None:
    stack.deploy(env=synchronous)
    await_receiver(stack)
    with committing(stack, tmp_path / "acknowledged") as writer:
        began = time.monotonic()
        kill(stack.pid("backup"))
        writer.await_more(10)
        record("kill -9 backup, until commits go on", time.monotonic() - began)

        backup = container_name(stack.project.name, "backup")
        stack.await_healthy("backup")
        await_receiver(stack)
        stack.end_watch()
        stack.project.host.run(("podman", "pause", backup))
        eventually(lambda: "" if stack.psql(WAITS) == "1" else "nobody waits", 30)
        held = len(writer.acknowledged())
        time.sleep(2)
        assert len(writer.acknowledged()) == held
        for alert in ("CommitsWait", "ReceiverAway"):
            Backups(stack).await_alert(alert)
        # As docs/runbooks/ReceiverAway.md says.
        stack.psql("ALTER SYSTEM RESET synchronous_standby_names")
        stack.psql("SELECT pg_reload_conf()")
        writer.await_more(10)
        stack.project.host.run(("podman", "unpause", backup))
        await_receiver(stack)
        eventually(lambda: ", ".join({"CommitsWait", "ReceiverAway"} & set(Backups(stack).alerts("prometheus"))), 180)
        # Who could not write for minutes became ill by that; a deploy takes requests that fail for its own fault.
        stack.watch()
        stack.await_healthy()

        stack.deploy()
        eventually(lambda: "" if stack.psql(SET) == "/0" else f"PostgreSQL still waits: {stack.psql(SET)}", 60)
        writer.await_more(100)
    assert set(writer.acknowledged()) <= survived(stack)
    stack.psql(f"DROP TABLE {TABLE}", "app")
