"""The prober against the live stack, and who may ask what it asks."""

from __future__ import annotations

import socket
import ssl
import sys
import time
from pathlib import Path

import pytest

from ops.core.files import dump
from ops.core.process import run
from ops.core.state import State
from ops.deploy.measure import KINDS, Sample, summarise
from ops.deploy.measurement import measured, prober_config
from tests.smoke.live import Live

SECONDS = 5.0


@pytest.fixture(scope="module")
def samples(live: Live, tmp_path_factory: pytest.TempPathFactory) -> tuple[Sample, ...]:
    """Every kind of request for some seconds, and one slow download to its end."""
    project = live.project
    state = State(tmp_path_factory.mktemp("state"))
    (state.root / "ca").symlink_to(live.ca.parent)
    with measured(project.settings, project.ports, state, 60) as found:
        found.baseline(SECONDS)
        # A download takes as long as the whole measurement; it has to end to count.
        time.sleep(2)
    assert found.note == ""
    return found.samples


def test_every_kind_of_request_is_answered(samples: tuple[Sample, ...]) -> None:
    assert {sample.kind for sample in samples} == set(KINDS)
    assert [sample for sample in samples if sample.failed] == []
    assert {(sample.kind, sample.status) for sample in samples} == {
        ("get", 200), ("post", 201), ("websocket", 101), ("download", 200),
    }  # fmt: skip


def test_requests_keep_to_their_rate_and_mixture(live: Live, samples: tuple[Sample, ...]) -> None:
    rate = live.project.settings.prober.rate
    due = sorted(sample.at for sample in samples if sample.kind in {"get", "post"})
    posts = sum(sample.kind == "post" for sample in samples)

    assert len(due) >= SECONDS * rate
    assert (len(due) - 1) / (due[-1] - due[0]) == pytest.approx(rate, rel=0.01)
    assert posts == pytest.approx(len(due) / 5, abs=1)


def test_every_write_was_carried_out_once(samples: tuple[Sample, ...]) -> None:
    assert {sample.attempts for sample in samples if sample.kind == "post"} == {1}


def test_summary_has_figures(samples: tuple[Sample, ...]) -> None:
    began = min(sample.at for sample in samples) + 2
    found = summarise(samples, began, began + 2)

    assert (found["failed"], found["repeated"], found["refused"]) == (0, 0, 0)
    assert all(value > 0 for window in ("p50_ms", "p99_ms") for value in found[window].values())


def test_prober_does_not_outlive_its_parent(live: Live, tmp_path: Path) -> None:
    """Its standard input has ended before it began."""
    state = State(tmp_path)
    state.prober.mkdir()
    config = {**prober_config(live.project.settings, live.ports, state, 60), "ca": str(live.ca)}
    (tmp_path / "config.json").write_text(dump(config))

    ended = run((sys.executable, "-m", "ops.deploy.prober", str(tmp_path / "config.json")), timeout=30, stdin="")
    assert ended.seconds < 20


@pytest.mark.parametrize(
    "path", ["/api/v1/probe", "/api/v1/probe/slow", "/api/v1/probe/ws", "/api/v1/%70robe", "/api//v1/probe"]
)
def test_another_container_gets_nothing_through_the_edge(live: Live, path: str) -> None:
    address = live.container("edge")["NetworkSettings"]["Networks"][f"{live.project.name}-frontend"]["IPAddress"]
    context = ssl.create_default_context(cafile=str(live.ca))
    with live.network(live.slots("frontend")[0]):
        raw = socket.create_connection((address, 8443), 5)
    with context.wrap_socket(raw, server_hostname=live.domain) as secured:
        secured.sendall(f"GET {path} HTTP/1.1\r\nHost: {live.domain}\r\nConnection: close\r\n\r\n".encode())
        assert secured.recv(100).startswith(b"HTTP/1.1 404 ")


def test_repeated_write_is_counted(live: Live) -> None:
    key = f"smoke-{time.time_ns()}"
    answers = [live.site("POST", "/api/v1/probe", headers={"Idempotency-Key": key}) for _ in range(2)]

    assert [(answer.status_code, answer.json()) for answer in answers] == [
        (201, {"key": key, "attempts": 1}),
        (201, {"key": key, "attempts": 2}),
    ]
    assert live.site("POST", "/api/v1/probe").status_code == 400
