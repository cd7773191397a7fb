"""Outcomes become figures by file; the tests that reach a changed line are chosen; what is to be mutated is there."""

from __future__ import annotations

import os
import signal
import time
import tomllib
from collections import Counter

import pytest

from tests.mutation.__main__ import figures, share
from tests.mutation.trial import ROOT, SLOW, Reached
from tests.own_processes import guarded


def test_faults_that_end_in_time_or_never_are_noticed_and_all_others_are_not() -> None:
    counts = Counter({"killed": 16, "timeout": 1, "survived": 1, "no tests": 1, "not put in": 1})

    assert share(counts) == 85.0
    assert figures("a.py", counts, 20) == "a.py: 17 of 20 noticed, 1 of them by their time, 85 %"


def test_sample_is_called_one() -> None:
    assert figures("a.py", Counter({"killed": 3}), 40) == "a.py: 3 of 3 (a sample of 40) noticed, 100 %"


def test_file_without_a_fault_does_not_pass() -> None:
    assert share(Counter()) == 0.0


def test_tests_that_reach_a_line_are_run_the_quick_ones_first_and_slow_or_failing_ones_never() -> None:
    reached = Reached(cpu={0: 0.5, 1: 0.1, 2: 0.0, 3: 0.0, 5: 0.0}, waits={0: 0.0, 1: 0.0, 2: 0.3, 3: SLOW + 0.1, 5: 0.0})
    reached.failed[5] = "it fails"
    reached.by_line |= {("a.py", 7): {0, 1, 3, 5}, ("a.py", 8): {2}, ("b.py", 7): {4}}

    assert reached.tests("a.py", range(7, 9)) == [1, 2, 0]
    assert reached.tests("a.py", range(9, 12)) == []


def test_what_is_mutated_and_the_tests_of_it_are_there() -> None:
    parts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutation"]

    for part in parts.values():
        tests = [f"{part['tests']}/{name}" for names in part["files"].values() for name in names]
        assert [path for path in [*part["files"], *tests] if not (ROOT / path).is_file()] == []


def test_signals_reach_own_processes_alone() -> None:
    sent: list[tuple[int, int]] = []
    refused: list[str] = []
    send = guarded(lambda pid, number: sent.append((pid, number)), lambda: refused.append("refused"))
    child = os.fork()
    if not child:
        time.sleep(60)
        os._exit(0)

    for pid in (child, os.getpid(), os.getppid(), 1, 0, -1):
        send(pid, 9)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)

    assert sent == [(child, 9), (os.getpid(), 9)] and len(refused) == 4
    with pytest.raises(ProcessLookupError):
        send(child, 9)
    with pytest.raises(pytest.fail.Exception, match=r"os\.kill"):
        os.kill(os.getppid(), 0)
