"""Who issues the public certificate, as stack.yaml names them: checked, completed, typed. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.stack.repositories import certificates

KNOWN = {
    "letsencrypt": (
        "https://acme-v02.api.letsencrypt.org/directory", "https://acme-staging-v02.api.letsencrypt.org/directory",
    ),
    "google": ("https://dv.acme-v02.api.pki.goog/directory", "https://dv.acme-v02.test-api.pki.goog/directory"),
    "zerossl": ("https://acme.zerossl.com/v2/DV90", ""),
}  # fmt: skip
"""Issuer -> directory, and that of its rehearsal stage where it has one: letsencrypt.org/docs/acme-protocol-updates and
/docs/staging-environment, cloud.google.com/certificate-manager/docs/public-ca-tutorial, zerossl.com/documentation/acme."""
FORM = f"a list of {{name, directory, staging, eab: {{key_id, key_file}}, ca}}; names alone are enough for {', '.join(KNOWN)}"
NAME = r"[a-z][a-z0-9-]{0,19}"
REHEARSAL = "-staging"
"""Suffix of an issuer's account at its rehearsal stage, which is another one."""
HTTP, DNS = "http-01", "dns-01"


@dataclass(frozen=True)
class Issuer:
    """One authority. `directory`, `staging`: URLs. `eab`: `key_id` and `key_file` of an external account (RFC 8555, 7.3.4);
    empty: it asks for none. `ca`: PEM of a private authority's roots, for its own TLS and for what it issues; empty: public."""

    name: str
    directory: str
    staging: str = ""
    eab: Mapping[str, str] = field(default_factory=dict)
    ca: str = ""

    def rehearsal(self) -> Issuer:
        """The same at its rehearsal stage, as another issuer with an account of its own."""
        return Issuer(self.name + REHEARSAL, self.staging, "", self.eab, self.ca)


def of(entries: list[dict[str, Any]]) -> tuple[Issuer, ...]:
    """The value of `certificates.acme.issuers` as objects, the first choice first."""
    return tuple(Issuer(**entry) for entry in entries)


def parse(value: Any) -> list[dict[str, Any]]:
    """The list under `certificates.acme.issuers`, complete. A list: a release keeps it as JSON.

    Raises ValueError with what it must be.
    """
    if not isinstance(value, list):
        raise ValueError(FORM)
    found = [_one({"name": entry} if isinstance(entry, str) else entry) for entry in value]
    if len({entry["name"] for entry in found}) < len(found):
        raise ValueError("names that differ from each other")
    return found


def _one(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, Mapping) or not {"name"} <= entry.keys() <= {"name", "directory", "staging", "eab", "ca"}:
        raise ValueError(FORM)
    name = str(entry["name"])
    if not re.fullmatch(NAME, name) or name.endswith(REHEARSAL):
        raise ValueError(f"names of lower-case letters, digits and dashes, not ending in {REHEARSAL}")
    directory, staging = KNOWN.get(name, ("", ""))
    return {
        "name": name, "directory": _url("directory", entry.get("directory", directory)),
        "staging": _url("staging", entry.get("staging", staging)) if entry.get("staging", staging) else "",
        "eab": _eab(entry.get("eab", {})), "ca": certificates(entry["ca"]) if entry.get("ca") else "",
    }  # fmt: skip


def _url(key: str, value: Any) -> str:
    """Without TLS anybody on the way could name another place for the keys and the challenges."""
    if not re.fullmatch(r"https://[A-Za-z0-9.-]+(:\d{1,5})?(/[\x21-\x7e]*)?", str(value)):
        raise ValueError(f"{key}: a URL such as https://acme.example.com/directory")
    return str(value)


def _eab(value: Any) -> dict[str, str]:
    if value and (not isinstance(value, Mapping) or value.keys() != {"key_id", "key_file"}):
        raise ValueError("eab: {key_id: as the issuer gave it, key_file: absolute path of a file that holds the key}")
    if value and not str(value["key_file"]).startswith("/"):
        raise ValueError("eab: key_file: an absolute path")
    return {key: str(one) for key, one in value.items()} if value else {}
