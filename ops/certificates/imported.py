"""A certificate from elsewhere: read from the operator's files and judged as its clients will judge it."""

from __future__ import annotations

import datetime as dt
import ssl
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from ops.certificates import pki
from ops.core.errors import OpsError, UsageProblem
from ops.core.files import host_ca_bundle

T = TypeVar("T")
QUIET_SECONDS = 2.0
"""A file that was changed this recently may still be being written."""
NEXT = "nothing was changed; correct the files, then the same command again"


@dataclass(frozen=True)
class Provided:
    """`chain`: the leaf, then what came with it, in any order."""

    chain: list[x509.Certificate]
    key: PrivateKeyTypes

    def served(self, roots: Sequence[x509.Certificate] = ()) -> bytes:
        """What nginx reads: the key, then each certificate signed by the next one, without the root, which clients have."""
        path = pki.path_of(self.chain[0], self.chain[1:], roots or _roots(self.chain), dt.datetime.now(dt.UTC))
        sent = path[:-1] if len(path) > 1 else path
        return pki.pem_key(self.key) + b"".join(pki.pem(one) for one in sent)


def read(certificate: Path, key: Path, chain: Path | None) -> Provided:
    """Raises OpsError, naming the file, where one cannot be read whole or gives away the key."""
    found: list[x509.Certificate] = []
    for path, what in ((certificate, "certificate"), *(((chain, "chain"),) if chain else ())):
        if not (more := _parsed(path, pki.certificates_in)):
            raise OpsError(f"{path} is no {what}", "it contains no PEM block CERTIFICATE", NEXT)
        found += more
    private = _parsed(key, pki.key_in)
    must_be_private(key)
    return Provided(found, private)


def must_be_private(path: Path) -> None:
    """Raises OpsError where others than its owner can read a file."""
    if (mode := path.stat().st_mode & 0o777) & 0o077:
        why, then = f"its mode is {mode:04o}", f"chmod 600 {path}, then the same command again"
        raise OpsError(f"{path} can be read by others", why, then)


def _parsed(path: Path, parse: Callable[[bytes], T]) -> T:
    try:
        content = path.read_bytes()
        found = parse(content)
        if time.time() - path.stat().st_mtime < QUIET_SECONDS:
            time.sleep(QUIET_SECONDS)
            if path.read_bytes() != content:
                raise ValueError("it is still being written")
    except FileNotFoundError:
        raise UsageProblem(f"there is no file {path}", "it was to be imported", "inv --help certs.import") from None
    except (OSError, ValueError) as problem:
        raise OpsError(f"{path} cannot be read", getattr(problem, "strerror", None) or str(problem), NEXT) from problem
    return found


def _roots(chain: Sequence[x509.Certificate]) -> list[x509.Certificate]:
    """What clients trust: the roots of this host's system, and one that came along, which is a private authority's."""
    return [*system_roots(), *(one for one in chain[1:] if one.issuer == one.subject)]


def system_roots() -> list[x509.Certificate]:
    """What this host's own programs trust."""
    bundle = host_ca_bundle() or Path(ssl.get_default_verify_paths().cafile or "/nonexistent")
    with warnings.catch_warnings():
        # Some of the world's old roots break rules of today, each with a warning.
        warnings.simplefilter("ignore")
        return pki.certificates_in(bundle.read_bytes()) if bundle.is_file() else []


def must_be_good(
    provided: Provided, names: Sequence[str], roots: Sequence[x509.Certificate] = ()
) -> list[x509.Certificate]:  # fmt: skip
    """The root that its chain ends in. Raises OpsError, with every reason, where clients would refuse it. `roots`: what clients
    trust; none: the system's, and one that came along."""
    roots = roots or _roots(provided.chain)
    now = dt.datetime.now(dt.UTC)
    found = pki.problems(provided.chain, provided.key, names, roots, now)
    if found:
        raise OpsError("this certificate cannot be served", "; ".join(found), NEXT)
    return pki.path_of(provided.chain[0], provided.chain[1:], roots, now)[-1:]
