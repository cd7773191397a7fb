"""When the stack renews by itself, how long it pauses after a failure, and what it tells Prometheus."""

from __future__ import annotations

import hashlib
import json
import os
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ops.certificates import authority, pki
from ops.certificates.served import watch
from ops.certificates.served.handshake import Served, difference, stored
from ops.certificates.served.watch import CertificateWatch, Renewal, due_of, exposition
from ops.core.errors import LockHeld
from ops.core.process import Result
from ops.core.state import State
from ops.engines.podman.supervisor import command
from ops.engines.podman.supervisor.health import present
from ops.stack.listener import Listener

NOW = 1_000_000.0
GOOD = Served(b"der", "", expires=NOW + 100, renew_after=NOW + 50)


def listener(file: Path = Path("/none"), *, public: bool = False) -> Listener:
    return Listener("nginx", "nginx", "nginx", "cc03-nginx", "10.0.0.2", 8443, "tls", "nginx", str(file), "/ca.pem", public)


def wanted(at: Listener) -> dict[str, Any]:
    return {"listeners": [asdict(at)]}


@pytest.mark.parametrize(
    ("served", "due"),
    [
        (GOOD, ""),
        (Served(b"der", "", NOW + 100, NOW), "nginx is due"),
        (Served(b"", "no handshake: Connection refused"), "nginx:8443: no handshake: Connection refused"),
    ],
)
def test_what_is_due_or_refused_is_renewed(served: Served, due: str) -> None:
    assert due_of(listener(), served, NOW) == due


def test_certificate_from_elsewhere_is_not_renewed_and_a_link_to_ours_is(tmp_path: Path) -> None:
    own, late = tmp_path / "public.pem", Served(b"der", "", NOW + 100, NOW)
    own.write_text("pem")
    assert due_of(listener(own, public=True), late, NOW) == ""
    own.unlink()
    own.symlink_to("tls.pem")
    assert due_of(listener(own, public=True), late, NOW) == "nginx is due"


@pytest.mark.parametrize(("failures", "pause"), [(0, 0), (1, 600), (2, 1200), (4, 4800), (9, 21600), (60, 21600)])
def test_pause_after_failures_doubles_and_has_an_end(failures: int, pause: float) -> None:
    renewal = Renewal(failures, tried=NOW)
    assert renewal.ready(NOW + pause)
    assert pause == 0 or not renewal.ready(NOW + pause - 1)


def test_difference_tells_what_is_wrong(tmp_path: Path) -> None:
    assert difference(listener(tmp_path / "none"), GOOD) == "it serves another certificate than the stored one"
    assert difference(listener(), Served(b"", "clients refuse it: expired")) == "clients refuse it: expired"


class Watched(CertificateWatch):
    """Its listeners show what the test says."""

    shown: Served = GOOD

    def _look(self, listeners: Any, found: Any) -> list[watch.Seen]:
        return [(at, self.shown, "") for at in listeners]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    for name in ("ticker", "metrics", "certs/nginx", "ca"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "ticker" / "command.json").write_text(json.dumps({"python": "/venv/python", "repository": "/checkout"}))
    (tmp_path / "ca" / "expires.json").write_text(json.dumps({"root": 5.0}))
    return Watched(tmp_path, lambda text: None)


def outcome(monkeypatch: pytest.MonkeyPatch, code: int) -> list[tuple[str, ...]]:
    ran: list[tuple[str, ...]] = []

    def run(argv: Any, **_: Any) -> Result:
        ran.append(tuple(argv))
        return Result(tuple(argv), code, "", "why it failed", 1.0)

    monkeypatch.setattr(command, "run", run)
    return ran


