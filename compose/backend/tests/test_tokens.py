"""Which tokens are believed, and how the realm's keys are kept."""

import asyncio
import base64
import time

import pytest
from conftest import AUDIENCE, ISSUER
from cryptography.hazmat.primitives.asymmetric import rsa

from app.auth import jwks
from app.auth.jwks import RealmKeys
from app.auth.tokens import KeysUnavailable, TokenRefused, TokenVerifier


def verify(realm, token, fetch=None):
    async def run():
        keys = RealmKeys("http://realm.test", lambda: None, fetch or realm.document)
        return await TokenVerifier(ISSUER, AUDIENCE).verify(token, keys)

    return asyncio.run(run())


def test_a_good_token_names_its_caller_and_roles(realm):
    caller = verify(realm, realm.token(roles=("viewer", "editor", "offline_access")))
    assert (caller.username, caller.roles) == ("olga", ("viewer", "editor"))
    assert caller.allows("editor") and not caller.allows("admin")


@pytest.mark.parametrize("access", [None, [], {"roles": 7}, {"roles": "viewer"}])
def test_a_token_without_roles_is_believed_but_allows_nothing(realm, access):
    assert not verify(realm, realm.token(realm_access=access)).allows("viewer")


def deep() -> str:
    """A header that is nested more deeply than Python recurses."""
    return base64.urlsafe_b64encode(b"[" * 6000).decode().rstrip("=")


@pytest.mark.parametrize(
    ("make", "label"),
    [
        (lambda r: r.token(exp=int(time.time()) - 60), "expired"),
        (lambda r: r.token(aud="account"), "audience"),
        (lambda r: r.token(iss="https://evil.test"), "issuer"),
        (lambda r: r.token(sub=None), "claims"),
        (lambda r: r.token(exp=None), "claims"),
        (lambda r: r.token(nbf=int(time.time()) + 60), "claims"),
        (lambda r: r.token(algorithm="none"), "algorithm"),
        (lambda r: r.token(key="x" * 40, algorithm="HS256"), "algorithm"),
        (lambda r: r.token(key=rsa.generate_private_key(public_exponent=65537, key_size=2048)), "signature"),
        (lambda r: r.token(kid="other"), "key"),
        (lambda r: r.token(kid="enc"), "key"),
        (lambda r: "abc.def.ghi", "malformed"),
        (lambda r: "x" * 9000, "malformed"),
        (lambda r: "\ud800", "malformed"),
        (lambda r: "ä.ö.ü", "malformed"),
        (lambda r: "", "malformed"),
        (lambda r: f"{deep()}.e30.c2ln", "malformed"),
        (lambda r: "bnVsbA.e30.c2ln", "malformed"),
        (lambda r: r.token(exp=float("inf")), "claims"),
        (lambda r: r.token(sub=7), "claims"),
    ],
)
def test_a_bad_token_is_refused_for_its_reason(realm, make, label):
    with pytest.raises(TokenRefused) as refused:
        verify(realm, make(realm))
    assert refused.value.label == label


def test_without_any_key_nothing_is_said_about_the_token(realm):
    def away(_url):
        raise OSError("refused")

    with pytest.raises(KeysUnavailable):
        verify(realm, realm.token(), away)


def test_unknown_keys_ask_the_realm_once_in_a_while_only(realm):
    async def run():
        keys = RealmKeys("http://realm.test", lambda: None, realm.document)
        await asyncio.gather(*(keys.get(f"invented-{n}") for n in range(50)))

    asyncio.run(run())
    assert realm.fetched == 1


def test_a_new_key_is_found_and_the_last_good_ones_outlive_an_outage(realm, monkeypatch):
    monkeypatch.setattr(jwks, "UNKNOWN_KEY_PAUSE", 0)
    answers = []

    def fetch(url):
        if answers:
            raise answers[0]
        return realm.document(url)

    async def run():
        keys = RealmKeys("http://realm.test", lambda: None, fetch)
        assert await keys.get("k1")
        realm.published = ["k1", "k2"]
        assert await keys.get("k2")
        answers.append(OSError("away"))
        assert await keys.get("k3") is None
        assert await keys.get("k1") and keys.available

    asyncio.run(run())


def test_a_withdrawn_key_takes_its_remembered_tokens_with_it(realm, monkeypatch):
    monkeypatch.setattr(jwks, "UNKNOWN_KEY_PAUSE", 0)

    async def run():
        verifier = TokenVerifier(ISSUER, AUDIENCE)
        keys = RealmKeys("http://realm.test", verifier.forget, realm.document)
        token = realm.token()
        await verifier.verify(token, keys)
        realm.published = ["k2"]
        await keys.get("k2")
        with pytest.raises(TokenRefused):
            await verifier.verify(token, keys)

    asyncio.run(run())


def test_a_remembered_token_still_expires(realm, monkeypatch):
    async def run():
        verifier = TokenVerifier(ISSUER, AUDIENCE)
        keys = RealmKeys("http://realm.test", lambda: None, realm.document)
        token = realm.token()
        await verifier.verify(token, keys)
        later = time.time() + 1000
        monkeypatch.setattr(time, "time", lambda: later)
        with pytest.raises(TokenRefused) as refused:
            await verifier.verify(token, keys)
        assert refused.value.label == "expired"

    asyncio.run(run())


def test_encryption_keys_are_not_signing_keys(realm):
    assert list(jwks.parse(realm.document())) == ["k1"]


def test_a_new_key_is_found_at_once_right_after_a_fetch_by_the_clock(realm):
    async def run():
        keys = RealmKeys("http://realm.test", lambda: None, realm.document)
        background = asyncio.create_task(keys.run())
        while not keys.available:
            await asyncio.sleep(0)
        realm.published = ["k1", "k2"]
        assert await keys.get("k2")
        background.cancel()

    asyncio.run(run())
