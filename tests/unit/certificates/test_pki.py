"""The internal CA, judged by an independent verifier that follows the rules of the web's PKI."""

from __future__ import annotations

import datetime as dt
from ipaddress import ip_address
from itertools import pairwise

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from ops.certificates import pki

NOW = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
ROOT = pki.make_root("cc03", NOW)
INTERMEDIATE = pki.make_intermediate(ROOT, "cc03", NOW)
LEAF = pki.issue(INTERMEDIATE, "postgres", ["postgres", "localhost", "127.0.0.1"], NOW)


def parsed(signed: pki.Signed) -> x509.Certificate:
    return x509.load_pem_x509_certificate(signed.certificate)


def verify(leaf: pki.Signed, subject: x509.GeneralName, *, root: pki.Signed = ROOT, at: dt.datetime = NOW) -> int:
    """Length of the chain by which a TLS client would accept the leaf. Raises VerificationError where it would not."""
    assert isinstance(subject, x509.DNSName | x509.IPAddress)
    verifier = PolicyBuilder().store(Store([parsed(root)])).time(at).build_server_verifier(subject)
    return len(verifier.verify(parsed(leaf), [parsed(INTERMEDIATE)]))


@pytest.mark.parametrize(
    "name", [x509.DNSName("postgres"), x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))], ids=str
)
def test_client_accepts_the_chain_for_every_name_of_the_certificate(name: x509.GeneralName) -> None:
    assert verify(LEAF, name) == 3


def test_client_refuses_another_name() -> None:
    with pytest.raises(VerificationError):
        verify(LEAF, x509.DNSName("redis"))


def test_client_of_another_project_refuses_the_chain() -> None:
    with pytest.raises(VerificationError):
        verify(LEAF, x509.DNSName("postgres"), root=pki.make_root("cc03", NOW))


@pytest.mark.parametrize(
    ("at", "accepted"),
    [
        (NOW - dt.timedelta(minutes=59), True),
        (NOW - dt.timedelta(minutes=61), False),
        (NOW + dt.timedelta(days=29), True),
        (NOW + dt.timedelta(days=31), False),
    ],
)
def test_certificate_is_good_for_30_days_and_for_clocks_an_hour_behind(at: dt.datetime, accepted: bool) -> None:
    if accepted:
        assert verify(LEAF, x509.DNSName("postgres"), at=at) == 3
    else:
        with pytest.raises(VerificationError):
            verify(LEAF, x509.DNSName("postgres"), at=at)


@pytest.mark.parametrize(
    ("signed", "days"), [(ROOT, 3650), (INTERMEDIATE, 1825), (LEAF, 30)], ids=["root", "intermediate", "leaf"]
)
def test_lifetimes(signed: pki.Signed, days: int) -> None:
    assert parsed(signed).not_valid_after_utc == NOW + dt.timedelta(days=days)


def test_intermediate_can_sign_no_further_authority() -> None:
    def constraints(signed: pki.Signed) -> tuple[bool, int | None]:
        found = parsed(signed).extensions.get_extension_for_class(x509.BasicConstraints).value
        return found.ca, found.path_length

    assert [constraints(one) for one in (ROOT, INTERMEDIATE, LEAF)] == [(True, 1), (True, 0), (False, None)]


def test_leaf_serves_and_identifies_its_service_as_a_client() -> None:
    leaf = parsed(LEAF)

    assert leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "postgres"
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def test_key_belongs_to_its_certificate_and_every_certificate_has_its_own() -> None:
    for signed in (ROOT, INTERMEDIATE, LEAF):
        assert load_pem_private_key(signed.key, None).public_key() == parsed(signed).public_key()
    again = pki.issue(INTERMEDIATE, "postgres", ["postgres"], NOW)
    assert again.key != LEAF.key
    assert parsed(again).serial_number != parsed(LEAF).serial_number


