"""The project's certificate authority in its state folder, and the folders from which services read their certificates."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from ops import pki
from ops.errors import NeedsPerson
from ops.machine import state as files
from ops.machine.state import State

_one_at_a_time = Lock()


def authority(state: State, project: str) -> tuple[bytes, pki.Signed]:
    """Root certificate and signing intermediate; both are made on first use. The root's key is needed only to make an
    intermediate: it may be kept off the host meanwhile.

    Raises NeedsPerson where the root's key is needed and gone: a new root would be one that nobody trusts.
    """
    with _one_at_a_time:
        intermediate = _kept(state, "intermediate")
        if intermediate is None:
            root = _kept(state, "root")
            if root is None and (state.ca / "root.pem").exists():
                raise NeedsPerson(
                    "cannot make a new intermediate CA",
                    f"{state.ca}/root.key, which has to sign it, is not on this host",
                    f"bring root.key back to {state.ca} for this one command",
                )
            root = root or _keep(state, "root", pki.make_root(project, _now()))
            intermediate = _keep(state, "intermediate", pki.make_intermediate(root, project, _now()))
    return (state.ca / "root.pem").read_bytes(), intermediate


def _kept(state: State, name: str) -> pki.Signed | None:
    try:
        return pki.Signed((state.ca / f"{name}.pem").read_bytes(), (state.ca / f"{name}.key").read_bytes())
    except FileNotFoundError:
        return None


def _keep(state: State, name: str, signed: pki.Signed) -> pki.Signed:
    # The key first: a certificate without its key would never be replaced.
    files.write(state.ca / f"{name}.key", signed.key, mode=0o600)
    files.write(state.ca / f"{name}.pem", signed.certificate)
    return signed


def issue_certificate(state: State, project: str, service: str, owner: int, names: Sequence[str]) -> None:
    """Issue and install a service's certificate.

    Parameters
    ----------
    owner: uid that reads the key. names: host names and addresses of the certificate.

    The combined file is what servers read: key and certificate change in one rename and never disagree.
    """
    root, intermediate = authority(state, project)
    leaf = pki.issue(intermediate, service, names, _now())
    chain = leaf.certificate + intermediate.certificate
    folder = state.certs / service
    folder.mkdir(exist_ok=True, mode=0o755)
    folder.chmod(0o755)
    files.write(folder / "ca.pem", root)
    files.write(folder / "key.pem", leaf.key, mode=0o600, owner=owner)
    files.write(folder / "cert.pem", chain)
    files.write(folder / "tls.pem", leaf.key + chain, mode=0o600, owner=owner)
    due = _now() + dt.timedelta(days=pki.LEAF_DAYS * 2 / 3)
    files.write(folder / "issued.json", files.dump({"names": list(names), "renew_after": due.timestamp()}))


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def host_ca_bundle() -> Path | None:
    """The host's CA bundle, for builds behind a proxy that inspects TLS; None where the host has none."""
    for name in (os.environ.get("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"):
        if name and Path(name).exists():
            return Path(name)
    return None
