"""A realm of our own: a signing key, its JWKS document and tokens made to order."""

import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

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