def test_authority_without_an_ec_key_is_refused() -> None:
    other = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    with pytest.raises(ValueError, match="not an EC key"):
        pki.issue(pki.Signed(INTERMEDIATE.certificate, other), "postgres", ["postgres"], NOW)


def chain_of(leaf: pki.Signed, root: bytes, sent: bytes) -> int:
    """Length of the chain by which a client that trusts `root` accepts the leaf, given what is sent along."""
    store = Store([x509.load_pem_x509_certificate(root)])
    verifier = PolicyBuilder().store(store).time(NOW).build_server_verifier(x509.DNSName("postgres"))
    return len(verifier.verify(parsed(leaf), x509.load_pem_x509_certificates(sent)))


def test_chain_that_forks_is_cut_where_it_does() -> None:
    new = pki.make_root("cc03", NOW)
    signer = pki.make_intermediate(new, "cc03", NOW)
    leaf = pki.issue(signer, "keycloak", ["keycloak"], NOW)
    forked = leaf.certificate + signer.certificate + pki.bridges(ROOT, new, signer, NOW)

    kept = x509.load_pem_x509_certificates(pki.one_way(forked))
    assert [one.public_bytes(Encoding.PEM) for one in kept] == [
        one.public_bytes(Encoding.PEM) for one in x509.load_pem_x509_certificates(forked)[:3]
    ]
    # As Java's key stores look at it (PKCS12KeyStore.validateChain).
    assert all(one.issuer == by.subject for one, by in pairwise(kept))
    assert pki.one_way(leaf.certificate + signer.certificate) == leaf.certificate + signer.certificate


def test_bridges_lead_who_trusts_the_old_root_to_what_the_new_authority_signed() -> None:
    new = pki.make_root("cc03", NOW)
    signer = pki.make_intermediate(new, "cc03", NOW)
    leaf = pki.issue(signer, "postgres", ["postgres"], NOW)
    sent = signer.certificate + pki.bridges(ROOT, new, signer, NOW)

    assert chain_of(leaf, ROOT.certificate, sent) == 3
    assert chain_of(leaf, new.certificate, sent) == 3
    with pytest.raises(VerificationError):
        chain_of(leaf, ROOT.certificate, signer.certificate)


def test_new_root_vouched_for_by_the_old_one_is_self_issued() -> None:
    """So that the old root's path length, 1, allows for it: OpenSSL knows this way only."""
    new = pki.make_root("cc03", NOW)
    (first, _) = x509.load_pem_x509_certificates(pki.bridges(ROOT, new, pki.make_intermediate(new, "cc03", NOW), NOW))

    assert first.subject == first.issuer == parsed(ROOT).subject
    assert first.public_key() == parsed(new).public_key()
    first.verify_directly_issued_by(parsed(ROOT))


def test_nothing_outlives_what_signed_it() -> None:
    late = NOW + dt.timedelta(days=1820)
    leaf = pki.issue(INTERMEDIATE, "postgres", ["postgres"], late)

    assert parsed(leaf).not_valid_after_utc == parsed(INTERMEDIATE).not_valid_after_utc


def test_key_is_encrypted_and_opens_with_its_passphrase_only() -> None:
    kept = pki.encrypt(ROOT.key, b"secret")

    assert pki.encrypted(kept) and not pki.encrypted(ROOT.key)
    assert pki.decrypt(kept, b"secret") == ROOT.key
    with pytest.raises(ValueError):
        pki.decrypt(kept, b"another")


def test_renewal_is_at_two_thirds_of_its_life_or_a_little_earlier() -> None:
    moments = {pki.renew_after(parsed(pki.issue(INTERMEDIATE, "postgres", ["postgres"], NOW))) for _ in range(20)}

    life = dt.timedelta(days=30, hours=1)
    begins = NOW - dt.timedelta(hours=1)
    assert all(begins + life * (2 / 3 - 0.05) <= moment <= begins + life * 2 / 3 for moment in moments)
    assert len(moments) > 1, "all at once"
