"""The project's certificate authority in its state folder: the root, what it signs, and how another root takes its place.

    root.pem            the roots that are trusted; the first one signs
    root.key            its key, encrypted with the passphrase; may be kept off the host
    passphrase          may be kept off the host, too
    intermediate.pem    the authority that signs leaves, with intermediate.key
    bridge.pem          while an old root is replaced: the new authority, cross-signed by the old root
    elsewhere.pem       roots of certificates from elsewhere that the public site has or had
    site.pem            root.pem and elsewhere.pem
    expires.json        when root and intermediate end, for the health ticker
    next/               the authority that is to come; with `promote` in it, it is taking its place

All of it is for root alone. Services have copies of the certificates that they need.
"""

from __future__ import annotations

import datetime as dt
import os
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock

from cryptography import x509

from ops.certificates import folder, pki
from ops.core import files
from ops.core.errors import HostLacks, NeedsPerson, OpsError
from ops.core.state import State
from ops.stack.certificates import PUBLIC_TLS, TLS
from ops.stack.listener import SITE
from ops.stack.model import EDGE

_one_at_a_time = Lock()
PASSPHRASE_BYTES = 32
PROMOTED = ("root.key", "intermediate.key", "intermediate.pem", "bridge.pem", "root.pem")
"""Files of the next authority, in the order in which they take their places."""


def authority(state: State, project: str) -> tuple[bytes, pki.Signed]:
    """Trusted roots and signing intermediate, with what leads from it to a root; made on first use.

    The root's key is needed only to make an intermediate: it may be kept off the host meanwhile. Raises NeedsPerson where it is
    needed and gone: a new root would be one that nobody trusts.
    """
    with _one_at_a_time:
        _promote(state)
        intermediate = _kept(state, "intermediate")
        if intermediate is None:
            intermediate = _new_intermediate(state, project)
        elif pki.renew_after(x509.load_pem_x509_certificate(intermediate.certificate)) <= _now():
            # Without the root's key the present one goes on; an alert tells of its end in time.
            with suppress(HostLacks):
                intermediate = _new_intermediate(state, project) or intermediate
        if intermediate is None:
            raise NeedsPerson(
                "cannot make a new intermediate CA",
                f"{state.ca}/root.key, which has to sign it, is not on this host",
                f"bring root.key back to {state.ca} for this one command",
            )
        _encrypt_root_key(state)
        _note_expiry(state, intermediate)
        roots, bridge = (state.ca / "root.pem").read_bytes(), state.ca / "bridge.pem"
        # What leads to an old root goes with it.
        bridged = len(pki.certificates_in(roots)) > 1 and bridge.exists()
        sent = intermediate.certificate + (bridge.read_bytes() if bridged else b"")
    return roots, pki.Signed(sent, intermediate.key)


def _new_intermediate(state: State, project: str) -> pki.Signed | None:
    """None where the root's key is away."""
    if not (state.ca / "root.pem").exists():
        _keep(state.ca, "root", _encrypted(state, pki.make_root(project, _now())))
    root = signing_root(state)
    return _keep(state.ca, "intermediate", pki.make_intermediate(root, project, _now())) if root else None


def signing_root(state: State) -> pki.Signed | None:
    """The root with its key; None where the key is not on this host. Raises HostLacks where it cannot be read."""
    kept = _kept(state, "root")
    if kept is None or not pki.encrypted(kept.key):
        return kept
    return pki.Signed(kept.certificate, _decrypted(state, kept.key))


def _encrypted(state: State, signed: pki.Signed) -> pki.Signed:
    passphrase = state.ca / "passphrase"
    if not passphrase.exists():
        files.write(passphrase, secrets.token_urlsafe(PASSPHRASE_BYTES) + "\n", mode=0o600)
    return pki.Signed(signed.certificate, pki.encrypt(signed.key, passphrase.read_bytes().strip()))


