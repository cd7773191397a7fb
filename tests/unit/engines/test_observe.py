"""What Podman says of images, and the kernel of containers, as facts."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops.core.errors import OpsError
from ops.core.process import Result
from ops.engines.engine import Usage
from ops.engines.podman import observe
from ops.engines.podman.host import Host

NGINX, REDIS = "localhost/cc03/nginx:1", "localhost/cc03/redis:1"


def host(*answers: tuple[int, str, str]) -> Host:
    """Podman answers one after the other: exit code, standard output, standard error."""
    left = list(answers)

    def run(argv: Any, **_: Any) -> Result:
        code, out, err = left.pop(0)
        return Result(tuple(argv), code, out, err, 0.0)

    return cast(Host, SimpleNamespace(run=run))


def test_images_that_are_asked_for_and_are_not_there_are_left_out() -> None:
    answer = (125, f"abc 1000 {NGINX} localhost/cc03/nginx:other\n", f"Error: inspecting object: {REDIS}: image not known\n")

    assert observe.own_images(host(answer), [NGINX, REDIS]) == {NGINX: "abc"}
    assert observe.identified(host(answer), [NGINX, REDIS]) == {NGINX: ("abc", 1000)}


def test_podman_is_not_asked_about_nothing() -> None:
    assert observe.own_images(host(), []) == {}


def test_image_of_which_podman_cannot_say_anything_is_not_taken_for_missing() -> None:
    with pytest.raises(OpsError, match="cannot say"):
        observe.own_images(host((125, "", "Error: layer not known\n")), [NGINX])


def test_list_that_was_disturbed_by_a_build_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "LISTING_PAUSE", 0.0)
    answers = (125, "", "Error: image not known"), (0, f"abc {NGINX}\ndef {REDIS}\n", "")

    assert observe.own_images(host(*answers)) == {NGINX: "abc", REDIS: "def"}


def test_usage_is_averaged_over_the_seconds_that_were_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, memory, stat = (tmp_path / name for name in ("cpu.stat", "memory.current", "memory.stat"))
    cpu.write_text("usage_usec 1000000\n")
    memory.write_text("3000")
    stat.write_text("inactive_file 1000\n")
    clock = [100.0]

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        cpu.write_text("usage_usec 3000000\n")

    monkeypatch.setattr(observe, "_files", lambda item: observe._Files(memory, stat, "inactive_file", cpu, 1e6))
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])

    assert observe.usage({"redis": {}}, 20.0) == {"redis": Usage(memory_bytes=2000, cpu_percent=10.0)}
    assert clock[0] == 120.0
