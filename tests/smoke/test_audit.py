"""The audit trail of the live project is whole, and tells of the deploy that it came from."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops.core.process import Result
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


@dataclass(frozen=True)
class Audited:
    """An audit of this stack: its answer, its page, and how many logins failed meanwhile."""

    answer: Result
    page: str
    failed_logins: float


def failed_logins(live: Live) -> float:
    lines = live.inside("keycloak", 9000, "/metrics").text.splitlines()
    return sum(
        float(line.split()[-1])
        for line in lines
        if re.match(r'keycloak_user_events_total\{.*error="[^"]+".*event="login"', line)
    )


@pytest.fixture(scope="module")
def audited(live: Live, tmp_path_factory: pytest.TempPathFactory) -> Audited:
    page, before = tmp_path_factory.mktemp("audit") / "audit.md", failed_logins(live)
    answer = live.inv("audit", "--json", "--report", str(page))
    return Audited(answer, page.read_text(), failed_logins(live) - before)


def test_nothing_gets_in(live: Live, audited: Audited) -> None:
    assert audited.answer.returncode == 0, audited.answer.stdout[-3000:] + audited.answer.stderr
    report = json.loads(audited.answer.stdout)

    assert len(report["controls"]) > 90
    assert report["counts"]["failed"] == 0
    outcomes = {one["number"]: one["outcome"] for one in report["controls"]}
    looked_at = [number for number in outcomes if number.partition(".")[0] in "1234579"]
    assert {outcomes[number] for number in looked_at} <= {"passed", "accepted"}, "this stack runs, so all of it can be seen"
    assert audited.page.startswith(f"# Audit of {live.project.name}\n")
    assert "### 4 Networks" in audited.page


def test_audit_raises_no_alarm(audited: Audited) -> None:
    """KeycloakLoginsFail takes more than ten failed logins for a defect; the audit tries one, with a foreign address."""
    assert 0 < audited.failed_logins < 5


def test_page_that_cannot_be_written_is_refused_before_the_audit(live: Live, tmp_path: Path) -> None:
    answer = live.inv("audit", "--report", str(tmp_path / "none" / "audit.md"))

    assert (answer.returncode, answer.stderr.splitlines()[0]) == (2, f"failed: cannot write {tmp_path}/none/audit.md")
