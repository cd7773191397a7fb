"""The clock of the backups jumps by days, and back: the schedule neither storms nor sleeps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.drill.backup.hands import SLOT, Backups, assert_told
from tests.drill.clone import Clone
from tests.drill.stack import Drill, inv
from tests.smoke.live import eventually

CLOCK = "/run/ahead"
LIBRARY = Path(__file__).parents[1] / "clock.c"
BUILD = f"""FROM ${{BASE_BOOKWORM}} AS clock
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
COPY clock.c /
RUN gcc -shared -fPIC -O2 -DAHEAD='"{CLOCK}"' -o /clock.so /clock.c -ldl

"""
PRELOADED = "COPY --from=clock /clock.so /usr/local/lib/clock.so\nENV LD_PRELOAD=/usr/local/lib/clock.so\n"
SKEWED = {SLOT: "USER 60711:60711\n", "postgres": "USER 60705:60705\n"}
"""pgBackRest asks PostgreSQL for the time that it calls a backup by."""
WATCHED_SECONDS = 120.0
MOST_JOBS = 8
"""Of all kinds, in that time, right after a jump: each schedule is due once."""


@pytest.fixture
def skewed(stack: Drill, tmp_path: Path) -> Iterator[Clone]:
    """Every program in both containers takes the time of day as a file says."""
    clone = Clone.make(tmp_path / "clone")
    for slot, user in SKEWED.items():
        clone.put(f"compose/{slot}/clock.c", LIBRARY.read_text())
        clone.edit(f"compose/{slot}/Containerfile", f"\n{user}", f"\n{PRELOADED}{user}")
        clone.edit(
            f"compose/{slot}/Containerfile", "# Debian 12 has pgBackRest 2.45", f"{BUILD}# Debian 12 has pgBackRest 2.45"
        )
    clone.deploy()
    yield clone
    stack.deploy()


def jump(backups: Backups, days: int) -> None:
    for slot in SKEWED:
        backups.drill.exec(slot, "sh", "-c", f"echo {days * 86400} >{CLOCK}.new && mv {CLOCK}.new {CLOCK}")


def jobs(backups: Backups) -> list[str]:
    """What was begun, as the log of the container says."""
    said = backups.drill.project.state.logs / f"{SLOT}.log"
    return [line for line in said.read_text(errors="replace").splitlines() if "job started" in line]


def test_days_ahead_and_back(skewed: Clone, backups: Backups) -> None:
    backups.await_idle()
    # Older ones may be beyond the number to keep once the schedule has made a full one.
    newest = max(one["set"] for one in backups.status()["sets"])
    before = len(jobs(backups))
    jump(backups, 2)
    ahead = datetime.now(UTC) + timedelta(days=1)

    def none_ahead() -> str:
        sets = [one for one in backups.status()["sets"] if datetime.fromisoformat(one["made_at"]) > ahead]
        return "" if sets else "the schedule sleeps: no set after the jump"

    eventually(none_ahead, WATCHED_SECONDS)
    backups.await_idle()
    assert len(jobs(backups)) - before <= MOST_JOBS, jobs(backups)[before:]

    jump(backups, 0)
    before = len(jobs(backups))
    assert_told(inv("backup", "--kind", "full"), "ahead of the clock", "inv backup.prune --ahead")
    time.sleep(WATCHED_SECONDS)
    assert len(jobs(backups)) - before <= MOST_JOBS, jobs(backups)[before:]
    assert any("from the future" in text for text in backups.status()["warnings"]), backups.status()["warnings"]

    answer = inv("backup.prune", "--ahead", "--yes")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    made = backups.make()
    assert abs(datetime.fromisoformat(backups.one(made)["made_at"]) - datetime.now(UTC)) < timedelta(minutes=10)
    assert not any("from the future" in text for text in backups.status()["warnings"])
    backups.run("drill", made)
    assert newest in {one["set"] for one in backups.status()["sets"]}, "the newest set of before is gone"
    assert backups.rows() == 1000


def test_a_clock_that_is_behind_removes_nothing(skewed: Clone, backups: Backups) -> None:
    """To a clock that was set back by years, every set is from the future."""
    known = {one["set"] for one in backups.status()["sets"]}
    backups.await_idle()
    jump(backups, -4000)
    said = backups.error("expire", "--ahead")
    jump(backups, 0)
    assert "clock is wrong" in said
    eventually(lambda: "" if known <= {one["set"] for one in backups.status()["sets"]} else "sets are gone", 120)
