"""Certificates as they lie on this host's disk, and where they should be seen on the wire."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from cryptography import x509
from cryptography.x509.verification import VerificationError

from ops.certificates import chains, check, folder, pki
from ops.certificates.acme.store import Book, fingerprint
from ops.certificates.leaves import ACME, IMPORTED, INTERNAL, SHARED, Leaf, Stored, leaves, owned_as
from ops.certificates.listening import file_of
from ops.certificates.plan import Authority
from ops.core import state as files
from ops.core.state import State
from ops.project import Project


def leaves_of(project: Project) -> tuple[Leaf, ...]:
    """Every certificate of what runs here."""
    wanted = project.deployed
    absent = [name for name, service in wanted.stack.services.items() if service.slots()[0] not in wanted.compose["services"]]
    return leaves(owned_as(project.stack, wanted.stack), wanted.certificate_names, project.settings.domain, absent)


def roots_of(state: State, leaf: Leaf) -> list[x509.Certificate]:
    """What its clients trust."""
    path = state.site_roots if leaf.public else state.ca / "root.pem"
    return check.certificates_in(path.read_bytes()) if path.is_file() else []


def stored(state: State, leaf: Leaf, now: dt.datetime) -> Stored:
    """A certificate as it lies there, judged as its clients will."""
    file = file_of(state, leaf)
    try:
        about = file.stat()
        content = file.read_bytes()
        chain, key = check.certificates_in(content), check.key_in(content)
        if not chain:
            raise ValueError("it contains no certificate")
    except (OSError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or str(problem)
        return Stored(leaf, INTERNAL, None, (f"{file.name}: {why}",), 0, 0, None)
    issued = Book(state).issued(fingerprint(chain[0])) if leaf.public else None
    renewal = dt.datetime.fromtimestamp(issued.renew_at, dt.UTC) if issued else pki.renew_after(chain[0])
    return Stored(
        leaf, _source(file, leaf, by_acme=issued is not None), check.facts(chain[0]),
        (*check.problems(chain, key, leaf.names, roots_of(state, leaf), now), *_rights(about, leaf)),
        about.st_mode & 0o777, about.st_uid, renewal,
        begun=folder.pending(file), ready=os.path.lexists(folder.next_of(file)),
    )  # fmt: skip


def _source(file: Path, leaf: Leaf, *, by_acme: bool) -> str:
    if not leaf.public:
        return INTERNAL
    if file.is_symlink():
        return SHARED
    return ACME if by_acme else IMPORTED


def _rights(about: os.stat_result, leaf: Leaf) -> list[str]:
    found = []
    if about.st_mode & 0o077:
        found.append(f"its mode is {about.st_mode & 0o777:04o}: others can read the key")
    if os.geteuid() == 0 and about.st_uid != leaf.owner:
        found.append(f"it belongs to uid {about.st_uid}, and {leaf.owner} has to read it")
    return found


def authority_seen(state: State) -> Authority:
    """How far a change of the root has come."""
    coming = state.ca / "next"
    prepared = coming.is_dir() and not (coming / "promote").exists()
    path = coming / "root.pem" if coming.is_dir() else state.ca / "root.pem"
    known = check.certificates_in(path.read_bytes()) if path.is_file() else []
    trusted = check.certificates_in((state.ca / "root.pem").read_bytes()) if known else []
    signs = bool(known) and not prepared and (coming.is_dir() or len(trusted) > 1)
    return Authority(f"{known[0].serial_number:X}" if known else "", prepared=prepared, signs=signs)


def newest_root(state: State) -> bytes:
    """PEM of the root that signs from now on."""
    coming = state.ca / "next" / "root.pem"
    path = coming if coming.is_file() else state.ca / "root.pem"
    return pki.pem(check.certificates_in(path.read_bytes())[0])


def signed_by_newest(state: State, found: Iterable[Stored]) -> list[str]:
    """Names of the certificates whose chain leads to the newest root, and needs no other."""
    roots = check.certificates_in(newest_root(state))
    good = []
    for one in found:
        file = file_of(state, one.leaf)
        chain = check.certificates_in(file.read_bytes()) if file.is_file() else []
        with suppress(VerificationError):
            if chain and chains.path_of(chain[0], chain[1:], roots, dt.datetime.now(dt.UTC)):
                good.append(one.leaf.name)
    return good


def authorities(state: State) -> list[dict[str, object]]:
    """Roots and intermediate, for people."""
    listed: list[dict[str, object]] = []
    for kind in ("root", "intermediate"):
        path = state.ca / f"{kind}.pem"
        for index, one in enumerate(check.certificates_in(path.read_bytes()) if path.is_file() else []):
            about = check.facts(one)
            listed.append({
                "kind": kind, "name": check.common_name(one.subject), "serial": about.serial,
                "expires": f"{about.expires:%FT%TZ}", "signs": index == 0,
                "key_here": index == 0 and (state.ca / f"{kind}.key").is_file(),
            })  # fmt: skip
    return listed


def renewal_problem(state: State) -> str:
    """Why the stack's own renewals fail, as the health ticker has noted it; empty where they do not."""
    for kept, what in (("renewal.json", "certificates"), ("acme.json", "the public certificate by ACME")):
        noted = files.read_json(state.ticker / kept) or {}
        if noted.get("failures"):
            return f"the stack has failed to renew {what}, {noted['failures']} times in a row: {noted.get('why', '')}"
    return ""
