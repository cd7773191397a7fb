"""Deploys, rollbacks, scalings and reloads under load: no request fails, no write is carried out twice."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drill.clone import Clone, Load, executed_twice, load, releases
from tests.drill.conftest import Record
from tests.drill.stack import Drill

DEPLOYS, ROLLBACKS, SCALINGS, RELOADS = 10, 5, 3, 5
DEPLOY_SECONDS, ROLLBACK_SECONDS = 20.0, 15.0
"""What is promised for a backend with two slots, its images built."""


@pytest.fixture(scope="module")
def clones(tmp_path_factory: pytest.TempPathFactory) -> list[Clone]:
    """Two versions of the product, their images built."""
    made = [Clone.make(tmp_path_factory.mktemp(f"version-{name}") / "clone") for name in "ab"]
    for clone, name in zip(made, "ab", strict=True):
        clone.version(name)
        answer = clone.inv("build")
        assert answer.returncode == 0, answer.stderr
    return made


@pytest.fixture
def users(stack: Drill, tmp_path: Path) -> Iterator[Load]:
    """Load all through the test; afterwards nothing may have failed."""
    twice = executed_twice(stack)
    with load(stack, tmp_path) as found:
        yield found
    summary = found.summary()
    print(summary)
    assert found.failures() == []
    assert executed_twice(stack) == twice


def told(users: Load) -> str:
    summary = users.summary()
    during, before = summary["p99_ms"]["during"], summary["p99_ms"]["before"]
    return f"{summary['failed']} of {summary['requests']} failed, p99 {during:.0f} ms (before: {before:.0f} ms)"


def test_deploys_that_alternate(clones: list[Clone], users: Load, record: Record) -> None:
    slowest = 0.0
    for number in range(DEPLOYS):
        began = time.monotonic()
        clones[number % 2].deploy()
        slowest = max(slowest, time.monotonic() - began)
    record(f"the slowest of {DEPLOYS} deploys of a changed backend", slowest, DEPLOY_SECONDS, told(users))


def test_rollbacks(clones: list[Clone], users: Load, record: Record) -> None:
    for clone in clones:
        clone.deploy()
    slowest = 0.0
    newest = releases(clones[0])[0]["release"]
    for number in range(ROLLBACKS):
        began = time.monotonic()
        answer = clones[0].inv("rollback", "--to", str(newest - 1 + number % 2), "--yes")
        slowest = max(slowest, time.monotonic() - began)
        assert answer.returncode == 0, answer.stderr
    record(f"the slowest of {ROLLBACKS} rollbacks", slowest, ROLLBACK_SECONDS, told(users))


def test_scalings(stack: Drill, clones: list[Clone], users: Load, record: Record) -> None:
    clones[0].deploy()
    for number in (4, 1, 2)[:SCALINGS]:
        began = time.monotonic()
        answer = clones[0].inv("scale", f"backend={number}", "--yes")
        record(f"inv scale backend={number}", time.monotonic() - began)
        assert answer.returncode == 0, answer.stderr
        assert len(stack.containers().keys() & {f"backend-{index}" for index in range(1, 9)}) == number
        # The next deploy remembers it.
        assert clones[0].inv("deploy", "--plan").stdout.splitlines()[-1] == "nothing to do"


def test_scaling_deploys_nothing_that_waits_in_the_checkout(stack: Drill, clones: list[Clone]) -> None:
    clones[0].deploy()
    before = stack.project.state.current.resolve()
    clones[0].put("config/nginx/waits.conf", "# not deployed yet\n")

    answer = clones[0].inv("scale", "backend=3", "--yes")

    assert answer.returncode == 0, answer.stderr
    after = stack.project.state.current.resolve()
    assert "backend-3" in stack.containers()
    assert not (after / "config" / "nginx" / "waits.conf").exists()
    same = [path.relative_to(before) for path in (before / "config").rglob("*") if path.is_file()]
    changed = {str(path) for path in same if (before / path).read_bytes() != (after / path).read_bytes()}
    assert changed == {"config/nginx/slots.conf", "config/nginx/upstreams.conf", "config/prometheus/targets/backend.yml"}
    assert clones[0].inv("scale", "backend=2", "--yes").returncode == 0
    (clones[0].root / "config" / "nginx" / "waits.conf").unlink()
    assert clones[0].inv("deploy", "--plan").stdout.splitlines()[-1] == "nothing to do"


def test_reloads(clones: list[Clone], users: Load, record: Record) -> None:
    clones[0].deploy()
    slowest = 0.0
    for number in range(RELOADS):
        clones[0].put("config/nginx/drill.conf", f"# reload {number}\n")
        began = time.monotonic()
        clones[0].deploy()
        slowest = max(slowest, time.monotonic() - began)
    record(f"the slowest of {RELOADS} reloads of nginx", slowest, None, told(users))