def test_nothing_is_run_while_nothing_is_due_and_the_metrics_are_written(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    watched.shown = Served(b"der", "", time.time() + 100, time.time() + 50)
    ran = outcome(monkeypatch, 0)
    watched.round(wanted(listener()), {}, busy=False)

    assert ran == []
    text = (watched.state / "metrics" / "certificates.prom").read_text()
    assert 'cc03_certificate_served{certificate="nginx",service="nginx",listener="nginx:8443",source="internal"} 1' in text
    assert 'cc03_authority_expires_timestamp_seconds{authority="root"} 5' in text


def test_renewal_is_run_counted_and_left_alone_after_a_failure(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = outcome(monkeypatch, 1)
    for _ in range(2):
        watched.looked = float("-inf")
        watched.round(wanted(listener()), {}, busy=False)

    assert len(ran) == 1 and ran[0][-3:] == ("certs.rotate", "--due", "--yes")
    kept = json.loads((watched.state / "ticker" / "renewal.json").read_text())
    assert (kept["failures"], kept["why"]) == (1, "why it failed")
    assert "cc03_certificate_renewal_failures 1" in (watched.state / "metrics" / "certificates.prom").read_text()

    outcome(monkeypatch, 0)
    (watched.state / "ticker" / "renewal.json").unlink()
    watched.looked = float("-inf")
    watched.round(wanted(listener()), {}, busy=False)
    kept = json.loads((watched.state / "ticker" / "renewal.json").read_text())
    assert kept["failures"] == 0 and kept["succeeded"] > 0


def test_failures_are_forgotten_once_a_person_has_renewed(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    (watched.state / "ticker" / "renewal.json").write_text(
        json.dumps({"failures": 3, "tried": NOW, "succeeded": 7.0, "why": "x"})
    )
    watched.shown = Served(b"der", "", time.time() + 100, time.time() + 50)
    watched.round(wanted(listener()), {}, busy=False)

    kept = json.loads((watched.state / "ticker" / "renewal.json").read_text())
    assert (kept["failures"], kept["succeeded"], kept["why"]) == (0, 7.0, "")


def test_lock_held_by_another_command_is_no_failure(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome(monkeypatch, LockHeld.exit_code)
    watched.round(wanted(listener()), {}, busy=False)

    assert not (watched.state / "ticker" / "renewal.json").exists()


def test_list_of_a_release_without_listeners_is_taken_up(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = outcome(monkeypatch, 0)
    watched.round({"targets": []}, {}, busy=False)
    assert ran == [] and not (watched.state / "metrics" / "certificates.prom").exists()


def test_rotation_that_was_broken_off_is_brought_to_its_end(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.shown = Served(b"der", "", time.time() + 100, time.time() + 50)
    (watched.state / "certs" / "nginx" / ".tls.pem.previous").write_text("pem")
    ran = outcome(monkeypatch, 0)
    watched.round(wanted(listener()), {}, busy=True)
    assert ran == [], "a command is at work"
    watched.round(wanted(listener()), {}, busy=False)
    assert len(ran) == 1


def test_certificate_that_is_refused_has_no_end_in_the_metrics() -> None:
    text = exposition([(listener(), Served(b"", "refused"), "refused")], Renewal(), Renewal(), {}, {})
    assert "cc03_certificate_served{" in text and "} 0" in text
    assert "cc03_certificate_expires_timestamp_seconds{" not in text


@pytest.fixture
def issued(watched: Watched) -> Callable[..., Listener]:
    """The site has a certificate by ACME; the book says what the test says."""
    file = watched.state / "certs" / "nginx" / "public.pem"
    pem = pki.make_root("first", datetime.now(UTC)).certificate
    file.write_bytes(pem)
    mark = hashlib.sha256(stored(file)).hexdigest()
    (watched.state / "acme").mkdir()
    watched.shown = Served(b"der", "", time.time() + 100, time.time() - 50)

    def say(renew_at: float, look_at: float, mark: str = mark) -> Listener:
        known = {mark: {"issuer": "first", "renew_at": renew_at}}
        tries = {"first": {"failures": 2}, "second": {"failures": 0}}
        (watched.state / "acme" / "book.json").write_text(json.dumps({"issued": known, "look_at": look_at, "issuers": tries}))
        return listener(file, public=True)

    return say


def looked(watched: Watched, at: Listener) -> str:
    """The metrics of one more look, and of what it has set going."""
    watched.looked = float("-inf")
    for _ in range(2):
        watched.round(wanted(at), {}, busy=False)
        if watched.asking:
            watched.asking.join()
    return (watched.state / "metrics" / "certificates.prom").read_text()


def test_issuer_is_asked_when_the_book_says_so_and_not_before(
    watched: Watched, issued: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, now = outcome(monkeypatch, 0), time.time()
    text = looked(watched, issued(now + 900, now + 600))
    assert ran == [], "though two thirds of its life are over: the issuer has said when"
    assert 'source="acme"' in text and 'cc03_acme_renewal_timestamp_seconds{certificate="nginx",issuer="first"}' in text
    assert "cc03_acme_renewal_failures 0" in text and 'cc03_acme_issuer_failures{issuer="first"} 2' in text

    looked(watched, issued(now + 900, now - 1))
    assert ran[0][-3:] == ("certs.acme", "--due", "--yes")


def test_renewal_by_acme_that_fails_is_counted_apart_and_left_alone(
    watched: Watched, issued: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, now = outcome(monkeypatch, 1), time.time()
    text = looked(watched, issued(now - 5, now - 5))
    assert len(ran) == 1
    assert "cc03_acme_renewal_failures 1" in text and "cc03_certificate_renewal_failures 0" in text

    text = looked(watched, issued(now + 900, now + 600))
    assert len(ran) == 1 and "cc03_acme_renewal_failures 0" in text, "a person has renewed it"


def test_one_that_a_person_put_in_its_place_is_left_alone(
    watched: Watched, issued: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = outcome(monkeypatch, 0)
    assert 'source="imported"' in looked(watched, issued(0, 0, mark="another"))
    assert ran == []


def test_issuer_that_keeps_silent_holds_up_nobody_and_is_asked_once(
    watched: Watched, issued: Callable[..., Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, asked = threading.Event(), []

    def silent(argv: Any, **_: Any) -> Result:
        asked.append(argv)
        answer.wait(10)
        return Result(tuple(argv), 0, "", "", 1.0)

    monkeypatch.setattr(command, "run", silent)
    at = issued(0, 0)
    for _ in range(3):
        watched.looked = float("-inf")
        watched.round(wanted(at), {}, busy=False)
    assert len(asked) == 1 and (watched.state / "metrics" / "certificates.prom").exists()
    answer.set()
    assert watched.asking
    watched.asking.join()


def test_stack_that_never_asked_an_issuer_says_nothing_of_any(watched: Watched) -> None:
    watched.shown = Served(b"der", "", time.time() + 100, time.time() + 50)
    watched.round(wanted(listener()), {}, busy=False)
    assert "acme" not in (watched.state / "metrics" / "certificates.prom").read_text()


def test_client_shows_a_certificate_that_is_replaced_while_it_is_read(tmp_path: Path) -> None:
    """OpenSSL opens the file twice; the second time another pair lies there."""
    state, names = State(tmp_path / "cc03"), ("nginx",)
    state.prepare()
    authority.issue_certificate(state, "cc03", "nginx", os.getuid(), names)
    file, other = state.certs / "nginx" / "tls.pem", tmp_path / "other.pem"
    other.write_bytes(authority.new_leaf(state, "cc03", "nginx", names))
    keys = [other]

    class Context(ssl.SSLContext):
        def load_cert_chain(self, certfile: Any, keyfile: Any = None, password: Any = None) -> None:
            super().load_cert_chain(certfile, keys.pop() if keys else None, password)

    present(Context(ssl.PROTOCOL_TLS_CLIENT), str(file))
    assert not keys
    file.write_text("half a file")
    with pytest.raises(ssl.SSLError):
        present(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), str(file))