def _decrypted(state: State, key: bytes) -> bytes:
    """Raises HostLacks where the passphrase is away or another one."""
    passphrase = state.ca / "passphrase"
    try:
        return pki.decrypt(key, passphrase.read_bytes().strip())
    except (FileNotFoundError, ValueError):
        why = "does not fit it" if passphrase.exists() else "is not on this host"
        raise HostLacks(
            "cannot read the key of the root CA", f"the key is encrypted, and {passphrase} {why}",
            f"bring the passphrase to {passphrase} for this one command (mode 0600)",
        ) from None  # fmt: skip


def _encrypt_root_key(state: State) -> None:
    """A root's key of an earlier version is stored in the clear."""
    kept = _kept(state, "root")
    if kept and not pki.encrypted(kept.key):
        files.write(state.ca / "root.key", _encrypted(state, kept).key, mode=0o600)


def _root(state: State) -> x509.Certificate:
    """The root that signs."""
    return x509.load_pem_x509_certificate((state.ca / "root.pem").read_bytes())


def _note_expiry(state: State, intermediate: pki.Signed) -> None:
    ends = {"root": _root(state), "intermediate": x509.load_pem_x509_certificate(intermediate.certificate)}
    content = files.dump({name: one.not_valid_after_utc.timestamp() for name, one in ends.items()})
    _write_if_changed(state.ca / "expires.json", content.encode())


def _kept(state: State, name: str) -> pki.Signed | None:
    with suppress(FileNotFoundError):
        return pki.Signed((state.ca / f"{name}.pem").read_bytes(), (state.ca / f"{name}.key").read_bytes())
    return None


def _keep(folder: Path, name: str, signed: pki.Signed) -> pki.Signed:
    # The key first: a certificate without its key would never be replaced.
    files.write(folder / f"{name}.key", signed.key, mode=0o600)
    files.write(folder / f"{name}.pem", signed.certificate)
    return signed


def make_next(state: State, project: str, *, bridged: bool) -> None:
    """The next authority, complete, beside the present one. `bridged`: have the present root cross-sign it, for which its key
    is needed. Raises HostLacks where that key is away."""
    # With what killed commands have left: there are keys in it.
    for left in (state.ca / "next", *state.ca.glob(".next.*"), *state.ca.glob(".promoted.*")):
        shutil.rmtree(left, ignore_errors=True)
    fresh = state.ca / f".next.{secrets.token_hex(4)}"
    fresh.mkdir(mode=0o700)
    try:
        root = pki.make_root(project, _now())
        intermediate = pki.make_intermediate(root, project, _now())
        if bridged:
            old = signing_root(state)
            if old is None:
                raise HostLacks(
                    "cannot cross-sign the new root with the old one", f"{state.ca}/root.key is not on this host",
                    "inv certs.ca --bring FILE restores it for this command; if it is lost: --lost-key",
                )  # fmt: skip
            files.write(fresh / "bridge.pem", pki.bridges(old, root, intermediate, _now()))
        _keep(fresh, "intermediate", intermediate)
        _keep(fresh, "root", _encrypted(state, root))
        fresh.rename(state.ca / "next")
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def trust_both(state: State) -> None:
    """The present roots and the next one."""
    present, coming = (state.ca / "root.pem").read_bytes(), (state.ca / "next" / "root.pem").read_bytes()
    if coming not in present:
        files.write(state.ca / "root.pem", present + coming)


def promote_next(state: State) -> None:
    """From here on the next authority signs. Killed in between, the next command that signs anything completes it."""
    with _one_at_a_time:
        if (state.ca / "next").is_dir():
            files.write(state.ca / "next" / "promote", "")
        _promote(state)


