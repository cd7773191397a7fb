"""What is kept of issuers on the disk, and how their answers are understood. Real issuers: tests/drill/acme."""

from __future__ import annotations

import datetime as dt
import json
import stat
from pathlib import Path

import pytest
import requests
from acme import messages
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ops.certificates import facts, folder, pki
from ops.certificates.acme import client, issuing
from ops.certificates.acme.client import IssuerFailed, _Network, identifier, seconds_in
from ops.certificates.acme.issuing import open_account
from ops.certificates.acme.plan import Issued, Tries
from ops.certificates.acme.store import Book, fingerprint
from ops.certificates.plan import ACME, IMPORTED, SHARED
from ops.core.errors import OpsError
from ops.core.state import State
from ops.engines.podman.host import Host
from ops.project import Project
from ops.stack.certificates import PUBLIC_TLS, TLS
from ops.stack.issuers import Issuer
from tests.unit.builders import settings
from tests.unit.certificates.test_plan_acme import LEAF, NOW

FIRST = Issuer("first", "https://first.example.com/dir")


@pytest.fixture
def state(tmp_path: Path) -> State:
    made = State(tmp_path / "cc03")
    made.prepare()
    return made


@pytest.fixture
def project(state: State) -> Project:
    return Project(settings("certificates: {acme: {issuers: [letsencrypt]}}"), Host("cc03", state))


def test_account_is_kept_for_root_alone_and_is_worth_nothing_elsewhere(state: State) -> None:
    book = Book(state)
    assert book.account(FIRST) is None
    key = book.key_for(FIRST)
    assert book.account(FIRST) is None, "the issuer has not heard of it yet"
    book.note_account(FIRST, "https://first.example.com/account/7", "terms")

    kept = book.account(FIRST)
    assert kept and kept.uri.endswith("/7") and kept.key.private_numbers() == key.private_numbers()
    assert {stat.S_IMODE(path.stat().st_mode) for path in state.acme.iterdir()} == {0o600}
    assert stat.S_IMODE(state.acme.stat().st_mode) == 0o700
    assert book.account(Issuer("first", "https://other.example.com/dir")) is None


def test_key_that_the_issuer_never_confirmed_is_used_again(state: State) -> None:
    assert Book(state).key_for(FIRST).private_numbers() == Book(state).key_for(FIRST).private_numbers()


def test_book_remembers_tries_and_the_last_three_certificates(state: State) -> None:
    book = Book(state)
    assert (book.tries(), book.issued("a"), book.rehearsed()) == ({}, None, 0)
    tries = Tries().failed("no answer", NOW, refused=True)
    book.note("first", tries)
    for number, mark in enumerate("abcd"):
        book.note_issued(Issued("first", mark, NOW + number, NOW + 9, NOW + 8))
    book.look_at(NOW + 5)

    assert book.tries() == {"first": tries}
    assert book.issued("a") is None and all(book.issued(mark) for mark in "bcd")
    assert json.loads(book.path.read_text())["look_at"] == NOW + 5
    assert stat.S_IMODE(book.path.stat().st_mode) == 0o600


def test_issuer_that_is_not_named_any_more_is_forgotten(state: State) -> None:
    book = Book(state)
    book.forget_others(["first"])
    assert not book.path.exists(), "there is nothing to forget"
    for name in ("first", "second"):
        book.note(name, Tries(1, NOW))
    book.forget_others(["second", "third"])
    assert list(book.tries()) == ["second"]


def placed(state: State) -> x509.Certificate:
    """A certificate from elsewhere under the public name."""
    now = dt.datetime.now(dt.UTC)
    signer = pki.make_intermediate(pki.make_root("elsewhere", now), "elsewhere", now)
    leaf = pki.issue(signer, "shop", LEAF.names, now)
    file = state.certs / "nginx" / PUBLIC_TLS
    folder.stage(file, leaf.key + leaf.certificate + signer.certificate, 0)
    folder.swap(file)
    folder.settle(file)
    return pki.certificates_in(leaf.certificate)[0]


def test_source_is_what_the_book_knows_of_that_very_certificate(state: State) -> None:
    certificate = placed(state)
    assert facts.stored(state, LEAF).source == IMPORTED
    Book(state).note_issued(Issued("first", fingerprint(certificate), NOW, NOW + 9, NOW + 8))

    found = facts.stored(state, LEAF)
    assert (found.source, found.renew_after) == (ACME, dt.datetime.fromtimestamp(NOW + 9, dt.UTC))
    placed(state)
    assert facts.stored(state, LEAF).source == IMPORTED, "another one, by hand"
    folder.stage_link(state.certs / "nginx" / PUBLIC_TLS, TLS)
    folder.stage(state.certs / "nginx" / TLS, (state.certs / "nginx" / PUBLIC_TLS).read_bytes(), 0)
    folder.swap(state.certs / "nginx" / TLS)
    folder.swap(state.certs / "nginx" / PUBLIC_TLS)
    assert facts.stored(state, LEAF).source == SHARED


