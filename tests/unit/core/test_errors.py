"""Errors as the operator and scripts see them."""

from __future__ import annotations

import pytest

from ops.core.errors import HostLacks, LockHeld, NeedsPerson, OpsError, UsageProblem, did_you_mean


def test_no_name_is_known_or_too_many_to_print() -> None:
    assert did_you_mean("x", ()) == "there is none yet"
    assert did_you_mean("zzz", {f"secret-{number}" for number in range(60)}) == "no name is similar"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("rest", "known: nginx, postgres, redis"),
        ("postgre", 'did you mean "postgres"?'),
        ("ngnix", 'did you mean "nginx"?'),
        ("zzz", "known: nginx, postgres, redis"),
        ("", "known: nginx, postgres, redis"),
    ],
)
def test_did_you_mean(given: str, expected: str) -> None:
    assert did_you_mean(given, {"redis", "postgres", "nginx"}) == expected


def test_error_is_told_in_three_lines() -> None:
    problem = OpsError("cannot build nginx", "the disk is full", "inv images.prune")

    assert problem.lines() == ("failed: cannot build nginx", "   why: the disk is full", "  next: inv images.prune")
    assert str(problem) == "cannot build nginx"


def test_each_kind_has_the_exit_code_that_scripts_rely_on() -> None:
    codes = {kind.__name__: kind.exit_code for kind in (OpsError, UsageProblem, HostLacks, LockHeld, NeedsPerson)}

    assert codes == {"OpsError": 1, "UsageProblem": 2, "HostLacks": 3, "LockHeld": 4, "NeedsPerson": 5}
    assert all(issubclass(kind, OpsError) for kind in (UsageProblem, HostLacks, LockHeld, NeedsPerson))
