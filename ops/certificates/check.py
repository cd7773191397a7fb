"""Is this certificate one that clients will accept? Asked before it is put in place; empty means that it is. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import VerificationError

from ops.certificates import chains

LEAST_RSA_BITS = 2048
"""What the CA/Browser Forum's baseline requirements ask for (6.1.5)."""


@dataclass(frozen=True)
class Facts:
    """What a certificate says of itself. Times are UTC."""

    names: tuple[str, ...]
    issuer: str
    serial: str
    """Hexadecimal, as OpenSSL prints it."""
    begins: dt.datetime
    expires: dt.datetime
    key: str
    """Kind of the key, such as `EC P-256` or `RSA 2048`."""


def facts(certificate: x509.Certificate) -> Facts:
    return Facts(
        names_of(certificate), common_name(certificate.issuer), f"{certificate.serial_number:X}",
        certificate.not_valid_before_utc, certificate.not_valid_after_utc, _kind(certificate.public_key()),
    )  # fmt: skip


def common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(x509.oid.NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Host names and addresses that it is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in found)


def _kind(key: PublicKeyTypes) -> str:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC {key.curve.name}".replace("secp256r1", "P-256").replace("secp384r1", "P-384")
    return f"RSA {key.key_size}" if isinstance(key, rsa.RSAPublicKey) else type(key).__name__


def certificates_in(pem: bytes) -> list[x509.Certificate]:
    """Those of a PEM file, in its order; none where it holds none. Raises ValueError where one is broken off."""
    if pem.count(b"-----BEGIN CERTIFICATE-----") != pem.count(b"-----END CERTIFICATE-----"):
        raise ValueError("it ends in the middle of a certificate")
    return x509.load_pem_x509_certificates(pem) if b"-----BEGIN CERTIFICATE-----" in pem else []


def key_in(pem: bytes) -> PrivateKeyTypes:
    """Raises ValueError, in words for the operator, where there is none that can be read."""
    if b"PRIVATE KEY-----" not in pem:
        raise ValueError("it contains no private key")
    try:
        return serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError("its key has a passphrase: nothing could start without a person") from None
    except ValueError:
        raise ValueError("its key is truncated or damaged") from None


def covers(certificate: x509.Certificate, name: str) -> bool:
    """Whether it is for that name; `*.example.com` is for one label in place of the asterisk (RFC 6125, 6.4.3)."""
    wanted = name.lower().rstrip(".")
    own = {one.lower() for one in names_of(certificate)}
    return wanted in own or (not _is_address(wanted) and f"*.{wanted.partition('.')[2]}" in own)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def problems(
    chain: Sequence[x509.Certificate], key: PrivateKeyTypes, names: Sequence[str], roots: Iterable[x509.Certificate],
    now: dt.datetime,
) -> list[str]:  # fmt: skip
    """Why a client would refuse it, each in words; none where all is well.

    Parameters
    ----------
    chain: the leaf first. names: all of them must be covered. roots: what clients trust.
    """
    leaf, others = chain[0], chain[1:]
    found = []
    if key.public_key() != leaf.public_key():
        found.append("the key is not that of the certificate")
    if missing := [name for name in names if not covers(leaf, name)]:
        found.append(f"it is not for {', '.join(missing)}, but for {', '.join(names_of(leaf)) or 'no name'}")
    found += _of_itself(leaf, now)
    if not names_of(leaf):
        return found
    try:
        path = chains.path_of(leaf, others, roots, now)
    except VerificationError as problem:
        signer, why = common_name(leaf.issuer), str(problem).removeprefix("validation failed: ")
        said = f"the chain is not complete: nothing leads from {signer}, which signed it, to a root that is trusted ({why})"
        return [*found, said]
    found += [said for one in path[1:] for said in _times(one, now, f"{common_name(one.subject)}, which its chain needs,")]
    return found


def _of_itself(leaf: x509.Certificate, now: dt.datetime) -> list[str]:
    found = _times(leaf, now, "it")
    public = leaf.public_key()
    if isinstance(public, rsa.RSAPublicKey) and public.key_size < LEAST_RSA_BITS:
        found.append(f"its RSA key has {public.key_size} bits; {LEAST_RSA_BITS} are the least that clients accept")
    if _is_authority(leaf):
        found.append("it is the certificate of an authority, not of a server")
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        if ExtendedKeyUsageOID.SERVER_AUTH not in usage:
            found.append("it is not for servers (extended key usage)")
    except x509.ExtensionNotFound:
        pass
    return found


def _times(certificate: x509.Certificate, now: dt.datetime, what: str) -> list[str]:
    if now < certificate.not_valid_before_utc:
        return [f"{what} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"]
    if now >= certificate.not_valid_after_utc:
        return [f"{what} has expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"]
    return []
