"""Rotations, and a login with every version of every secret."""

from __future__ import annotations

from ops.secrets import verifiers
from ops.secrets.table import BY_FILE, Target, rotatable
from ops.store import versions
from tests.drill.stack import Drill, succeeds


def rotated(*what: str) -> float:
    return succeeds("secrets.rotate", *what, "--yes")


def targets_of(stack: Drill) -> tuple[Target, ...]:
    deployed = stack.project.deployed.stack
    return rotatable(deployed, deployed.secrets)


KNOWN: dict[str, dict[int, str]] = {}
"""Secret -> version -> value, of what a test began with: the host itself keeps no former one."""


def remember(stack: Drill) -> None:
    state = stack.project.state
    for target in targets_of(stack):
        for number in versions.numbers(state, target.secret):
            KNOWN.setdefault(target.secret, {})[number] = versions.value_of(state, target.secret, number)


def newest(stack: Drill, target: Target) -> int:
    return max(versions.numbers(stack.project.state, target.secret))


def assert_newest_alone_is_accepted(stack: Drill, *targets: Target) -> None:
    for target in targets:
        last = newest(stack, target)
        assert verifiers.accepts(stack.project, target.to, target.secret, last), target
        if target.kind in BY_FILE:
            continue
        known = {number: value for number, value in KNOWN.get(target.secret, {}).items() if number < last}
        for older in sorted(known)[-2:]:
            accepts = verifiers.verifier_of(target.kind).accepts(stack.project, target.to.name, older, known[older])
            assert not accepts, f"{target}: {older}"
        assert versions.numbers(stack.project.state, target.secret) == [last], "former versions are still on this host"
