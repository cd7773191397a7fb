"""The internal certificate authority: a root, an intermediate that signs, and leaves for the services. Pure: bytes out.

Keys are EC P-256, which every client of TLS 1.2 and 1.3 accepts.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

from ops.certificates.served.renewal import renew_at

ROOT_DAYS = 3650
INTERMEDIATE_DAYS = 1825
LEAF_DAYS = 30
E = TypeVar("E", bound=x509.ExtensionType)
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


def pem_key(key: PrivateKeyTypes, passphrase: bytes = b"") -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption(),
    )  # fmt: skip


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _sign(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, by: tuple[x509.Name, ec.EllipticCurvePrivateKey], until: dt.datetime,
    now: dt.datetime, *more: x509.ExtensionType, length: int | None = None,
) -> bytes:  # fmt: skip
    """A certificate, PEM. `by`: name and key of the issuer. `more`: extensions besides. `length`: path length of an authority;
    None: it is none."""
    is_ca = length is not None
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=is_ca, crl_sign=is_ca, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    issuer, issuer_key = by
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
        .serial_number(x509.random_serial_number()).not_valid_before(now - _BACKDATE).not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=length), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )  # fmt: skip
    if key != issuer_key.public_key():
        more = (*more, x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()))
    for extension in more:
        builder = builder.add_extension(extension, critical=False)
    return pem(builder.sign(issuer_key, hashes.SHA256()))


def make_root(project: str, now: dt.datetime) -> Signed:
    """A self-signed root for one project; only the intermediate is ever signed with it."""
    key, name = ec.generate_private_key(ec.SECP256R1()), _name(f"{project} root CA")
    return Signed(_sign(name, key.public_key(), (name, key), now + dt.timedelta(days=ROOT_DAYS), now, length=1), pem_key(key))


def make_intermediate(root: Signed, project: str, now: dt.datetime) -> Signed:
    """The authority that signs leaves; it can sign no further authority."""
    return _signed(root, f"{project} intermediate CA", INTERMEDIATE_DAYS, now, length=0)


def issue(intermediate: Signed, common_name: str, names: Sequence[str], now: dt.datetime) -> Signed:
    """A leaf for server and client use. `common_name`: the service; pgBackRest's server authorises its clients by it. `names`:
    host names and addresses."""
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
    return _signed(intermediate, common_name, LEAF_DAYS, now, usage, alternatives)


def _signed(
    signer: Signed, common: str, days: int, now: dt.datetime, *more: x509.ExtensionType, length: int | None = None
) -> Signed:  # fmt: skip
    issuer, issuer_key = _load(signer)
    key = ec.generate_private_key(ec.SECP256R1())
    # Nothing outlives what signed it: the chain would end before its leaf says.
    until = min(now + dt.timedelta(days=days), issuer.not_valid_after_utc)
    made = _sign(_name(common), key.public_key(), (issuer.subject, issuer_key), until, now, *more, length=length)
    return Signed(made, pem_key(key))


def bridges(old: Signed, new: Signed, intermediate: Signed, now: dt.datetime) -> bytes:
    """What leads a client that trusts only the old root to what the new intermediate signs: two ways, since clients differ.

    The new root, cross-signed by the old one: OpenSSL follows no other way. Both roots bear the same name, so it is self-issued
    and does not count against the old root's path length (RFC 4210, 4.4, "new with old"; RFC 5280, 4.2.1.9). Go counts it all
    the same, and takes the second way: the new intermediate, signed by the old root.
    """
    issuer, issuer_key = _load(old)

    def cross_signed(one: Signed, length: int) -> bytes:
        subject, key = _load(one)
        until = min(subject.not_valid_after_utc, issuer.not_valid_after_utc)
        return _sign(subject.subject, key.public_key(), (issuer.subject, issuer_key), until, now, length=length)

    return cross_signed(new, 1) + cross_signed(intermediate, 0)


def one_way(chain: bytes) -> bytes:
    """The beginning of a chain, PEM, in which each certificate is followed by the one that signed it."""
    kept: list[x509.Certificate] = []
    for one in x509.load_pem_x509_certificates(chain):
        if kept and kept[-1].issuer != one.subject:
            break
        kept.append(one)
    return b"".join(map(pem, kept))


def encrypted(key: bytes) -> bool:
    """Whether a PEM key needs a passphrase."""
    return b"ENCRYPTED" in key


def encrypt(key: bytes, passphrase: bytes) -> bytes:
    """An EC key, readable with that passphrase only."""
    return pem_key(ec_key(key), passphrase)


def decrypt(key: bytes, passphrase: bytes) -> bytes:
    """The key without its passphrase. Raises ValueError where that is another one."""
    return pem_key(ec_key(key, passphrase))


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
    return x509.load_pem_x509_certificate(signed.certificate), ec_key(signed.key)


def ec_key(pem: bytes, passphrase: bytes | None = None) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=passphrase)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("it is not an EC key")
    return key


# As browsers and OpenSSL have it for authorities of one's own: what is not there is not asked for. Signatures, names, path
# lengths and name constraints count in any case.
OF_CA = ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
OF_LEAF = ExtensionPolicy.permit_all().require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)


def path_of(
    leaf: x509.Certificate, others: Sequence[x509.Certificate], roots: Iterable[x509.Certificate], now: dt.datetime
) -> list[x509.Certificate]:  # fmt: skip
    """From the leaf to one of the roots, both included. Where no path is valid now, one that was valid when its certificates
    began, so that `problems` can tell what has expired. Raises VerificationError where there is none."""
    if not (trusted := list(roots)):
        raise VerificationError("no root is trusted")
    began = {one.not_valid_before_utc for one in (leaf, *others)}
    *earlier, last = (now, *sorted(began, reverse=True))
    for at in earlier:
        with suppress(VerificationError):
            return _verified(leaf, others, trusted, at)
    return _verified(leaf, others, trusted, last)


def _verified(
    leaf: x509.Certificate, others: Sequence[x509.Certificate], roots: list[x509.Certificate], at: dt.datetime
) -> list[x509.Certificate]:
    valid_at = PolicyBuilder().store(Store(roots)).time
    policies = valid_at(at).extension_policies(ca_policy=OF_CA, ee_policy=OF_LEAF)
    # Of a client, since that asks for no name; names and purpose are compared apart, to be told in words.
    return policies.build_client_verifier().verify(leaf, list(others)).chain


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


def serial_of_der(certificate: bytes) -> str:
    """Hexadecimal."""
    return f"{x509.load_der_x509_certificate(certificate).serial_number:X}"


def facts(certificate: x509.Certificate) -> Facts:
    return Facts(
        names_of(certificate), common_name(certificate.issuer), f"{certificate.serial_number:X}",
        certificate.not_valid_before_utc, certificate.not_valid_after_utc, _kind(certificate.public_key()),
    )  # fmt: skip


def common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(x509.oid.NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()


def _extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Host names and addresses that it is for."""
    return tuple(str(name.value) for name in _extension(certificate, x509.SubjectAlternativeName) or ())


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
    is_address = isinstance(_general_name(wanted), x509.IPAddress)
    return wanted in own or (not is_address and f"*.{wanted.partition('.')[2]}" in own)


def problems(
    chain: Sequence[x509.Certificate], key: PrivateKeyTypes, names: Sequence[str], roots: Iterable[x509.Certificate],
    now: dt.datetime,
) -> list[str]:  # fmt: skip
    """Why a client would refuse it, each in words; none where all is well. `chain`: the leaf first. `names`: all of them must
    be covered. `roots`: what clients trust."""
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
        path = path_of(leaf, others, roots, now)
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
    if (basic := _extension(leaf, x509.BasicConstraints)) and basic.ca:
        found.append("it is the certificate of an authority, not of a server")
    usage = _extension(leaf, x509.ExtendedKeyUsage)
    if usage is not None and ExtendedKeyUsageOID.SERVER_AUTH not in usage:
        found.append("it is not for servers (extended key usage)")
    return found


def _times(certificate: x509.Certificate, now: dt.datetime, what: str) -> list[str]:
    if now < certificate.not_valid_before_utc:
        return [f"{what} is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"]
    if now >= certificate.not_valid_after_utc:
        return [f"{what} has expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"]
    return []
