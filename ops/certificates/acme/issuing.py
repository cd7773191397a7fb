"""Issuers of stack.yaml on this host: which there are, what is known of them, asked one after the other for a certificate."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from cryptography import x509

from ops.certificates import authority, folder, imported, pki
from ops.certificates.acme.client import Authority, IssuerFailed, answer_for
from ops.certificates.acme.plan import ASK_SECONDS, Issued, Situation, Tries, ask_again, renewal
from ops.certificates.acme.store import Book, fingerprint
from ops.core import files
from ops.core.errors import OpsError, UsageProblem
from ops.core.files import host_ca_bundle
from ops.core.state import State
from ops.project import Project
from ops.stack.certificates import Leaf
from ops.stack.issuers import REHEARSAL, Issuer


def issuers_of(project: Project) -> tuple[Issuer, ...]:
    """Raises UsageProblem where stack.yaml names none."""
    found = project.settings.issuers
    if not found:
        raise UsageProblem(
            "stack.yaml names no issuer", "certificates.acme.issuers is empty",
            "docs/how-to/certificates.md, Have a public authority issue it",
        )  # fmt: skip
    return found


def named(project: Project, name: str) -> Issuer:
    """Of that name, which may be that of an issuer's rehearsal stage."""
    one = next(one for one in issuers_of(project) if name in (one.name, one.name + REHEARSAL))
    return one.rehearsal() if name != one.name else one


def situation(project: Project, leaf: Leaf) -> Situation:
    """What is known of the issuers, and of the certificates in place and to come."""
    book, known = Book(project.state), issuers_of(project)
    file = leaf.file(project.state.root)
    prepared = _issued_here(book, folder.next_of(file)) is not None
    accounts = frozenset(one.name for one in (*known, *(one.rehearsal() for one in known)) if book.account(one))
    return Situation(tuple(one.name for one in known), accounts, book.tries(), _issued_here(book, file), prepared)


def _issued_here(book: Book, file: Path) -> Issued | None:
    """What is known of the certificate in that file; None where there is none, or none by ACME."""
    certificate = _first(file)
    return book.issued(fingerprint(certificate)) if certificate else None


def _first(path: Path) -> x509.Certificate | None:
    """None where there is none that can be read: a new one is what mends that."""
    try:
        return next(iter(pki.certificates_in(path.read_bytes())), None)
    except (OSError, ValueError):
        return None


def roots_file(state: State, issuer: Issuer) -> Path | None:
    """By which the issuer's own TLS is verified; None: by those that come with the library."""
    if not issuer.ca:
        return host_ca_bundle()
    path = state.acme / f"{issuer.name}.roots.pem"
    if not path.exists() or path.read_text() != issuer.ca:
        files.write(path, issuer.ca, mode=0o600)
    return path


def terms_of(project: Project, issuer: Issuer) -> str:
    """Where its terms of service are to be read. Raises IssuerFailed where it does not answer."""
    return Authority(issuer, None, roots_file(project.state, issuer)).terms


def open_account(project: Project, issuer: Issuer) -> None:
    """Raises OpsError where the issuer refuses, or the key of an external account cannot be read."""
    book = Book(project.state)
    hmac_key = _hmac_key(issuer)
    try:
        found = Authority(issuer, book.key_for(issuer), roots_file(project.state, issuer))
        uri = found.open_account(project.settings.certificates.acme.email, hmac_key)
    except IssuerFailed as problem:
        raise OpsError(f"{issuer.name} opened no account", problem.why, "the same command tries again") from problem
    book.note_account(issuer, uri, found.terms)


def _hmac_key(issuer: Issuer) -> str:
    if not issuer.eab:
        return ""
    path = Path(issuer.eab["key_file"])
    try:
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as problem:
        why = getattr(problem, "strerror", None) or "it is no text"
        raise OpsError(
            f"cannot read the key of the external account with {issuer.name}", f"{path}: {why}", f"correct {path}"
        ) from problem
    imported.must_be_private(path)
    return key


def obtain(project: Project, leaf: Leaf, names: Iterable[str]) -> None:
    """Write the certificate of the first issuer that gives a good one beside the one that is in place. Raises OpsError, with
    what each of them has said, where none does."""
    book, said = Book(project.state), []
    for name in names:
        issuer, tries = named(project, name), book.tries().get(name, Tries())
        try:
            _prepare(project, leaf, issuer)
        except IssuerFailed as problem:
            book.note(name, tries.failed(problem.why, time.time(), barred_for=problem.barred_for, refused=problem.refused))
            said.append(f"{name}: {problem.why}")
            continue
        book.note(name, tries.issued())
        return
    raise OpsError(
        f"no certificate was issued for {', '.join(leaf.names)}", "; ".join(said),
        "the one in place is served as before; inv certs.acme tries again; docs/runbooks/AcmeRenewalFails.md",
    )  # fmt: skip


