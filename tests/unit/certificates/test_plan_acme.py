"""When the public certificate is asked for anew, whom, how long an issuer is left alone, and what a killed command left."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from ops.certificates import pki
from ops.certificates.acme import plan as acme
from ops.certificates.acme.plan import Issued, Situation, Tries, plan_acme, plan_rehearsal
from ops.certificates.plan import ACME, IMPORTED, SHARED, Stored
from ops.certificates.served.renewal import pause_after
from ops.certificates.steps import LoadCertificate, ObtainCertificate, OpenAccount, SwapCertificate, VerifyServed
from ops.core.plan import Plan
from ops.stack.certificates import Leaf
from tests.unit.certificates.test_plan_certificates import made

NOW = 1_800_000_000.0
DAY = 86400.0
LEAF = Leaf("public", "nginx", 60701, ("shop.example.com",), "shop.example.com", {8443: "tls"}, ("nginx",))
FACTS = pki.facts(pki.certificates_in(made())[0])
ISSUED = Issued("first", "ab", NOW - 30 * DAY, renew_at=NOW + 30 * DAY, ask_at=NOW + 3600)
BOTH = Situation(("first", "second"), frozenset({"first", "second"}), {}, ISSUED)


def stored(source: str = ACME, *problems: str, begun: bool = False, ready: bool = False) -> Stored:
    return Stored(LEAF, source, FACTS, problems, 0o600, 60701, dt.datetime.now(dt.UTC), begun=begun, ready=ready)


def plan(
    one: Stored, situation: Situation, *, wanted: bool = True, patient: bool = True, opening: tuple[str, ...] = ()
) -> Plan:
    return plan_acme(one, situation, NOW, wanted=wanted, patient=patient, opening=opening)


def kinds(found: Plan) -> list[type]:
    return [type(step) for step in found.steps]


def asked(found: Plan) -> tuple[str, ...]:
    return next(step.issuers for step in found.steps if isinstance(step, ObtainCertificate))


def test_certificate_is_obtained_swapped_in_and_seen_each_after_the_other() -> None:
    found = plan(stored(SHARED), BOTH)

    # nginx reads the file at each handshake: nobody has to be told.
    assert kinds(found) == [ObtainCertificate, SwapCertificate, VerifyServed]
    assert [step.after_keys for step in found.steps] == [(), ("obtain",), ("swap public",)]
    assert asked(found) == ("first", "second")


def test_nothing_is_done_where_no_other_certificate_is_wanted() -> None:
    assert plan(stored(), BOTH, wanted=False).steps == ()


def test_account_is_opened_before_its_issuer_is_asked_and_once_only() -> None:
    alone = replace(BOTH, accounts=frozenset({"second"}))
    found = plan(stored(SHARED), alone, opening=("first", "second"))

    assert [step.key for step in found.steps][:2] == ["account first", "obtain"]
    assert found.steps[1].after_keys == ("account first",) and asked(found) == ("first", "second")
    assert kinds(plan(stored(), alone, wanted=False, opening=("first",))) == [OpenAccount]


def test_issuer_without_an_account_is_not_asked() -> None:
    assert asked(plan(stored(SHARED), replace(BOTH, accounts=frozenset({"second"})))) == ("second",)


@pytest.mark.parametrize(("ready", "first"), [(True, SwapCertificate), (False, VerifyServed)])
def test_what_a_killed_command_has_begun_is_brought_to_its_end_and_nobody_is_asked(ready: bool, first: type) -> None:
    found = plan(stored(begun=True, ready=ready), BOTH)
    assert kinds(found)[0] is first and ObtainCertificate not in kinds(found)


def test_certificate_that_a_killed_command_had_checked_is_used_and_no_other_is_asked_for() -> None:
    assert kinds(plan(stored(), replace(BOTH, prepared=True))) == [SwapCertificate, VerifyServed]
    assert plan(stored(), replace(BOTH, prepared=True), wanted=False).steps == ()


def test_issuer_that_failed_is_left_alone_by_the_stack_and_not_by_a_person() -> None:
    failed = replace(BOTH, tries={"first": Tries().failed("away", NOW - 60)})
    assert asked(plan(stored(), failed)) == ("second",)
    assert asked(plan(stored(), failed, patient=False)) == ("first", "second")


def test_where_all_are_left_alone_the_plan_says_for_how_long_and_why() -> None:
    tries = {"first": Tries().failed("away", NOW - 60), "second": Tries().failed("full", NOW, barred_for=7200)}
    found = plan(stored(), replace(BOTH, tries=tries))
    assert found.steps == ()
    assert found.notes == ("first is left alone for 9 min: away", "second is left alone for 120 min: full")


@pytest.mark.parametrize(("failures", "pause"), [(0, 0), (1, 600), (2, 1200), (3, 2400), (6, 19200), (7, 21600), (90, 21600)])
def test_pauses_double_and_have_an_end(failures: int, pause: float) -> None:
    assert pause_after(failures) == pause


def test_within_any_hour_the_stack_fails_fewer_validations_than_are_allowed() -> None:
    tries, now, at = Tries(), NOW, []
    for _ in range(200):
        at.append(now)
        tries = tries.failed("no answer", now, refused=True)
        now = max(now + 1, tries.ready_at(patient=True))
    assert max(sum(start <= one < start + 3600 for one in at) for start in at) <= 4


def test_person_who_tries_again_and_again_is_stopped_before_the_issuer_does() -> None:
    tries, at = Tries(), []
    for second in range(2 * 3600):
        if tries.ready_at(patient=False) <= NOW + second:
            at.append(second)
            tries = tries.failed("no answer", NOW + second, refused=True)
    # Let's Encrypt allows 5 failed validations an hour; one is left for who mends the cause.
    assert at == [0, 1, 2, 3, 3600, 3601, 3602, 3603]

    tries = Tries()
    for second in range(4):
        tries = tries.failed("no answer", NOW + second, refused=True)
    assert tries.ready_at(patient=False) == NOW + 3600
    assert tries.issued().ready_at(patient=False) == NOW + 3600, "a success gives nothing back"


def test_failure_that_is_no_refusal_counts_against_no_limit() -> None:
    tries = Tries()
    for _ in range(20):
        tries = tries.failed("away", NOW)
    assert tries.ready_at(patient=False) == 0 and tries.failures == 20


def test_issuer_says_for_how_long_it_wants_to_hear_nothing() -> None:
    tries = Tries().failed("too many", NOW, barred_for=7200)
    assert tries.ready_at(patient=False) == tries.ready_at(patient=True) == NOW + 7200
    assert tries.issued() == Tries()


@pytest.mark.parametrize(
    ("serial", "window", "expected"),
    [
        (0, (50 * DAY, 52 * DAY), 50 * DAY), (500, (50 * DAY, 52 * DAY), 51 * DAY), (1999, (50 * DAY, 51 * DAY), 50.999 * DAY),
        (500, (-3 * DAY, -2 * DAY), -2.5 * DAY), (0, (85 * DAY, 89 * DAY), 81 * DAY), (0, None, 60 * DAY),
    ],
)  # fmt: skip
def test_renewal_is_when_the_issuer_suggests_but_not_too_late(
    serial: int, window: tuple[float, float] | None, expected: float
) -> None:
    assert acme.renewal(0, 90 * DAY, serial, window) == pytest.approx(expected)


@pytest.mark.parametrize(("said", "seconds"), [(None, 21600), (30, 3600), (7200, 7200), (1e9, 86400)])
def test_issuer_is_asked_again_within_bounds_of_ours(said: float | None, seconds: float) -> None:
    assert acme.ask_again(NOW, said) == NOW + seconds


@pytest.mark.parametrize(
    ("one", "issued", "is_due"),
    [
        (stored(), ISSUED, False), (stored(), replace(ISSUED, renew_at=NOW), True), (stored(ACME, "expired"), ISSUED, True),
        (stored(IMPORTED, "expired"), None, False), (stored(SHARED), None, False),
    ],
)  # fmt: skip
def test_only_what_an_issuer_of_ours_gave_is_due(one: Stored, issued: Issued | None, is_due: bool) -> None:
    assert acme.due(one, issued, NOW) is is_due


def test_stack_looks_again_when_there_is_something_to_do() -> None:
    late = replace(BOTH, issued=replace(ISSUED, renew_at=NOW - 5))
    failed = replace(late, tries={"first": Tries(3, NOW), "second": Tries(1, NOW)})

    assert acme.look_at(stored(), BOTH, NOW) == NOW + 3600, "to ask when to renew"
    assert acme.look_at(stored(), late, NOW) == NOW
    assert acme.look_at(stored(), failed, NOW) == NOW + 600
    assert acme.look_at(stored(), replace(late, accounts=frozenset()), NOW) == NOW
    assert acme.look_at(stored(SHARED), replace(BOTH, issued=None), NOW) > NOW


def test_rehearsal_asks_every_stage_and_swaps_nothing() -> None:
    found = plan_rehearsal(stored(), ["first-staging", "second-staging"], ["first-staging"], done=False)
    assert kinds(found) == [OpenAccount, ObtainCertificate]
    assert found.steps[1].rehearsal and found.steps[1].after_keys == ("account first-staging",)  # type: ignore[attr-defined]
    assert plan_rehearsal(stored(), ["first-staging"], [], done=True).steps == ()


def test_service_that_has_to_be_told_is_told() -> None:
    told = replace(stored(), leaf=replace(LEAF, takes_up=("/reload",)))
    assert LoadCertificate in kinds(plan(told, BOTH))
