"""Two commands at once: the second is refused, says what the first is doing, and changes nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ops.core.process import until
from ops.core.records import entries
from tests.drill.clone import Clone
from tests.drill.stack import PATIENCE, Drill, begun


@pytest.mark.parametrize("second", [("deploy", "--yes"), ("rollback", "--yes"), ("scale", "backend=3", "--yes"), ("stop",)])
def test_second_command_is_refused(stack: Drill, tmp_path: Path, second: tuple[str, ...]) -> None:
    clone = Clone.make(tmp_path / "clone")
    clone.version("of the first")
    assert clone.inv("build").returncode == 0
    since = len(list(entries(stack.project.state.journal)))
    with begun("deploy", "--yes", log=tmp_path / "log", root=clone.root) as first:
        reason = until(
            lambda: "" if stack.step_began(since, "healthy backend-surge") else "not yet", PATIENCE, longest_pause=0.05
        )
        assert not reason, (tmp_path / "log").read_text()
        answer = clone.inv(*second)
        assert answer.returncode == 4, answer.stdout + answer.stderr
        assert "another operation is under way" in answer.stderr
        assert f"process {first.pid}" in answer.stderr
        # The step that it is at, whichever that is by now.
        assert re.search(r"since \S+.*backend-", answer.stderr), answer.stderr
        assert first.wait(PATIENCE) == 0, (tmp_path / "log").read_text()
    assert clone.inv("deploy", "--plan").stdout.splitlines()[-1] == "nothing to do"