def _promote(state: State) -> None:
    coming = state.ca / "next"
    if not (coming / "promote").exists():
        return
    if not (coming / "bridge.pem").exists():
        (state.ca / "bridge.pem").unlink(missing_ok=True)
    for source in (coming / name for name in PROMOTED if (coming / name).exists()):
        content, target = source.read_bytes(), state.ca / source.name
        if source.name == "root.pem":
            # The new one first, which signs; the old one stays trusted.
            content += target.read_bytes().replace(content, b"")
        files.write(target, content, mode=0o600 if source.suffix == ".key" else 0o644)
    # Out of the way in one step: what is removed file by file, and killed in between, would be promoted again in part.
    done = coming.with_name(f".promoted.{secrets.token_hex(4)}")
    coming.rename(done)
    shutil.rmtree(done)


def drop_old(state: State) -> None:
    """Trust the root that signs, and no other."""
    files.write(state.ca / "root.pem", pki.pem(_root(state)))
    (state.ca / "bridge.pem").unlink(missing_ok=True)


def distribute_roots(state: State) -> None:
    """Write the trusted roots where each service, and the stack's clients of the public site, read them."""
    roots, elsewhere = (state.ca / "root.pem").read_bytes(), state.ca / "elsewhere.pem"
    for service in state.certs.iterdir():
        if (service / TLS).exists():
            _write_if_changed(service / folder.ROOTS, roots)
    if elsewhere.exists():
        _write_if_changed(state.ca / SITE, roots + elsewhere.read_bytes())
    else:
        (state.ca / SITE).unlink(missing_ok=True)


def trust_elsewhere(state: State, roots: bytes) -> None:
    """Have the stack's clients of the public site trust these roots, too. Previous ones stay: one of their certificates may
    have to be restored."""
    path = state.ca / "elsewhere.pem"
    before = path.read_bytes() if path.exists() else b""
    if roots not in before:
        files.write(path, before + roots)
    distribute_roots(state)


def _write_if_changed(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        files.write(path, content)


def export_root(state: State, file: Path, *, remove: bool) -> None:
    """The root's certificate and its encrypted key in one file for root alone. `remove`: remove the key from this host, once
    the copy has been read back. Raises OpsError where the key is not here, or the copy cannot be read back with the
    passphrase."""
    _encrypt_root_key(state)
    kept = _kept(state, "root")
    if kept is None:
        raise OpsError("there is no key to export", f"{state.ca}/root.key is not on this host", "inv certs shows where it is")
    if file.exists():
        raise OpsError(f"{file} exists already", "a copy of a key is not written over", "name another file")
    files.write(file, kept.key + pki.pem(_root(state)), mode=0o600)
    _decrypted(state, file.read_bytes())
    if remove:
        (state.ca / "root.key").unlink()


def import_root(state: State, file: Path) -> None:
    """Take the key back. Raises OpsError where it is not that of the root that signs."""
    content = file.read_bytes()
    if pki.key_in(_decrypted(state, content)).public_key() != _root(state).public_key():
        raise OpsError(f"{file} is another root's key", f"it does not belong to {state.ca}/root.pem", "name the right file")
    files.write(state.ca / "root.key", content[: content.find(b"-----BEGIN CERTIFICATE-----")], mode=0o600)


def new_leaf(state: State, project: str, service: str, names: Sequence[str]) -> bytes:
    """Key and chain of a new certificate, in one PEM. `names`: host names and addresses."""
    _, intermediate = authority(state, project)
    leaf = pki.issue(intermediate, service, names, _now())
    sent = leaf.certificate + intermediate.certificate
    # The other way round an old root is for strangers' clients, and Java takes no chain that forks.
    return leaf.key + (sent if service == EDGE else pki.one_way(sent))


def issue_certificate(state: State, project: str, service: str, owner: int, names: Sequence[str]) -> None:
    """Issue and install a service's certificate. `owner`: uid that reads the key. `names`: host names and addresses of the
    certificate."""
    file = state.certs / service / TLS
    folder.stage(file, new_leaf(state, project, service, names), owner)
    files.write(file.with_name(folder.ROOTS), (state.ca / "root.pem").read_bytes())
    folder.swap(file)
    folder.settle(file)
    public = file.with_name(PUBLIC_TLS)
    if service == EDGE and not os.path.lexists(public):
        files.link(public, TLS)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
