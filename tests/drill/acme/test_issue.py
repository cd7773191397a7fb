"""Real issuers certify the public name: through nginx, by the DNS, for customers only, and as a rehearsal."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest
import requests

from tests.drill.acme.conftest import PUBLIC, Acme, refused_by_nginx
from tests.drill.acme.servers import EAB_KEY, Pebble
from tests.drill.certs.strict import shown, strict_clients
from tests.drill.conftest import Record
from tests.drill.stack import inv

MANY = 50
"""Percent of all good nonces."""


def test_terms_are_accepted_by_a_person_or_no_account_is_opened(acme: Acme) -> None:
    before = shown(acme.drill)
    answer = acme.ask()
    assert answer.returncode == 2 and "Do%20what%20thou%20wilt" in answer.stderr, answer.stdout + answer.stderr
    assert not list(acme.drill.project.state.acme.glob("*.key"))
    assert shown(acme.drill) == before


def test_certificate_is_issued_through_nginx_under_strict_clients(acme: Acme, record: Record) -> None:
    before = shown(acme.drill)
    with strict_clients(acme.drill) as met:
        began = time.monotonic()
        acme.certify()
        took = time.monotonic() - began
        time.sleep(2)
    record("certs.acme, with its account", took, note=f"{met.made} handshakes, {met.refused.total()} failed")

    now = shown(acme.drill)
    assert not refused_by_nginx(met)
    assert {at for at in now if now[at] != before[at]} == {PUBLIC}
    assert inv("certs").returncode == 0
    # Neither a rotation nor a deploy replaces it, and it is not asked for again.
    assert inv("certs.rotate", "--yes").returncode == 0
    acme.drill.assert_as_wanted()
    again = acme.ask()
    assert again.returncode == 0 and "it is renewed about" in again.stdout, again.stdout + again.stderr
    assert shown(acme.drill)[PUBLIC] == now[PUBLIC]
    assert acme.certify("--again") != now[PUBLIC]


def test_keys_are_for_root_alone_and_nothing_is_left_for_challengers(acme: Acme) -> None:
    acme.certify()
    state = acme.drill.project.state
    assert stat.S_IMODE(state.acme.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in state.acme.iterdir()} == {0o600}
    assert not list(state.challenges.iterdir())
    site = f"http://127.0.0.1:{acme.drill.project.ports['http']}/.well-known/acme-challenge"
    (state.challenges / "known").write_text("answer")
    try:
        asked = requests.get(f"{site}/known", headers={"Host": "any.example.com"}, timeout=5, allow_redirects=False)
        assert (asked.status_code, asked.text) == (200, "answer")
    finally:
        (state.challenges / "known").unlink()
    for other in ("none", "..%2f..%2ftls%2ftls.pem", ".hidden", ""):
        answer = requests.get(f"{site}/{other}", timeout=5, allow_redirects=False)
        assert answer.status_code in (308, 400, 404) and "PRIVATE" not in answer.text, other


@pytest.fixture
def special(acme: Acme, request: pytest.FixtureRequest) -> Pebble:
    """A third issuer, with the quirks that the test names."""
    made = Pebble(acme.drill, "third", acme.folder / "third", acme.names, **request.param)
    request.addfinalizer(made.remove)
    made.start()
    return made


@pytest.mark.parametrize("special", [{"rejects": MANY}], indirect=True, ids=["half of all nonces"])
def test_refused_nonces_are_no_failure(acme: Acme, special: Pebble, record: Record) -> None:
    acme.declare(special.entry())
    before, began = acme.serial(), time.monotonic()
    for _ in range(3):
        after = acme.certify("--again")
        assert after != before
        before = after
    record("certs.acme, half of all nonces refused", (time.monotonic() - began) / 3)


def test_name_is_proved_by_a_record_in_the_dns(acme: Acme, record: Record) -> None:
    acme.declare(acme.first.entry(), challenge="dns-01", hook=str(acme.names.hook(acme.folder)))
    before, began = acme.serial(), time.monotonic()
    assert acme.certify() != before
    record("certs.acme by the DNS", time.monotonic() - began)


def test_hook_that_fails_costs_no_try_at_the_issuer(acme: Acme) -> None:
    hook = acme.folder / "bad-hook"
    hook.write_text("#!/bin/sh\necho the provider is away\nexit 1\n")
    hook.chmod(0o755)
    acme.declare(acme.first.entry(), challenge="dns-01", hook=str(hook))
    before = shown(acme.drill)
    answer = acme.ask("--accept-terms")
    assert answer.returncode == 1 and "the provider is away" in answer.stderr, answer.stdout + answer.stderr
    assert "issuers" not in acme.known()
    assert shown(acme.drill) == before


@pytest.mark.parametrize("special", [{"eab": True}], indirect=True, ids=["customers only"])
def test_issuer_for_customers_only_is_shown_the_key_of_the_external_account(acme: Acme, special: Pebble) -> None:
    key = acme.folder / "customer.key"
    key.write_text(EAB_KEY + "\n")
    key.chmod(0o644)
    before = acme.serial()
    acme.declare(special.entry())
    assert "its own customers" in acme.ask("--accept-terms").stderr
    acme.declare(special.entry(eab={"key_id": "customer", "key_file": str(key)}))
    assert "can be read by others" in acme.ask("--accept-terms").stderr
    key.chmod(0o600)
    assert acme.certify() != before
    # It was needed for the account alone.
    key.unlink()
    assert acme.certify("--again") != before
    assert EAB_KEY not in everything_written(acme.drill.project.state.root)


def everything_written(root: Path) -> str:
    return "\n".join(path.read_text(errors="replace") for path in root.rglob("*.json*") if path.is_file())


def test_rehearsal_goes_the_whole_way_and_changes_nothing(acme: Acme) -> None:
    before = shown(acme.drill)
    acme.declare({**acme.first.entry(), "staging": acme.second.entry()["directory"], "ca": acme.second.ca + acme.first.ca})
    answer = acme.ask("--staging", "--accept-terms")
    assert answer.returncode == 0 and "rehearsed" in answer.stdout, answer.stdout + answer.stderr
    assert "issued" not in acme.known() and shown(acme.drill) == before
