"""What is kept of issuers on this host, for root alone: accounts, how they have answered, what they issued last.

NAME.key        key of the account with an issuer
NAME.json       the account's address, and the terms that were accepted
book.json       how issuers have answered, and the certificates that they issued last; the health ticker reads it, too
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from ops.certificates import pki
from ops.certificates.acme.plan import Issued, Tries
from ops.core import files, lock
from ops.core.state import State
from ops.stack.issuers import Issuer

BOOK = "book.json"
KEPT = 3
"""Certificates that are remembered: the one in place, the one that is to come, and one that may have to be restored."""


@dataclass(frozen=True)
class Account:
    """`uri`: its address at the issuer. `directory`: of that issuer; at another one it is worth nothing."""

    key: ec.EllipticCurvePrivateKey
    uri: str
    directory: str


class Book:
    """Each change is written whole or not at all, and by one process at a time."""

    def __init__(self, state: State) -> None:
        self.state, self.path = state, state.acme / BOOK

    def _content(self) -> dict[str, Any]:
        return dict(files.read_json(self.path) or {})

    def _change(self, edit: Callable[[dict[str, Any]], None]) -> None:
        with lock.hold(self.state.root / ".acme.lock", "acme", patiently=True):
            content = self._content()
            edit(content)
            files.write(self.path, files.dump(content), mode=0o600)

    def tries(self) -> dict[str, Tries]:
        known: Mapping[str, Any] = self._content().get("issuers", {})
        return {name: Tries(**{**said, "refusals": tuple(said["refusals"])}) for name, said in known.items()}

    def issued(self, mark: str) -> Issued | None:
        """What is known of the certificate of that fingerprint; None where no issuer of ours has issued it."""
        said = self._content().get("issued", {}).get(mark)
        return Issued(**said) if said else None

    def rehearsed(self) -> float:
        """When the last rehearsal came to its end; seconds of the epoch."""
        return float(self._content().get("rehearsed", 0.0))

    def note(self, name: str, tries: Tries) -> None:
        self._change(lambda content: content.setdefault("issuers", {}).update({name: asdict(tries)}))

    def forget_others(self, issuers: Collection[str]) -> None:
        """Keep nothing of how those answered that stack.yaml does not name any more."""
        if self.tries().keys() - set(issuers):
            self._change(lambda content: content.update(issuers={
                name: said for name, said in content["issuers"].items() if name in issuers
            }))  # fmt: skip

    def note_issued(self, issued: Issued) -> None:
        def edit(content: dict[str, Any]) -> None:
            known = {**content.get("issued", {}), issued.fingerprint: asdict(issued)}
            newest = sorted(known.values(), key=lambda said: float(said["at"]), reverse=True)[:KEPT]
            content["issued"] = {said["fingerprint"]: said for said in newest}

        self._change(edit)

    def note_rehearsed(self) -> None:
        self._change(lambda content: content.update(rehearsed=time.time()))

    def look_at(self, moment: float) -> None:
        """When the health ticker is to have somebody look; seconds of the epoch."""
        self._change(lambda content: content.update(look_at=moment))

    def account(self, issuer: Issuer) -> Account | None:
        """None where there is none with that issuer."""
        said = files.read_json(self.state.acme / f"{issuer.name}.json")
        if said is None or said.get("directory") != issuer.directory:
            return None
        return Account(self._key(issuer), str(said["uri"]), issuer.directory)

    def key_for(self, issuer: Issuer) -> ec.EllipticCurvePrivateKey:
        """The key of a coming account, kept before the issuer hears of it: a command that is killed has lost no account."""
        path = self._key_file(issuer)
        if not path.exists():
            files.write(path, pki.pem_key(ec.generate_private_key(ec.SECP256R1())), mode=0o600)
        return self._key(issuer)

    def note_account(self, issuer: Issuer, uri: str, terms: str) -> None:
        said = {"uri": uri, "directory": issuer.directory, "terms": terms, "accepted": time.strftime("%FT%T%z")}
        files.write(self.state.acme / f"{issuer.name}.json", files.dump(said), mode=0o600)

    def _key(self, issuer: Issuer) -> ec.EllipticCurvePrivateKey:
        return pki.ec_key(self._key_file(issuer).read_bytes())

    def _key_file(self, issuer: Issuer) -> Path:
        return self.state.acme / f"{issuer.name}.key"


def fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()
