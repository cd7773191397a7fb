"""What a client would refuse is found before it is put in place; what a rotation and another root take, also half way."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ops.certificates import pki
from ops.certificates.plan import IMPORTED, INTERNAL, SHARED, Authority, Stored, chosen, plan_import, plan_rollover, plan_rotate
from ops.certificates.steps import (
    LoadCertificate,
    PrepareCertificate,
    PrepareImported,
    PrepareOwn,
    RestartForRoots,
    VerifyServed,
)
from ops.core.errors import UsageProblem
from ops.core.plan import Plan
from ops.stack.certificates import Leaf, leaves
from tests.unit import builders

NOW = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
ROOT = pki.make_root("cc03", NOW)
SIGNER = pki.make_intermediate(ROOT, "cc03", NOW)
NAMES = ("shop.example.com", "127.0.0.1")
ROOTS = pki.certificates_in(ROOT.certificate)


def made(names: tuple[str, ...] = NAMES, at: dt.datetime = NOW) -> bytes:
    leaf = pki.issue(SIGNER, "nginx", names, at)
    return leaf.key + leaf.certificate + SIGNER.certificate


def found(pem: bytes, *, key: bytes = b"", names: tuple[str, ...] = NAMES, at: dt.datetime = NOW) -> list[str]:
    return pki.problems(pki.certificates_in(pem), pki.key_in(key or pem), names, ROOTS, at)


def test_good_one_has_no_problem() -> None:
    assert found(made()) == []


def test_key_of_another_certificate_is_found() -> None:
    assert found(made(), key=made()) == ["the key is not that of the certificate"]


def test_name_that_is_missing_is_found_and_said() -> None:
    (said,) = found(made(("www.example.com",)), names=("shop.example.com",))
    assert said == "it is not for shop.example.com, but for www.example.com"


def test_missing_intermediate_is_found() -> None:
    leaf = pki.issue(SIGNER, "nginx", NAMES, NOW)
    (said,) = found(leaf.key + leaf.certificate)
    assert said.startswith("the chain is not complete: nothing leads from cc03 intermediate CA")


def test_chain_to_a_root_that_nobody_trusts_is_not_complete() -> None:
    other = pki.make_intermediate(pki.make_root("cc03", NOW), "cc03", NOW)
    leaf = pki.issue(other, "nginx", NAMES, NOW)
    assert any("chain" in said for said in found(leaf.key + leaf.certificate + other.certificate))


@pytest.mark.parametrize(
    ("at", "said"),
    [(NOW + dt.timedelta(days=31), "it has expired on 2026-03-02"), (NOW - dt.timedelta(hours=2), "it is not valid before")],
)
def test_time_outside_of_its_life_is_found(at: dt.datetime, said: str) -> None:
    assert any(one.startswith(said) for one in found(made(), at=at))


def test_intermediate_that_has_expired_is_found() -> None:
    at = NOW + dt.timedelta(days=1826)
    assert any("cc03 intermediate CA, which its chain needs, has expired" in said for said in found(made(), at=at))


def test_authority_in_place_of_a_server_is_found() -> None:
    assert any("an authority" in said for said in found(SIGNER.key + SIGNER.certificate))


def test_short_rsa_key_is_found() -> None:
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "short")])
    leaf = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(NOW).not_valid_after(NOW + dt.timedelta(days=1)).sign(key, hashes.SHA256())
    )  # fmt: skip
    assert any("1024 bits" in said for said in pki.problems([leaf], key, (), [leaf], NOW))


def by_an_authority_of_its_own(*, length: int | None = None, only: str = "") -> list[str]:
    """Problems of a chain of root, two authorities and leaf.

    length: path length of the root. only: domain that the first authority may sign.
    """
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(4)]
    names = [x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, name)]) for name in ("root", "one", "two", "leaf")]
    chain = []
    for number, (name, key) in enumerate(zip(names, keys, strict=True)):
        issuer = max(number - 1, 0)
        builder = (
            x509.CertificateBuilder().subject_name(name).issuer_name(names[issuer]).public_key(key.public_key())
            .serial_number(number + 1).not_valid_before(NOW).not_valid_after(NOW + dt.timedelta(days=9))
            .add_extension(x509.BasicConstraints(number < 3, length if number == 0 else None), critical=True)
        )  # fmt: skip
        if number == 1 and only:
            builder = builder.add_extension(x509.NameConstraints([x509.DNSName(only)], None), critical=True)
        if number == 3:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAMES[0])]), critical=False)
        chain.append(builder.sign(keys[issuer], hashes.SHA256()))
    root, one, two, leaf = chain
    return pki.problems([leaf, two, one], keys[3], NAMES[:1], [root], NOW + dt.timedelta(hours=1))


def test_authority_that_says_little_of_itself_is_trusted() -> None:
    assert by_an_authority_of_its_own() == []


def test_authority_that_may_not_sign_another_one_is_found() -> None:
    (said,) = by_an_authority_of_its_own(length=0)
    assert "path length constraint violated" in said


def test_authority_that_may_not_sign_this_name_is_found() -> None:
    (said,) = by_an_authority_of_its_own(only="example.org")
    assert "no permitted name constraints matched" in said


@pytest.mark.parametrize(
    ("pem", "said"),
    [
        (b"nothing", "no private key"),
        (made()[:200], "truncated or damaged"),
        (pki.encrypt(ROOT.key, b"secret"), "passphrase"),
    ],
)
def test_key_that_cannot_be_used_is_told(pem: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        pki.key_in(pem)


def test_certificate_that_is_broken_off_is_told() -> None:
    with pytest.raises(ValueError, match="in the middle"):
        pki.certificates_in(SIGNER.certificate[:-30])


@pytest.mark.parametrize(
    ("own", "asked", "covered"),
    [
        ("*.example.com", "shop.example.com", True), ("*.example.com", "a.shop.example.com", False),
        ("*.example.com", "example.com", False), ("Shop.Example.com", "shop.example.com", True),
        ("127.0.0.1", "127.0.0.1", True),
    ],
)  # fmt: skip
def test_names_are_matched_as_clients_do(own: str, asked: str, covered: bool) -> None:
    (leaf, *_) = pki.certificates_in(made((own,)))
    assert pki.covers(leaf, asked) is covered


def test_facts_are_as_people_want_them() -> None:
    (leaf, *_) = pki.certificates_in(made())
    about = pki.facts(leaf)
    assert (about.names, about.issuer, about.key) == (NAMES, "cc03 intermediate CA", "EC P-256")
    assert int(about.serial, 16) == leaf.serial_number
    key = ec.generate_private_key(ec.SECP384R1())
    assert pki._kind(key.public_key()) == "EC P-384"


LEAVES = leaves(builders.stack(), {"postgres": ("postgres",), "nginx": ("nginx", "localhost")}, "shop.example.com")
POSTGRES = next(leaf for leaf in LEAVES if leaf.name == "postgres")


def test_every_service_with_tls_has_one_and_nginx_has_the_public_one_besides() -> None:
    assert [(leaf.name, leaf.service, leaf.names) for leaf in LEAVES] == [
        ("postgres", "postgres", ("postgres",)), ("nginx", "nginx", ("nginx", "localhost")),
        ("public", "nginx", ("shop.example.com",)),
    ]  # fmt: skip
    assert POSTGRES.takes_up == ("/reload", "now") and dict(POSTGRES.ports) == {5432: "postgres"}


def test_certificate_that_there_is_not_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageProblem) as refused:
        chosen(LEAVES, ["postgrs"])
    assert refused.value.why == 'did you mean "postgres"?'


def on_disk(leaf: Leaf, **more: Any) -> Stored:
    own = pki.Facts(leaf.names, "ca", f"OLD-{leaf.name}", NOW, NOW + dt.timedelta(days=30), "EC P-256")
    source = SHARED if leaf.public else INTERNAL
    base = Stored(leaf, source, own, (), 0o600, leaf.owner, NOW + dt.timedelta(days=20))
    return replace(base, **more)


ALL = [on_disk(leaf) for leaf in LEAVES]
BEFORE = {leaf.name: f"OLD-{leaf.name}" for leaf in LEAVES if not leaf.public}


def keys(plan: Plan) -> list[str]:
    assert builders.defects(plan) == []
    return builders.keys(plan)


def test_rotation_issues_swaps_takes_up_and_verifies_each_in_this_order() -> None:
    plan = plan_rotate(ALL, BEFORE, NOW)

    assert keys(plan) == [
        "issue postgres", "issue nginx", "swap postgres", "take up postgres", "verify postgres", "swap nginx", "verify nginx",
    ]  # fmt: skip
    # None is swapped before all are good; from there on one does not wait for the other.
    issued = {"issue postgres", "issue nginx"}
    assert builders.before(plan, "verify postgres") == {*issued, "swap postgres", "take up postgres"}
    assert builders.before(plan, "verify nginx") == {*issued, "swap nginx"}


def test_what_has_another_serial_is_done() -> None:
    fresh = [replace(one, facts=replace(one.facts, serial="NEW")) for one in ALL if one.facts]
    assert plan_rotate(fresh, BEFORE, NOW).steps == ()


def test_only_what_is_due_is_renewed_by_the_stack() -> None:
    late = NOW + dt.timedelta(days=20)
    assert plan_rotate(ALL, BEFORE, NOW, due=True).steps == ()
    assert keys(plan_rotate(ALL, BEFORE, late, due=True))[0] == "issue postgres"
    broken = [on_disk(POSTGRES, problems=("the key is not that of the certificate",))]
    assert keys(plan_rotate(broken, BEFORE, NOW, due=True))[0] == "issue postgres"


def test_imported_one_is_never_issued_here() -> None:
    imported = [replace(one, source=IMPORTED) if one.leaf.public else one for one in ALL]
    plan = plan_rotate(imported, {**BEFORE, "public": "OLD-public"}, NOW + dt.timedelta(days=400), due=True)
    assert not [step for step in plan.steps if isinstance(step, PrepareCertificate) and step.leaf.public]


@pytest.mark.parametrize(
    ("ready", "expected"),
    [(True, ["swap postgres", "take up postgres", "verify postgres"]), (False, ["take up postgres", "verify postgres"])],
)
def test_rotation_that_was_killed_goes_on_from_there_and_is_not_begun_again(ready: bool, expected: list[str]) -> None:
    plan = plan_rotate([on_disk(POSTGRES, begun=True, ready=ready)], {}, NOW, due=True)
    assert keys(plan) == expected


def test_import_checks_swaps_and_verifies_and_is_done_once_it_is_there() -> None:
    public = next(one for one in ALL if one.leaf.public)
    files = ("/c.pem", "/k.pem", "")
    plan = plan_import(public, files, "ABC")

    assert keys(plan) == ["import", "swap public", "verify public"]
    (first, *_) = plan.steps
    assert isinstance(first, PrepareImported) and (first.certificate, first.private, first.chain) == files
    there = on_disk(public.leaf, source=IMPORTED, facts=replace(public.facts, serial="ABC") if public.facts else None)
    assert plan_import(there, files, "ABC").steps == ()
    assert keys(plan_import(replace(there, begun=True), files, "ABC")) == ["verify public"]
    back = plan_import(there, ("", "", ""), "")
    assert isinstance(back.steps[0], PrepareOwn) and keys(back) == ["own", "swap public", "verify public"]
    assert plan_import(public, ("", "", ""), "").steps == ()


def rollover(authority: Authority, *current: str, finish: bool = False, start: bool = True) -> Plan:
    return plan_rollover(authority, ALL, current, start=start, finish=finish, bridged=True)


def test_another_root_is_trusted_by_all_and_seen_to_be_before_it_signs() -> None:
    plan = rollover(Authority("OLD"))

    order = keys(plan)
    assert order[:2] == ["next", "trust"] and "drop" not in order
    assert {"trust postgres", "still postgres", "still nginx"} <= builders.before(plan, "promote")
    assert all("promote" in builders.before(plan, f"issue {name}") for name in ("postgres", "nginx"))
    # What looks whether all is as before must not settle a rotation that was broken off.
    assert not any(step.settles for step in plan.steps if isinstance(step, VerifyServed) and step.key.startswith("still"))


def test_old_root_is_dropped_last_and_only_when_the_new_one_alone_satisfies_everybody() -> None:
    plan = rollover(Authority("OLD"), finish=True)

    assert {"verify postgres", "verify nginx", "new root"} <= builders.before(plan, "drop")
    assert isinstance(builders.step(plan, "forget postgres"), LoadCertificate)
    assert keys(plan)[-1] == "new root still"


def test_roots_are_taken_up_in_another_way_than_a_certificate_where_a_service_says_so() -> None:
    nginx = replace(ALL[1], leaf=replace(ALL[1].leaf, trusts=("nginx", "-s", "reload")))
    assert nginx.leaf.takes_up == ()
    plan = plan_rollover(Authority("OLD"), [ALL[0], nginx], (), start=True, finish=True, bridged=True)

    taken = {one.key: one.argv for one in plan.steps if isinstance(one, LoadCertificate) and one.leaf.service == "nginx"}
    assert taken == {"trust nginx": ("nginx", "-s", "reload"), "forget nginx": ("nginx", "-s", "reload")}


def test_who_reads_the_roots_at_its_start_is_restarted_when_both_are_trusted_and_when_the_old_one_is_dropped() -> None:
    grafana = replace(ALL[1], leaf=replace(ALL[1].leaf, restarts=True))
    plan = plan_rollover(Authority("OLD"), [ALL[0], grafana], (), start=True, finish=True, bridged=True)

    restarted = [one.key for one in plan.steps if isinstance(one, RestartForRoots) and one.leaf == grafana.leaf]
    assert restarted == ["trust nginx", "forget nginx"]
    assert "trust nginx" in builders.before(plan, "promote") and "drop" in builders.before(plan, "forget nginx")


def test_rollover_goes_on_from_where_it_was_broken_off() -> None:
    prepared = keys(rollover(Authority("NEW", prepared=True)))
    assert prepared[0] == "trust" and "promote" in prepared
    half = keys(rollover(Authority("NEW", signs=True), "nginx"))
    assert half == ["issue postgres", "swap postgres", "take up postgres", "verify postgres"]
    assert keys(rollover(Authority("NEW", signs=True), "nginx", "postgres")) == []
    assert keys(rollover(Authority("NEW", signs=True), "nginx", "postgres", finish=True))[:2] == ["new root", "drop"]
    assert keys(rollover(Authority("NEW"), finish=True, start=False)) == []


@pytest.mark.parametrize(
    ("ready", "current", "first"), [(True, ("postgres",), "issue"), (False, (), "issue"), (False, ("postgres",), "take up")]
)
def test_rollover_completes_a_rotation_that_was_broken_off(ready: bool, current: tuple[str, ...], first: str) -> None:
    one = on_disk(POSTGRES, begun=True, ready=ready)
    plan = plan_rollover(Authority("NEW", signs=True), [one], current, start=True, finish=False, bridged=True)
    assert keys(plan)[0] == f"{first} postgres"