def _prepare(project: Project, leaf: Leaf, issuer: Issuer) -> None:
    roots = [*imported.system_roots(), *pki.certificates_in(issuer.ca.encode())]
    provided = _issued(project, leaf, issuer, _replaced(project.state, leaf, issuer))
    try:
        root = imported.must_be_good(provided, leaf.names, roots)
    except OpsError as problem:
        raise IssuerFailed(f"what it issued would be refused by clients: {problem.why}") from problem
    authority.trust_elsewhere(project.state, b"".join(pki.pem(one) for one in root))
    # The record first: a certificate in place of which nothing is known would count as imported, and never be renewed.
    note(project, issuer, provided.chain[0])
    folder.stage(leaf.file(project.state.root), provided.served(roots), leaf.owner)


def _issued(project: Project, leaf: Leaf, issuer: Issuer, replaces: x509.Certificate | None) -> imported.Provided:
    account = Book(project.state).account(issuer)
    if account is None:
        raise IssuerFailed("there is no account with it")
    asked = Authority(issuer, account.key, roots_file(project.state, issuer), account.uri)
    challenge = project.settings.certificates.acme.challenge
    key, chain = asked.issue(leaf.names, challenge, answer_for(project), replaces)
    try:
        found = imported.Provided(pki.certificates_in(chain), pki.key_in(key))
    except ValueError as problem:
        raise IssuerFailed(f"what it issued cannot be read: {problem}") from problem
    if not found.chain:
        raise IssuerFailed("its answer contains no certificate")
    return found


def _replaced(state: State, leaf: Leaf, issuer: Issuer) -> x509.Certificate | None:
    """The certificate in place, where that issuer issued it: its renewal counts against none of its limits then."""
    file = leaf.file(state.root)
    issued = _issued_here(Book(state), file)
    return _first(file) if issued and issued.issuer == issuer.name else None


def rehearse(project: Project, leaf: Leaf, names: Iterable[str]) -> None:
    """The whole way at each of these stages, all but the swap. No client trusts what they issue: their own root counts here.
    Raises OpsError, with what each of them has said, where one fails."""
    said = []
    for name in names:
        try:
            provided = _issued(project, leaf, named(project, name), None)
            imported.must_be_good(provided, leaf.names, provided.chain[-1:])
        except (IssuerFailed, OpsError) as problem:
            said.append(f"{name}: {problem.why}")
    if said:
        raise OpsError("the rehearsal failed", "; ".join(said), "nothing was changed; correct it, then rehearse again")
    Book(project.state).note_rehearsed()


def note(project: Project, issuer: Issuer, certificate: x509.Certificate) -> None:
    """Keep which certificate this issuer has issued, and when it is to be renewed."""
    now = time.time()
    issued = _timed(project, issuer, certificate, now)
    # An issuer that would have a fresh one renewed at once, by a mistake of its own, is not asked in a circle.
    Book(project.state).note_issued(replace(issued, renew_at=max(issued.renew_at, now + ASK_SECONDS[0])))


def _timed(project: Project, issuer: Issuer, certificate: x509.Certificate, at: float) -> Issued:
    book, window, retry_after = Book(project.state), None, None
    account = book.account(issuer)
    try:
        if account:
            asked = Authority(issuer, account.key, roots_file(project.state, issuer), account.uri).suggestion(certificate)
            window, retry_after = asked.window, asked.retry_after
    except IssuerFailed:
        # By its age, then; the next question may be answered.
        if before := book.issued(fingerprint(certificate)):
            return Issued(before.issuer, before.fingerprint, before.at, before.renew_at, ask_again(time.time(), None))
    begins, ends = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    chosen = renewal(begins, ends, certificate.serial_number, window)
    return Issued(issuer.name, fingerprint(certificate), at, chosen, ask_again(time.time(), retry_after))


def ask_when(project: Project, leaf: Leaf, *, now: float) -> None:
    """Ask the issuer of the certificate in place when to renew it, where it is time to ask."""
    book, file = Book(project.state), leaf.file(project.state.root)
    issued = _issued_here(book, file)
    if issued is None or now < issued.ask_at:
        return
    issuer = next((one for one in issuers_of(project) if one.name == issued.issuer), None)
    certificate = _first(file)
    if issuer and certificate:
        book.note_issued(_timed(project, issuer, certificate, issued.at))
