"""The stack renews by itself what was issued by ACME: when its issuer says so; and an alert tells where it cannot."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography import x509

from ops.certificates.acme.client import Authority
from ops.certificates.acme.issuing import roots_file
from ops.certificates.acme.store import Book
from ops.core.process import until
from ops.stack.issuers import IssuerKeys
from tests.drill.acme.conftest import Acme, refused_by_nginx
from tests.drill.acme.test_failures import third
from tests.drill.certs.strict import shown, strict_clients
from tests.drill.certs.test_renewal import ticker_again
from tests.drill.conftest import Record
from tests.smoke.live import Live

PATIENCE = 180.0
PAST = 1.0
"""Seconds of the epoch."""


@pytest.fixture
def within() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def revoked(acme: Acme) -> None:
    """Have its issuer take the certificate in place back: from then on it says that it is to be renewed at once."""
    state = acme.drill.project.state
    issuer = IssuerKeys.model_validate(acme.first.entry()).issuer
    account = Book(state).account(issuer)
    assert account
    asked = Authority(issuer, account.key, roots_file(state, issuer), account.uri)
    served = (state.certs / "nginx" / "public.pem").read_bytes()
    asked.client.revoke(x509.load_pem_x509_certificate(served[served.find(b"-----BEGIN CERTIFICATE-----") :]), 0)


def test_certificate_is_renewed_by_the_stack_when_its_issuer_says_so(acme: Acme, record: Record) -> None:
    acme.declare(acme.first.entry())
    served = acme.certify()
    ahead = max(one["renew_at"] for one in acme.known()["issued"].values()) - time.time()
    assert ahead > 20 * 86400, "an ordinary one is renewed in weeks"
    revoked(acme)
    acme.amend(ask_at=PAST)
    with strict_clients(acme.drill) as met:
        began = time.monotonic()
        ticker_again(acme.drill)
        assert not until(lambda: "still the old one" if acme.serial() == served else "", PATIENCE)
        record(
            "a certificate that was revoked, replaced by the stack", time.monotonic() - began, note="from the ticker's start"
        )
    assert not refused_by_nginx(met)
    again = max(one["renew_at"] for one in acme.known()["issued"].values()) - time.time()
    assert again > 20 * 86400


def test_renewal_that_fails_is_told_by_an_alert_and_the_old_one_is_served(
    acme: Acme, within: ExitStack, record: Record
) -> None:  # fmt: skip
    made = third(acme, within)
    acme.declare(made.entry())
    acme.certify()
    made.pause()
    acme.amend(renew_at=PAST, ask_at=PAST)
    served = shown(acme.drill)
    began = time.monotonic()
    ticker_again(acme.drill)
    live = Trusting(acme.drill.project)
    assert not until(lambda: "" if alerts(live) else "no alert yet", PATIENCE)
    record("a failed renewal: until the alert is pending", time.monotonic() - began, note="it fires 15 min later")
    assert live.query('cc03_certificate_served{certificate="public",source="acme"} == 1')
    assert shown(acme.drill) == served

    # Once the issuer is back, and the pause is over, the stack renews by itself, and the alert goes.
    made.resume()
    state = acme.drill.project.state
    content = acme.known()
    acme.book.write_text(json.dumps({**content, "issuers": {}, "look_at": 0.0}))
    kept = state.ticker / "acme.json"
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "tried": 0.0}))
    ticker_again(acme.drill)
    assert not until(lambda: "still the old one" if shown(acme.drill) == served else "", PATIENCE)
    assert not until(lambda: "" if not alerts(live) else "the alert is still there", 2 * PATIENCE + 300)


class Trusting(Live):
    """The public name of a drill is that of the operator's pages, too: they show what was issued."""

    @property
    def ca(self) -> Path:
        return self.project.state.site_roots


def alerts(live: Live) -> list[object]:
    return list(live.query('ALERTS{alertname="AcmeRenewalFails"}'))