def test_certificate_that_is_checked_and_not_in_place_is_seen(project: Project) -> None:
    state = project.state
    certificate = placed(state)
    file = state.certs / "nginx" / PUBLIC_TLS
    folder.stage(file, file.read_bytes(), 0)
    assert not issuing.situation(project, LEAF).prepared, "nobody knows where that is from"
    Book(state).note_issued(Issued("letsencrypt", fingerprint(certificate), NOW, NOW + 9, NOW + 8))

    found = issuing.situation(project, LEAF)
    assert found.prepared and found.issued and found.issued.issuer == "letsencrypt"
    assert (found.issuers, found.accounts) == (("letsencrypt",), frozenset())


def test_file_that_cannot_be_read_is_no_reason_to_stop(project: Project) -> None:
    placed(project.state)
    file = project.state.certs / "nginx" / PUBLIC_TLS
    file.write_bytes(file.read_bytes()[:-40])
    assert issuing.situation(project, LEAF).issued is None
    file.write_text("nothing")
    assert issuing.situation(project, LEAF).issued is None


def test_identifier_is_that_of_the_standard() -> None:
    """RFC 9773, 4.1: its own example."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "x")])
    authority = x509.AuthorityKeyIdentifier(bytes.fromhex("69885B6B87464041E1B37B847BA0AE2CDE01C8D4"), None, None)
    begins = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(0x87654321)
        .not_valid_before(begins).not_valid_after(begins + dt.timedelta(days=1)).add_extension(authority, critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    assert identifier(certificate) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [({}, None, None), ({"Retry-After": "120"}, 118, 120), ({"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}, 1e9, 1e10)],
)  # fmt: skip
def test_both_forms_of_retry_after_are_read(header: dict[str, str], low: float | None, high: float) -> None:
    answer = requests.Response()
    answer.headers.update(header)
    said = seconds_in(answer)
    assert said is None if low is None else said is not None and low <= said <= high


class Fussy(_Network):
    """Refuses as many nonces as it is told to."""

    def __init__(self, refusals: int, code: str = "badNonce") -> None:
        super().__init__(None, None, None)
        self.refusals, self.code, self.asked = refusals, code, 0

    def _post_once(self, url: str, *args: object, **kwargs: object) -> requests.Response:
        self.asked += 1
        if self.asked <= self.refusals:
            raise messages.Error.with_code(self.code)
        return requests.Response()


def test_refused_nonce_is_no_failure_and_anything_else_is() -> None:
    patient = Fussy(8)
    patient.post("https://first.example.com/order")
    assert patient.asked == 9
    with pytest.raises(messages.Error):
        Fussy(99).post("https://first.example.com/order")
    refusing = Fussy(1, "malformed")
    with pytest.raises(messages.Error):
        refusing.post("https://first.example.com/order")
    assert refusing.asked == 1


@pytest.mark.parametrize(("mode", "content", "why"), [(0o644, "abc", "0644"), (0o600, None, "No such file")])
def test_key_of_an_external_account_is_read_from_a_file_for_root_alone(
    project: Project, tmp_path: Path, mode: int, content: str | None, why: str
) -> None:
    file = tmp_path / "hmac"
    if content:
        file.write_text(content)
        file.chmod(mode)
    with pytest.raises(OpsError) as caught:
        open_account(project, Issuer("first", FIRST.directory, eab={"key_id": "k", "key_file": str(file)}))
    assert why in caught.value.why and not list(project.state.acme.glob("*.key"))


def test_every_issuer_is_asked_in_its_turn_and_each_failure_is_kept(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def prepare(project: Project, leaf: object, issuer: Issuer) -> None:
        asked.append(issuer.name)
        if issuer.name != "third":
            raise IssuerFailed(f"{issuer.name} is away", refused=issuer.name == "second", barred_for=60)

    monkeypatch.setattr(issuing, "_prepare", prepare)
    monkeypatch.setattr(issuing, "named", lambda project, name: Issuer(name, "https://x.example.com/"))
    issuing.obtain(project, LEAF, ("first", "second", "third", "fourth"))
    tries = Book(project.state).tries()
    assert asked == ["first", "second", "third"]
    assert [(one.failures, len(one.refusals), bool(one.barred)) for one in tries.values()] == [
        (1, 0, True), (1, 1, True), (0, 0, False),
    ]  # fmt: skip
    with pytest.raises(OpsError) as caught:
        issuing.obtain(project, LEAF, ("first", "second"))
    assert caught.value.why == "first: first is away; second: second is away"
    assert Book(project.state).tries()["first"].failures == 2


def test_answer_that_nginx_does_not_show_is_no_try_at_the_issuer(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.certificates.acme.client._own_look", lambda *given: "answers 404")
    monkeypatch.setattr("ops.certificates.acme.client.OWN_LOOK_SECONDS", 0.0)
    (project.state.challenges / "left-by-a-killed-command").write_text("x")
    monkeypatch.setattr(Project, "ports", {"http": 1})
    with pytest.raises(OpsError, match="nginx does not show"), client.answer_for(project)("shop", "token", "value"):
        pass
    assert not list(project.state.challenges.iterdir())
