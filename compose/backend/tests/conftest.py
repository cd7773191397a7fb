"""A realm of our own: a signing key, its JWKS document and tokens made to order. And certificates of an authority of our own."""

import datetime as dt
import json
import os
import time
from pathlib import Path

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from app.tls import Tls

ISSUER = "https://example.test/auth/realms/cc03"
AUDIENCE = "cc03-backend"


class Realm:
    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.fetched = 0
        self.published = ["k1"]

    def document(self, _url: str = "") -> bytes:
        self.fetched += 1
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        public.pop("key_ops", None)
        signing = [{**public, "kid": kid, "use": "sig", "alg": "RS256"} for kid in self.published]
        return json.dumps({"keys": [*signing, {**public, "kid": "enc", "use": "enc", "alg": "RSA-OAEP"}]}).encode()

    def token(self, *, kid="k1", key=None, algorithm="RS256", roles=("viewer",), **claims) -> str:
        now = int(time.time())
        body = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "u-1",
            "preferred_username": "olga",
            "iat": now,
            "exp": now + 300,
            "realm_access": {"roles": list(roles)},
            **claims,
        }
        body = {name: value for name, value in body.items() if value is not None}
        signing = None if algorithm == "none" else key or self.key
        return jwt.encode(body, signing, algorithm=algorithm, headers={"kid": kid})


@pytest.fixture(scope="session")
def _realm() -> Realm:
    return Realm()


@pytest.fixture
def realm(_realm: Realm) -> Realm:
    _realm.fetched = 0
    _realm.published = ["k1"]
    return _realm


class Authority:
    """Signs certificates for `localhost`, into a folder such as each container has."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority of the tests")])
        self._root = self._signed(self._name, self._key.public_key(), ca=True)

    def issue(self, folder: Path) -> int:
        """By one rename each, as the stack does. Returns the serial number."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._signed(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "backend")]), key.public_key(), ca=False)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        for name, content in (("tls.pem", private + _pem(leaf)), ("ca.pem", _pem(self._root))):
            (folder / f".{name}").write_bytes(content)
            os.replace(folder / f".{name}", folder / name)
        return leaf.serial_number

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            # Without these three Python 3.13 trusts nobody.
            .add_extension(_usage(ca=ca), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )


def _usage(*, ca: bool) -> x509.KeyUsage:
    names = (
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "crl_sign",
        "encipher_only",
    )
    others = dict.fromkeys((*names, "decipher_only"), False)
    return x509.KeyUsage(digital_signature=not ca, key_cert_sign=ca, **others)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def tls(tmp_path: Path, authority: Authority) -> Tls:
    authority.issue(tmp_path)
    return Tls(tmp_path)
