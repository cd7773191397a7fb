"""Every certificate as it is served and as it is stored, side by side: what `inv certs` shows."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.verification import VerificationError

from ops.certificates import folder, pki
from ops.certificates.acme.store import Book, fingerprint
from ops.certificates.plan import ACME, IMPORTED, INTERNAL, SHARED, Authority, Stored
from ops.certificates.served.handshake import Served, difference, look
from ops.core import files
from ops.core.errors import OpsError
from ops.core.process import until
from ops.core.state import State
from ops.project import Project
from ops.stack.certificates import Leaf, leaves, listeners, owned_as
from ops.stack.listener import Listener

SEEN_SECONDS = 15.0
"""Until a certificate that was put in place must be served; PostgreSQL loads a new one within a second."""


def leaves_of(project: Project) -> tuple[Leaf, ...]:
    """Every certificate of what runs here."""
    wanted = project.deployed
    absent = [name for name, service in wanted.stack.services.items() if service.slots()[0] not in wanted.compose["services"]]
    return leaves(owned_as(project.stack, wanted.stack), wanted.certificate_names, project.settings.domain, absent)


def _certificates(file: Path) -> list[x509.Certificate]:
    return pki.certificates_in(file.read_bytes()) if file.is_file() else []


def roots_of(state: State, leaf: Leaf) -> list[x509.Certificate]:
    """What its clients trust."""
    return _certificates(state.site_roots if leaf.public else state.ca / "root.pem")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def stored(state: State, leaf: Leaf) -> Stored:
    """A certificate as it is stored, judged as its clients will."""
    file = leaf.file(state.root)
    try:
        about = file.stat()
        content = file.read_bytes()
        chain, key = pki.certificates_in(content), pki.key_in(content)
        if not chain:
            raise ValueError("it contains no certificate")
    except (OSError, ValueError) as problem:
        why = getattr(problem, "strerror", None) or str(problem)
        return Stored(leaf, INTERNAL, None, (f"{file.name}: {why}",), 0, 0, None)
    issued = Book(state).issued(fingerprint(chain[0])) if leaf.public else None
    renewal = dt.datetime.fromtimestamp(issued.renew_at, dt.UTC) if issued else pki.renew_after(chain[0])
    return Stored(
        leaf, _source(file, leaf, by_acme=issued is not None), pki.facts(chain[0]),
        (*pki.problems(chain, key, leaf.names, roots_of(state, leaf), _now()), *_rights(about, leaf)),
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
    known = _certificates(coming / "root.pem" if coming.is_dir() else state.ca / "root.pem")
    trusted = _certificates(state.ca / "root.pem") if known else []
    signs = bool(known) and not prepared and (coming.is_dir() or len(trusted) > 1)
    return Authority(f"{known[0].serial_number:X}" if known else "", prepared=prepared, signs=signs)


def newest_root(state: State) -> bytes:
    """PEM of the root that signs from now on."""
    coming = state.ca / "next" / "root.pem"
    path = coming if coming.is_file() else state.ca / "root.pem"
    return pki.pem(pki.certificates_in(path.read_bytes())[0])


def signed_by_newest(state: State, found: Iterable[Stored]) -> list[str]:
    """Names of the certificates whose chain leads to the newest root, and needs no other."""
    roots = pki.certificates_in(newest_root(state))
    good = []
    for one in found:
        chain = _certificates(one.leaf.file(state.root))
        with suppress(VerificationError):
            if chain and pki.path_of(chain[0], chain[1:], roots, _now()):
                good.append(one.leaf.name)
    return good


def authorities(state: State) -> list[dict[str, object]]:
    """Roots and intermediate, for people."""
    listed: list[dict[str, object]] = []
    for kind in ("root", "intermediate"):
        for index, one in enumerate(_certificates(state.ca / f"{kind}.pem")):
            about = pki.facts(one)
            listed.append({
                "kind": kind, "name": pki.common_name(one.subject), "serial": about.serial,
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


def check_as_client(chain: list[x509.Certificate], key: PrivateKeyTypes, leaf: Leaf, roots: Iterable[x509.Certificate]) -> None:
    """Raises OpsError, with every reason, where clients would refuse it."""
    if found := pki.problems(chain, key, leaf.names, roots, _now()):
        raise OpsError(
            f"the new certificate of {leaf.name} is no good", "; ".join(found), "inv certs shows what is served, as before"
        )  # fmt: skip


def running(project: Project, slots: Iterable[str]) -> dict[str, int]:
    """Slot -> main process, of those that run. One that does not run reads its certificate when it starts."""
    found = project.engine.containers()
    return {slot: found[slot].pid for slot in sorted(set(slots)) if slot in found and found[slot].state == "running"}


def must_be_served(project: Project, leaves: Iterable[Leaf], ca: str = "") -> None:
    """Waits until every listener shows the certificate in place. Raises OpsError, naming the first that does not. `ca`: file of
    roots to trust instead of the listeners' own."""
    listening = listeners(project.state.root, project.stack, project.deployed.allocation, leaves)
    processes = running(project, (listener.slot for listener in listening))
    for listener in listening:
        if listener.slot in processes and (why := until(partial(_wrong, listener, processes[listener.slot], ca), SEEN_SECONDS)):
            raise OpsError(
                f"{listener.service}:{listener.port} does not serve the certificate of {listener.name} as it should",
                why, f"inv logs {listener.service} --since 5m",
            )  # fmt: skip


