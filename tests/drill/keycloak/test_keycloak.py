"""Each failure made for real: named first, alone, and in time; then mended without a user, a client or a realm lost."""

from __future__ import annotations

import time

import pytest

from ops.core.process import until
from tests.drill.conftest import Record
from tests.drill.keycloak.breakage import Breakage
from tests.drill.keycloak.breakages import BREAKAGES, PAIRS
from tests.drill.keycloak.hands import DIAGNOSE_ONLY, Keycloak
from tests.drill.stack import inv

DIAGNOSIS_SECONDS = 5.0
REPAIR_SECONDS = 60.0
"""Promised for the median of all repairs."""


def told(diagnosis: dict[str, object]) -> str:
    findings = diagnosis["findings"]
    assert isinstance(findings, list)
    return "; ".join(
        f"{one['id']}{'' if one['certain'] else ' (by the log)'}: {', '.join(one['saw'])[:160]}" for one in findings
    )


@pytest.mark.parametrize("breakage", BREAKAGES, ids=str)
def test_failure_is_named_and_mended(sound: Keycloak, breakage: Breakage, record: Record) -> None:
    before, passed = sound.counts(), False
    try:
        if breakage.unwatched:
            sound.end_watch()
        breakage.break_it(sound)
        reason = until(lambda: breakage.suffers(sound), breakage.suffers_within, longest_pause=0.5)
        assert not reason, f"after {breakage.suffers_within:.0f} s: {reason}"
        diagnosis = sound.diagnosis()
        record(f"diagnosis: {breakage.id}", diagnosis["seconds"], DIAGNOSIS_SECONDS, told(diagnosis)[:100])
        found = diagnosis["findings"]
        assert found and found[0]["id"] == breakage.finding, f"{told(diagnosis) or 'nothing'}; not seen: {diagnosis['unread']}"
        certain = {one["id"] for one in found if one["certain"]}
        assert certain <= {breakage.finding, *breakage.beside}, told(diagnosis)
        assert diagnosis["seconds"] <= DIAGNOSIS_SECONDS
        if not DIAGNOSE_ONLY and breakage.mends:
            mended(sound, breakage.id, "" if breakage.loses else before, record)
        passed = True
    finally:
        sound.put_right(breakage.undo, by_hand=not passed)
        if breakage.unwatched:
            sound.watch()


@pytest.mark.parametrize("both", PAIRS, ids=lambda both: "+".join(one.id for one in both))
def test_two_failures_at_once_are_both_named_and_mended(
    sound: Keycloak, both: tuple[Breakage, Breakage], record: Record
) -> None:  # fmt: skip
    before, passed = sound.counts(), False
    try:
        if any(one.unwatched for one in both):
            sound.end_watch()
        for one in both:
            one.break_it(sound)
        reason = until(lambda: both[1].suffers(sound), both[1].suffers_within, longest_pause=0.5)
        assert not reason, f"after {both[1].suffers_within:.0f} s: {reason}"
        diagnosis = sound.diagnosis()
        record(f"diagnosis: {both[0].id} and {both[1].id}", diagnosis["seconds"], DIAGNOSIS_SECONDS, told(diagnosis)[:100])
        certain = {one["id"] for one in diagnosis["findings"] if one["certain"]}
        wanted = {one.finding for one in both}
        assert wanted <= certain <= wanted.union(*(one.beside for one in both)), told(diagnosis)
        assert diagnosis["seconds"] <= DIAGNOSIS_SECONDS
        if not DIAGNOSE_ONLY and all(one.mends for one in both):
            mended(sound, f"{both[0].id} and {both[1].id}", before, record)
        passed = True
    finally:
        sound.put_right(*(one.undo for one in reversed(both)), by_hand=not passed)
        if any(one.unwatched for one in both):
            sound.watch()


def mended(keycloak: Keycloak, what: str, before: str, record: Record) -> None:
    began = time.monotonic()
    answer = inv("keycloak.fix", "--yes")
    seconds = time.monotonic() - began
    assert answer.returncode == 0, answer.stdout + answer.stderr
    problem = keycloak.login_problem()
    record(f"repair: {what}", seconds, REPAIR_SECONDS, problem)
    assert not problem, problem
    assert not before or keycloak.counts() == before, "rows are lost"
    assert told(keycloak.diagnosis()) == ""
