"""Releases that are no good: users notice nothing, the old release serves, and the reason is on the screen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drill.clone import Clone, Load, load, releases
from tests.drill.conftest import Record
from tests.drill.stack import Drill

MAIN = "compose/backend/app/server.py"
START = "def main() -> int:\n"
MIGRATION = '''"""half way, then it fails"""

from alembic import op

revision = "9999"
down_revision = "{head}"
branch_labels = depends_on = None
contracting = False


def upgrade() -> None:
    op.execute("CREATE TABLE half_way (id integer)")
    op.execute("SELECT 1 / 0")


def downgrade() -> None:
    raise NotImplementedError
'''


def never_healthy(clone: Clone) -> None:
    judged = "        status, body = await self._judge()\n"
    clone.edit("compose/backend/app/health.py", judged, '        status, body = 503, {"status": "broken by the drill"}\n')


def crashes_after_5_s(clone: Clone) -> None:
    clone.edit(MAIN, START, f"{START}    import os, threading\n\n    threading.Timer(5, os._exit, (3,)).start()\n")


def answers_500(clone: Clone) -> None:
    """It is ready, and fails whoever asks for something: only the request through nginx can tell."""
    path = "compose/backend/app/probe.py"
    text = (clone.root / path).read_text(encoding="utf-8")
    name = re.search(r'@router\.get\("[^"]*"[^\n]*\)\nasync def (\w+)\([^\n]*\n', text)
    assert name, "the probe has another form"
    clone.edit(path, name[0], name[0] + '    raise RuntimeError("defect of the drill")\n')


def migration_fails(clone: Clone) -> None:
    versions = sorted(path.name for path in (clone.root / "compose/backend/migrations/versions").glob("0*.py"))
    clone.put("compose/backend/migrations/versions/9999_half_way.py", MIGRATION.format(head=versions[-1].split("_")[0]))


CASES = {
    "never gets healthy": (never_healthy, "backend-surge is not healthy after"),
    "crashes after 5 s": (crashes_after_5_s, "backend-surge did not stay up"),
    "answers 500": (answers_500, "HTTP 500"),
    "migration fails half-way": (migration_fails, "division by zero"),
}


@pytest.fixture
def users(stack: Drill, tmp_path: Path) -> Iterator[Load]:
    with load(stack, tmp_path) as found:
        yield found
    assert found.failures() == []


@pytest.mark.parametrize("case", CASES)
def test_release_that_is_no_good(
    stack: Drill, users: Load, record: Record, tmp_path: Path, case: str
) -> None:  # fmt: skip
    breaks, said = CASES[case]
    clone = Clone.make(tmp_path / "clone")
    breaks(clone)
    clone.edit("config/stack.yaml", "replicas:\n", "deadlines: {start: {backend: 20}}\n\nreplicas:\n")
    before = {slot: item["Id"] for slot, item in stack.containers().items()}
    serving = next(row["release"] for row in releases(clone) if row["current"])

    answer = clone.inv("deploy", "--yes")
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert said in answer.stderr
    back = re.search(rf"release {serving} serves as before, reverted in ([\d.]+) s", answer.stderr)
    assert back, answer.stderr
    record(f"put back after a release that {case}", float(back[1]))
    assert {slot: item["Id"] for slot, item in stack.containers().items()} == before
    rows = releases(clone)
    assert next(row["release"] for row in rows if row["current"]) == serving
    assert rows[0]["outcome"] == "reverted"
    stack.assert_as_wanted()
