"""What mutmut says becomes figures by file, and every file that is to be mutated is there."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from tests import mutation

PART: dict[str, Any] = {"folder": "."}
SAID = """
    ops.machine.disk.x_beside__mutmut_1: killed
    ops.machine.disk.x_beside__mutmut_2: timeout
    ops.machine.disk.x_to_disk__mutmut_1: survived
    ops.machine.lock.xǁHolderǁlives__mutmut_1: no tests
"""


def test_figures_and_what_nobody_noticed_are_printed_by_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert mutation.report(SAID, PART, ["ops/machine/disk.py", "ops/machine/lock.py"])
    assert capsys.readouterr().out.splitlines() == [
        "ops/machine/disk.py: 2 of 3 noticed, 67 %",
        "    x_to_disk__mutmut_1: survived",
        "ops/machine/lock.py: 0 of 1 noticed, 0 %",
        "    xǁHolderǁlives__mutmut_1: no tests",
    ]


def test_file_that_was_not_mutated_does_not_pass() -> None:
    killed = "\n".join(f"ops.machine.disk.x_a__mutmut_{number}: killed" for number in range(17))
    survived = "\n".join(f"ops.machine.disk.x_b__mutmut_{number}: survived" for number in range(3))
    assert not mutation.report(f"{killed}\n{survived}", PART, ["ops/machine/disk.py"])
    assert mutation.report(f"{killed}\n{survived}\nops.machine.disk.x_c__mutmut_1: survived", PART, ["ops/machine/disk.py"])
    assert mutation.report("", PART, ["ops/machine/disk.py"])


def test_what_is_mutated_and_the_tests_of_it_are_there() -> None:
    parts = tomllib.loads((mutation.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutation"]

    for part in parts.values():
        tests = [f"{part['folder']}/{path}" for path in part["mutmut"]["pytest_add_cli_args_test_selection"]]
        assert [path for path in [*part["files"], *tests] if not (mutation.ROOT / path).is_file()] == []
