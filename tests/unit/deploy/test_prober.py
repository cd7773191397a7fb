"""The prober, as far as it needs no network: what it asks, how it words a failure, and that a deploy never fails through it."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ops.core.errors import HostLacks
from ops.core.state import State
from ops.deploy import measurement, prober
from ops.deploy.measure import Sample
from ops.deploy.measurement import measured, prober_config
from ops.deploy.prober import Config, attempts_told, kinds, said
from tests.unit.builders import settings

PORTS = {"http": 80, "https": 8443, "ops": 9443}


def config(**changed: Any) -> Config:
    return Config(**{**prober_config(settings(""), PORTS, State(Path("/state")), 60), **changed})


def test_reads_and_writes_are_four_to_one_and_evenly_mixed() -> None:
    asked = list(itertools.islice(kinds(config()), 100))

    assert Counter(asked) == {"get": 80, "post": 20}
    assert asked[:5] == ["get"] * 4 + ["post"]


@pytest.mark.parametrize(("left_out", "asked"), [("get", "post"), ("post", "get")])
def test_what_is_left_out_is_made_up_for(left_out: str, asked: str) -> None:
    assert set(itertools.islice(kinds(config(**{left_out: ""})), 20)) == {asked}


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b'{"key": "a", "attempts": 2}', 2), (b'{"key": "a"}', None), (b"[]", None), (b"<html>", None), (b"\xff", None)],
)
def test_attempts_are_noted_where_the_answer_tells(body: bytes, expected: int | None) -> None:
    assert attempts_told(body) == expected


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (TimeoutError(), "no answer in time"),
        (aiohttp.ServerTimeoutError(), "no answer in time"),
        (aiohttp.ServerDisconnectedError(), "the connection was closed before the answer"),
        (aiohttp.ClientPayloadError("x"), "the answer was cut short"),
        (ConnectionResetError("reset\nby peer"), "ConnectionResetError: reset"),
        (aiohttp.ClientError(), "ClientError"),
    ],
)
def test_failure_is_told_in_one_line(problem: Exception, words: str) -> None:
    assert said(problem) == words


def test_every_name_leads_to_the_one_address() -> None:
    (found,) = asyncio.run(prober.Here("192.0.2.7").resolve("shop.example.com", 443))

    assert (found["hostname"], found["host"], found["port"]) == ("shop.example.com", "192.0.2.7", 443)


@pytest.mark.parametrize("text", ["{", "{}", '{"colour": 1}', None])
def test_configuration_that_cannot_be_meant_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)

    assert prober.main([str(path)]) == prober.main([]) == 2
    assert "usage: python -m ops.deploy.prober CONFIG.json" in capsys.readouterr().err


# ---- Beside a deploy


def test_prober_is_given_exactly_what_it_takes() -> None:
    found = prober_config(settings("domain: shop.example.com\nprober: {rate: 5, post: ''}"), PORTS, State(Path("/state")), 60)

    assert set(found) == {field.name for field in dataclasses.fields(Config)}
    assert (found["base_url"], found["rate"], found["post"]) == ("https://shop.example.com:8443", 5, "")
    assert (found["ca"], found["out"]) == ("/state/ca/root.pem", "/state/prober/samples.jsonl")


def beside(monkeypatch: pytest.MonkeyPatch, lines: str = "", code: int | None = None, says: str = "") -> list[dict[str, Any]]:
    """A prober that writes these lines, says something and has ended with a code (None: still runs). Its configurations."""
    started: list[dict[str, Any]] = []

    @contextmanager
    def alongside(argv: tuple[str, ...], *, log: Path, env: dict[str, str]) -> Iterator[Callable[[], int | None]]:
        started.append(json.loads(Path(argv[-1]).read_text()))
        Path(started[-1]["out"]).write_text(lines)
        log.write_text(says)
        yield lambda: code

    monkeypatch.setattr(measurement, "alongside", alongside)
    return started


def test_samples_can_be_read_during_and_after_the_deploy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = Sample(at=1.5, kind="get", ms=2.0, status=200)
    started = beside(monkeypatch, one.as_line())
    with measured(settings(""), PORTS, State(tmp_path), 60) as found:
        assert found.samples == (one,)

    assert (found.samples, found.note) == ((one,), "")
    assert [each["seconds"] for each in started] == [60]


def test_samples_of_an_earlier_deploy_are_gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    state = State(tmp_path)
    state.prober.mkdir()
    (state.prober / "samples.jsonl").write_text(Sample(at=1, kind="get", ms=1).as_line())
    beside(monkeypatch)
    with measured(settings(""), PORTS, state, 60) as found:
        pass

    assert (found.samples, found.note) == ((), "not measured: no request of the prober has ended")


@pytest.mark.parametrize("text", ["prober: {rate: 0}", "prober: {get: '', post: '', websocket: '', download: ''}"])
def test_nothing_to_ask_is_a_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    started = beside(monkeypatch)
    with measured(settings(text), PORTS, State(tmp_path), 60) as found:
        found.baseline(60)

    assert (started, found.note) == ([], "not measured: the settings of the prober leave no request to send")


@pytest.mark.parametrize("problem", [HostLacks("cannot run python", "not installed", "install it"), OSError("no space")])
def test_prober_that_cannot_start_is_a_note_and_the_deploy_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, problem: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr(measurement, "alongside", fail)
    deployed = False
    with measured(settings(""), PORTS, State(tmp_path), 60) as found:
        deployed = True

    assert deployed
    assert found.note in {"not measured: not installed", "not measured: no space"}
    assert found.samples == ()


@pytest.mark.parametrize(
    ("code", "words"), [(1, "exit code 1: No module named aiohttp"), (0, "reached its time limit before the deploy ended")]
)
def test_prober_that_ended_early_is_a_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, words: str) -> None:
    beside(monkeypatch, Sample(at=1, kind="get", ms=1).as_line(), code, "No module named aiohttp")
    with measured(settings(""), PORTS, State(tmp_path), 60) as found:
        found.baseline(60)

    assert words in found.note
    assert len(found.samples) == 1


def test_failure_of_the_deploy_passes_through(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    beside(monkeypatch, code=1)
    with pytest.raises(ZeroDivisionError), measured(settings(""), PORTS, State(tmp_path), 60):
        _ = 1 / 0
