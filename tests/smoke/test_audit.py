"""The audit trail of the live project is whole, and tells of the deploy that it came from."""

from __future__ import annotations

import json

from tests.smoke.live import Live, eventually


def test_trail_is_whole(live: Live) -> None:
    answer = live.inv("audit.verify")

    assert answer.returncode == 0, answer.stderr
    assert "unbroken since 2" in answer.stdout


def test_changes_are_listed_for_programs(live: Live) -> None:
    answer = live.inv("audit.log", "--json", "--limit", "1000")
    assert answer.returncode == 0, answer.stderr
    changes = json.loads(answer.stdout)

    assert "deploy" in {change["verb"] for change in changes}
    for change in changes:
        assert {"at", "who", "command", "verb", "plan", "steps", "outcome", "number", "hash"} <= set(change)


def test_copies_reach_the_log_store(live: Live) -> None:
    (newest,) = json.loads(live.inv("audit.log", "--json", "--limit", "1").stdout)

    def missing() -> str:
        rows = live.log_lines(f'_time:14d service:audit hash:="{newest["hash"]}"')
        return "" if [row["verb"] for row in rows[:1]] == [newest["verb"]] else f"entry {newest['number']} is not there"

    eventually(missing, 15)
