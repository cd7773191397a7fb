"""The internal certificate authority: a root, an intermediate that signs, and leaves for the services. Pure: bytes out.

Keys are EC P-256, which every client of TLS 1.2 and 1.3 accepts.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ops.certificates.served.renewal import renew_at

ROOT_DAYS = 3650
INTERMEDIATE_DAYS = 1825
LEAF_DAYS = 30
_BACKDATE = dt.timedelta(hours=1)
"""Let's Encrypt backdates by an hour, for clients whose clock is behind."""


@dataclass(frozen=True)
class Signed:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


def _name(common: str) -> x509.Name:
    return x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "CC03"), x509.NameAttribute(NameOID.COMMON_NAME, common)
    ])  # fmt: skip


def _pem_key(key: ec.EllipticCurvePrivateKey, passphrase: bytes = b"") -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption(),
    )  # fmt: skip


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, until: dt.datetime, now: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _until(days: int, now: dt.datetime, issuer: x509.Certificate) -> dt.datetime:
    """Nothing outlives what signed it: the chain would end before its leaf says."""
    return min(now + dt.timedelta(days=days), issuer.not_valid_after_utc)


def _usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=ca, crl_sign=ca, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def make_root(project: str, now: dt.datetime) -> Signed:
    """A self-signed root for one project; only the intermediate is ever signed with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"{project} root CA")
    certificate = (
        _builder(name, name, key.public_key(), now + dt.timedelta(days=ROOT_DAYS), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Signed(pem(certificate), _pem_key(key))


def bridges(old: Signed, new: Signed, intermediate: Signed, now: dt.datetime) -> bytes:
    """What leads a client that trusts only the old root to what the new intermediate signs: two ways, since clients differ.

    The new root, vouched for by the old one: OpenSSL follows no other way. Both roots bear the same name, so it is self-issued
    and does not count against the old root's path length (RFC 4210, 4.4, "new with old"; RFC 5280, 4.2.1.9). Go counts it all
    the same, and takes the second way: the new intermediate, signed by the old root.
    """
    issuer, issuer_key = _load(old)

    def vouched(subject: x509.Certificate, path_length: int) -> bytes:
        key = subject.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise ValueError("the new authority's key is not an EC key")
        until = min(subject.not_valid_after_utc, issuer.not_valid_after_utc)
        certificate = (
            _builder(subject.subject, issuer.subject, key, until, now)
            .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
            .sign(issuer_key, hashes.SHA256())
        )
        return pem(certificate)

    return vouched(_load(new)[0], 1) + vouched(_load(intermediate)[0], 0)


def one_way(chain: bytes) -> bytes:
    """The beginning of a chain, PEM, in which each certificate is followed by the one that signed it."""
    kept: list[x509.Certificate] = []
    for one in x509.load_pem_x509_certificates(chain):
        if kept and kept[-1].issuer != one.subject:
            break
        kept.append(one)
    return b"".join(map(pem, kept))


def make_intermediate(root: Signed, project: str, now: dt.datetime) -> Signed:
    """The authority that signs leaves; it can sign no further authority."""
    issuer, issuer_key = _load(root)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(
            _name(f"{project} intermediate CA"), issuer.subject, key.public_key(), _until(INTERMEDIATE_DAYS, now, issuer), now
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(ca=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return Signed(pem(certificate), _pem_key(key))


def issue(intermediate: Signed, common_name: str, names: Sequence[str], now: dt.datetime) -> Signed:
    """A leaf for server and client use.

    Parameters
    ----------
    common_name: the service; pgBackRest's server authorises its clients by it. names: host names and addresses.
    """
    issuer, issuer_key = _load(intermediate)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_name(common_name), issuer.subject, key.public_key(), _until(LEAF_DAYS, now, issuer), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return Signed(pem(certificate), _pem_key(key))


def encrypted(key: bytes) -> bool:
    """Whether a PEM key needs a passphrase."""
    return b"ENCRYPTED" in key


def encrypt(key: bytes, passphrase: bytes) -> bytes:
    """An EC key, readable with that passphrase only."""
    return _pem_key(_ec_key(key), passphrase)


def decrypt(key: bytes, passphrase: bytes) -> bytes:
    """The key without its passphrase. Raises ValueError where that is another one."""
    return _pem_key(_ec_key(key, passphrase))


def renew_after(certificate: x509.Certificate) -> dt.datetime:
    """When it is to be renewed (UTC)."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return dt.datetime.fromtimestamp(renew_at(begins.timestamp(), ends.timestamp(), certificate.serial_number), dt.UTC)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _load(signed: Signed) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Where the PEM holds several certificates, the first one is the key's."""
    return x509.load_pem_x509_certificate(signed.certificate), _ec_key(signed.key)


def _ec_key(pem: bytes, passphrase: bytes | None = None) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=passphrase)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the authority's key is not an EC key")
    return key
