"""CPU over the time between two samples, which the caller chooses."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ops.engines.engine import Usage
from ops.engines.podman import observe as module
from ops.engines.podman.observe import usage


def test_usage_is_averaged_over_the_seconds_that_were_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, memory, stat = (tmp_path / name for name in ("cpu.stat", "memory.current", "memory.stat"))
    cpu.write_text("usage_usec 1000000\n")
    memory.write_text("3000")
    stat.write_text("inactive_file 1000\n")
    clock = [100.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        cpu.write_text("usage_usec 3000000\n")

    monkeypatch.setattr(module, "_files", lambda item: module._Files(memory, stat, "inactive_file", cpu, 1e6))
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    assert usage({"redis": {}}, 20.0) == {"redis": Usage(memory_bytes=2000, cpu_percent=10.0)}
    assert clock[0] == 120.0
