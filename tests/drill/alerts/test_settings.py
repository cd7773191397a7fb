"""Settings of receivers at work: quiet hours, and a mail server that asks for TLS and a login."""

from __future__ import annotations

import datetime as dt
import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ops.certificates import pki
from tests.drill.alerts.receivers import ARRIVES, Receivers, becomes, notifying
from tests.drill.conftest import Record
from tests.drill.stack import Drill
from tests.smoke.receivers import Closed, mail_server, own_address, serving

PASSWORD = "correct-horse"
QUIET_MINUTES = 6
"""Longer than the deploy takes that declares the hours, and the test of them."""
SILENT = 45.0


@dataclass(frozen=True)
class Settled:
    receivers: Receivers
    mails: list[str]
    quiet_until: dt.datetime


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, str]:
    """TLS of a server of that name, and the roots to check it against, in PEM form."""
    now = dt.datetime.now(dt.UTC)
    root = pki.make_root("drill", now)
    intermediate = pki.make_intermediate(root, "drill", now)
    leaf = pki.issue(intermediate, "mail", [name], now)
    file = folder / "mail.pem"
    file.write_bytes(leaf.key + leaf.certificate + intermediate.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context, root.certificate.decode()


@pytest.fixture(scope="module")
def settled(drill: Drill, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settled]:
    folder = tmp_path_factory.mktemp("settings")
    context, roots = certificate(folder, own_address())
    mails: list[str] = []
    end = (dt.datetime.now(dt.UTC) + dt.timedelta(minutes=QUIET_MINUTES)).replace(second=0, microsecond=0)
    begin = end - dt.timedelta(hours=2)

    with serving(mail_server(own_address(), mails, closed=Closed(context, "cc03", PASSWORD))) as mail:

        def declared(found: Receivers) -> dict[str, Any]:
            return {
                "receivers": [
                    {"name": "hook", "kind": "webhook", "server": found.hook},
                    {"name": "post", "kind": "email", "server": mail, "to": ["ops@example.com"], "sender": "cc03@example.com",
                     "user": "cc03", "ca": roots},
                ],
                "quiet_hours": {"begin": f"{begin:%H:%M}", "end": f"{end:%H:%M}"},
            }  # fmt: skip

        with notifying(drill, folder, declared, passwords={"post": PASSWORD}) as found:
            yield Settled(found, mails, end)


def test_warning_waits_for_the_end_of_quiet_hours_and_critical_does_not(settled: Settled, record: Record) -> None:
    receivers = settled.receivers
    left = (settled.quiet_until - dt.datetime.now(dt.UTC)).total_seconds()
    assert left > SILENT, "the deploy took too long"
    receivers.post("TrialQuiet", severity="warning", ends=1800)
    receivers.post("TrialUrgent", severity="critical")
    becomes(lambda: receivers.about("hook", "TrialUrgent", "firing"), "no notice")
    becomes(lambda: any("TrialUrgent" in one for one in settled.mails), "no message")
    while dt.datetime.now(dt.UTC) < settled.quiet_until:
        assert not receivers.about("hook", "TrialQuiet", "firing"), "delivered within quiet hours"
        time.sleep(1)
    becomes(lambda: receivers.about("hook", "TrialQuiet", "firing"), "not delivered after quiet hours", 2 * ARRIVES)
    record("a warning after the end of quiet hours", time.time() - settled.quiet_until.timestamp(), ARRIVES)
    receivers.post("TrialQuiet", severity="warning", ends=0)
    receivers.post("TrialUrgent", severity="critical", ends=0)


def outcome(settled: Settled) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(settled.receivers.inv("alerts.test", "--receiver", "post", "--json").stdout)
    (one,) = found
    return one


def test_mail_server_takes_messages_over_tls_after_a_login(settled: Settled) -> None:
    assert outcome(settled)["delivered"]
    assert any("Test of the delivery to post" in one for one in settled.mails)


def test_wrong_password_is_named(settled: Settled) -> None:
    settled.receivers.credential("post", "wrong-horse")
    settled.receivers.clone.deploy()
    found = outcome(settled)
    assert not found["delivered"] and "535" in found["why"], found