def _wrong(listener: Listener, pid: int, ca: str) -> str:
    return difference(listener, look(listener, pid, ca))


@dataclass(frozen=True)
class Row:
    """One certificate. `served`: where -> what was shown there, and why that is not as it should be."""

    stored: Stored
    file: str
    served: Mapping[str, tuple[Served | None, str]]

    def findings(self) -> tuple[str, ...]:
        """What is wrong, in words."""
        name = self.stored.leaf.name
        of_file = [f"{name} on disk: {why}" for why in self.stored.problems]
        half = [f"{name}: a rotation was interrupted; inv certs.rotate completes it"] if self.stored.begun else []
        return (*of_file, *half, *(f"{name} at {at}: {why}" for at, (_, why) in self.served.items() if why))

    def as_json(self) -> dict[str, Any]:
        one = self.stored
        about = one.facts
        return {
            "name": one.leaf.name, "service": one.leaf.service, "source": one.source, "file": self.file,
            "names": list(about.names) if about else [], "issuer": about.issuer if about else "",
            "serial": about.serial if about else "", "key": about.key if about else "",
            "begins": f"{about.begins:%FT%TZ}" if about else None, "expires": f"{about.expires:%FT%TZ}" if about else None,
            "renewal": f"{one.renew_after:%FT%TZ}" if one.renew_after and one.source != IMPORTED else None,
            "chain_complete": not any("chain" in why for why in one.problems), "mode": f"{one.mode:04o}", "owner": one.owner,
            "served": [
                {
                    "at": at, "as_it_should_be": not why, "why": why,
                    "serial": pki.serial_of_der(served.certificate) if served and served.certificate else "",
                }
                for at, (served, why) in self.served.items()
            ],
            "findings": list(self.findings()),
        }  # fmt: skip


def survey(project: Project) -> list[Row]:
    """Look at every certificate and shake hands with every listener, side by side."""
    leaves = leaves_of(project)
    listening = listeners(project.state.root, project.stack, project.deployed.allocation, leaves)
    processes = running(project, (listener.slot for listener in listening))

    def shake(listener: Listener) -> tuple[Served | None, str]:
        if listener.slot not in processes:
            return None, "its container does not run"
        served = look(listener, processes[listener.slot])
        return served, difference(listener, served)

    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(zip(listening, pool.map(shake, listening), strict=True))
    return [
        Row(
            stored(project.state, leaf), str(leaf.file(project.state.root)),
            {f"{at.slot}:{at.port}": answer for at, answer in answers if at.name == leaf.name},
        )
        for leaf in leaves
    ]  # fmt: skip


def roots_as_distributed(project: Project) -> list[str]:
    """Services whose file of trusted roots is not the authority's."""
    roots = (project.state.ca / "root.pem").read_bytes() if (project.state.ca / "root.pem").is_file() else b""
    wrong = []
    for leaf in leaves_of(project):
        path = project.state.certs / leaf.service / "ca.pem"
        if not leaf.public and roots and (not path.is_file() or path.read_bytes() != roots):
            wrong.append(
                f"{leaf.service} trusts other roots than {project.state.ca}/root.pem; inv certs.rotate distributes them"
            )
    return wrong
