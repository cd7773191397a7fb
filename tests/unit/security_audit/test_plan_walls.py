"""The audit's judgement: facts in, results out. Every control has an example that it, and no other one, objects to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from ops.core.errors import UsageProblem
from ops.secrets.search import Leak
from ops.security_audit.controls.control import CONTROLS, SECTIONS
from ops.security_audit.controls.http import READABLE
from ops.security_audit.exceptions import FILE as EXCEPTIONS
from ops.security_audit.exceptions import Accepted, flaws, parse_exceptions
from ops.security_audit.facts import Advisory, BurstSeen, Facts, Mount, Reach, Unread, Way
from ops.security_audit.judge import ACCEPTED, FAILED, NOT_CHECKED, PASSED, as_json, judge
from ops.security_audit.markdown import page, share_told
from tests.drill.walls.seeds import OVERLAYS, laid_over
from tests.unit.builders import REPOSITORY
from tests.unit.walls_facts import (
    COMPOSE,
    REFUSED,
    clean,
    with_answer,
    with_client,
    with_container,
    with_handshakes,
    with_header,
    with_host,
    with_mount,
    with_process,
    with_realm,
    with_taken,
)

TODAY = date(2026, 11, 27)
HOUSE = ("2.6", "2.11", "5.1")
"""Controls that the stack as it is does not pass without exceptions: root, mounts of the host, plain listeners."""


def accepted_of(facts: Facts) -> list[Accepted]:
    """Exceptions for all that is found in what is in order."""
    found = judge(facts, (), TODAY).findings
    return [
        Accepted(control.number, one.where, (one.subject,), "the reason is told in five words", "operator", date(2027, 1, 1))
        for control, one in found
    ]


def _way(source: str, target: str, network: str) -> Way:
    return Way(source, target, network, "10.0.0.1", 1)


def _asked(**changes: Any) -> Facts:
    return replace(clean(), asked=frozenset({replace(REFUSED, **changes)}))


def _reach(**changes: Any) -> Facts:
    facts = clean()
    assert isinstance(facts.reach, Reach)
    return replace(facts, reach=replace(facts.reach, **changes))


def _reached_too() -> Facts:
    facts = clean()
    assert isinstance(facts.reach, Reach)
    return _reach(reached=facts.reach.reached | {_way("frontend-1", "postgres", "data")})


def _less_reached() -> Facts:
    facts = clean()
    assert isinstance(facts.reach, Reach)
    return _reach(reached=facts.reach.reached - {_way("backend-1", "postgres", "data")})


def _without(slot: str) -> Facts:
    facts = clean()
    return replace(facts, containers={name: seen for name, seen in facts.containers.items() if name != slot})


def _undeclared() -> Facts:
    facts = clean()
    stranger = replace(facts.containers["redis"], slot="stranger", service="", processes=(), secrets={})
    return replace(facts, containers={**facts.containers, "stranger": stranger})


RW = frozenset({"rw"})
BROKEN: dict[str, list[Facts]] = {
    "2.1": [_without("redis")],
    "2.2": [_undeclared()],
    "2.3": [with_process("redis", capabilities=1 << 21), with_process("redis", capabilities=1 << 60)],
    "2.4": [with_process("redis", no_new_privileges=False)],
    "2.5": [with_process("redis", seccomp=0)],
    "2.6": [with_process("redis", uids=frozenset({0, 60706}))],
    "2.7": [with_process("redis", uids=frozenset({60705}))],
    "2.8": [with_process("redis", shares=("net of the host",))],
    "2.9": [with_container("redis", written=("/etc",))], "2.10": [with_container("redis", written=("/proc/sysrq-trigger",))],
    "2.12": [with_mount("redis", Mount("cc03-postgres-data", "/other", True)),
             with_mount("redis", Mount("cc03-postgres-data", "/var/lib/redis", True))],
    "2.13": [with_mount("redis", Mount("/state/config/redis", "/etc/cc03", True))],
    "2.14": [with_container("redis", sockets=("/run/docker.sock",))],
    "2.15": [with_container("redis", devices=("/dev/mem",))],
    "2.16": [with_mount("redis", Mount("", "/scratch", True, frozenset({"nodev", "noexec"})))],
    "2.21": [with_mount("redis", Mount("", "/scratch", True, frozenset({"nodev", "nosuid"})))],
    "2.17": [with_container("redis", memory_bytes=0), with_container("redis", cpus=0.0), with_container("redis", pids=-1)],
    "2.18": [with_container("redis", image="cc03/redis:2")], "2.19": [with_container("redis", unfiltered=("call mount",))],
    "2.22": [replace(clean(), dependencies_down={"redis": "a: b"})],
    "2.23": [replace(clean(), owned=("owns 9 objects of database app",))],
    "3.1": [with_container("nginx", secrets={"redis-app": (60701, 0o400)}), with_container("redis", secrets={})],
    "3.2": [with_container("grafana", secrets=dict.fromkeys(clean().containers["grafana"].secrets, (472, 0o444)))],
    "3.3": [replace(clean(), leaks=(Leak("redis-app", "logs/redis.log"),))],
    "3.4": [with_host(open_to_others={"ca/root.key": 0o644})], "3.5": [with_host(handed=(Leak("redis-app", "host.tar"),))],
    "4.1": [_reached_too()],
    "4.2": [_less_reached()],
    "4.3": [with_container("redis", networks=frozenset({"data", "web"}))],
    "4.4": [with_container("redis", listens=frozenset({6379, 4444}))],
    "4.5": [with_container("redis", gateways=("10.64.0.1",)), with_host(open_networks=frozenset({"data"}))],
    "4.6": [_reach(outward=frozenset({Way("redis", "host", "host", "192.0.2.1", 443)}))],
    "4.7": [with_container("redis", published=(("6379/tcp", "", 6379),)),
            with_container("edge", published=(("9443/tcp", "", 9443),)),
            with_host(listens=frozenset({("0.0.0.0", 22)}))],  # noqa: S104
    "4.8": [with_host(strangers={"data": ("stranger",)})], "4.9": [with_container("redis", ipv6=("fe80::1",))],
    "4.10": [with_host(firewall="its rules were removed or altered")],
    "4.11": [_asked(shows=False, status=200), _asked(shows=True, status=200), _asked(shows=True, status=404)],
    "5.2": [with_handshakes(protocols=frozenset({"TLSv1.1", "TLSv1.2", "TLSv1.3"}))],
    "5.3": [with_handshakes(protocols=frozenset({"TLSv1.2"}))],
    "5.4": [with_handshakes(weak=frozenset({"CBC"}))],
    "5.5": [with_handshakes(problem="self-signed certificate")],
    "5.6": [with_handshakes(key="RSA 1024"), with_handshakes(key="DSA 2048")],
    "5.7": [with_handshakes(signature="sha1")],
    "5.8": [with_handshakes(days_left=3.0)],
    "5.9": [with_handshakes(served_is_stored=False)],
    "6.1": [with_header("page /", "strict-transport-security", "")],
    "6.2": [with_header("page /config.json", "x-content-type-options", "")],
    "6.3": [with_header("page /", "content-security-policy", "default-src 'unsafe-eval'")],
    "6.4": [with_header("page /config.json", "server", "nginx/1.26.3")],
    "6.5": [with_answer("plain", headers={"location": "https://attacker.example/"})],
    "6.6": [with_answer("hidden /auth/admin/", status=302)],
    "6.7": [with_answer("monitoring /prometheus/", body="<title>Prometheus")],
    "6.8": [with_answer("ops by a neighbour", status=200)],
    "6.9": [with_answer("unsigned token", status=200)],
    "6.10": [with_answer("preflight", headers={"access-control-allow-origin": "https://attacker.example"})],
    "6.11": [with_answer("garbled /api/v1/none", status=500), with_answer("garbled /api/v1/none", body='File "/app/main.py"')],
    "6.12": [with_answer("login page", headers={"set-cookie": "AUTH_SESSION_ID=x; HttpOnly"}),
             with_answer("login page", status=500)],
    "6.13": [with_answer("login for another site", status=302)],
    "6.14": [replace(clean(), bursts={"API": BurstSeen(500, 1.0, False)})],
    "6.15": [with_answer(f"foreign script {READABLE[0]}", status=200),
             with_header(f"readable {READABLE[0]}", "access-control-allow-origin", "*")],
    "7.1": [with_realm(bruteForceProtected=False), with_realm(failureFactor=30)],
    "7.2": [with_client(redirectUris=["https://*"])],
    "7.3": [with_client(webOrigins=["*"])],
    "7.4": [with_client(attributes={})],
    "7.5": [with_client(implicitFlowEnabled=True)],
    "7.6": [with_client(directAccessGrantsEnabled=True)],
    "7.7": [with_realm(registrationAllowed=True)], "7.8": [with_realm(sslRequired="none")],
    "7.9": [with_realm(passwordPolicy="length(8)"), with_realm(passwordPolicy="")],
    "7.10": [with_realm(accessTokenLifespan=36000), with_realm(revokeRefreshToken=False)],
    "7.11": [with_realm(adminEventsEnabled=False)],
    "7.12": [with_client(clientId="admin-cli", standardFlowEnabled=False),
             with_client(clientId="account"), with_client(clientId="account-console", serviceAccountsEnabled=True)],
    "7.13": [with_client(optionalClientScopes=["offline_access"]),
             with_realm(roles={"realm": [{"name": "default-roles-cc03", "composites": {"realm": ["offline_access"]}}]})],
    "8.1": [replace(clean(), debian={"nginx": (Advisory("openssl", "CVE-1", "3.0.2"),)})],
    "8.2": [replace(clean(), python=(Advisory("starlette 1", "CVE-2"),))],
    "8.3": [replace(clean(), javascript=(Advisory("react", "GHSA-3"),))],
    "8.4": [replace(clean(), image_days={"nginx": 45.0})],
    "9.1": [with_host(trail=("line 7 has a gap",))], "9.2": [with_taken()], "9.3": [with_host(entered=("/state",))],
}  # fmt: skip
HOUSE_RULES = {"2.11": with_mount("redis", Mount("/etc", "/host", False)), "5.1": clean()}


def numbers(facts: Facts) -> set[str]:
    return {control.number for control, _ in judge(facts, accepted_of(clean()), TODAY).findings}


def test_what_is_in_order_needs_the_exceptions_of_the_house_only() -> None:
    assert {control.number for control, _ in judge(clean(), (), TODAY).findings} <= set(HOUSE)
    assert numbers(clean()) == set()


@pytest.mark.parametrize(
    ("number", "facts"), [pytest.param(number, one, id=number) for number, some in BROKEN.items() for one in some]
)
def test_a_broken_example_is_found_by_its_control_alone(number: str, facts: Facts) -> None:
    assert numbers(facts) == {number}


def test_every_control_has_a_broken_example() -> None:
    declared = {number for number in CONTROLS if number.startswith("1.")}

    assert set(CONTROLS) - declared == set(BROKEN) | set(HOUSE_RULES)


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda overlay: overlay.name)
def test_what_is_only_declared_is_found_as_well(overlay: Any) -> None:
    assert overlay.policy in numbers(replace(clean(), compose=laid_over(COMPOSE, overlay)))


def test_a_mount_of_the_host_is_found_beside_being_undeclared() -> None:
    assert numbers(HOUSE_RULES["2.11"]) == {"2.11", "2.12"}


def test_a_listener_without_tls_is_found() -> None:
    found = judge(clean(), (), TODAY).findings

    assert ("5.1", "nginx", "8080") in {(control.number, one.where, one.subject) for control, one in found}


def test_a_listener_that_is_declared_as_encrypted_and_is_not_is_found() -> None:
    found = judge(with_handshakes(protocols=frozenset()), (), TODAY).findings
    assert any(one.what.endswith("and speaks no TLS") for control, one in found if control.number == "5.1")


# ---- What could not be looked at


@pytest.mark.parametrize(
    "part", ["reach", "handshakes", "answers", "bursts", "realm", "host", "leaks", "debian", "python", "javascript"]
)
def test_what_is_unread_is_not_checked_and_never_passed(part: str) -> None:
    facts = replace(clean(), **{part: Unread("offline")})  # type: ignore[arg-type]
    results = [one for one in judge(facts, accepted_of(clean()), TODAY).results if one.control.part == part]

    assert results
    assert {(one.outcome, one.not_checked) for one in results} == {(NOT_CHECKED, "offline")}
    assert numbers(facts) == set()


# ---- Exceptions


def _accept(**changes: Any) -> Accepted:
    plain = Accepted("2.6", "redis", ("uid 0",), "it reads files that belong to root", "operator", date(2027, 1, 1))
    return replace(plain, **changes)


def _judged(*accepted: Accepted) -> tuple[str, list[str]]:
    facts = with_process("redis", uids=frozenset({0}))
    report = judge(facts, [*accepted_of(clean()), *accepted], TODAY)
    outcome = next(one.outcome for one in report.results if one.control.number == "2.6")
    return outcome, [f"{control.number} {one.what}" for control, one in report.findings]


def test_an_exception_accepts_what_it_names() -> None:
    assert _judged(_accept()) == (ACCEPTED, [])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"until": date(2026, 11, 26)}, "expired on 2026-11-26"),
        ({"until": date(2030, 1, 1)}, "longer than 400 days"),
        ({"reason": "because"}, "cannot be judged"),
    ],
)
def test_an_exception_that_does_not_hold_accepts_nothing(change: Mapping[str, Any], said: str) -> None:
    outcome, findings = _judged(_accept(**change))

    assert outcome == FAILED
    assert [one for one in findings if one.startswith("9.9 ") and said in one]


def test_an_exception_holds_on_its_last_day() -> None:
    assert flaws(_accept(until=TODAY), TODAY) == ""


@pytest.mark.parametrize("change", [{"where": "postgres"}, {"control": "2.3"}, {"subjects": ("another",)}])
def test_an_exception_for_something_else_is_unused(change: Mapping[str, Any]) -> None:
    outcome, findings = _judged(_accept(**change))

    assert outcome == FAILED
    assert [one for one in findings if one.startswith("9.9 nothing was found that it accepts")]


def test_an_exception_of_what_is_not_checked_is_not_called_unused() -> None:
    facts = replace(clean(), realm=Unread("offline"))
    report = judge(facts, [*accepted_of(clean()), _accept(control="7.6", where="keycloak")], TODAY)

    assert report.findings == ()


def test_the_exceptions_of_this_repository_hold_and_cover_its_listeners() -> None:
    accepted = parse_exceptions((REPOSITORY / EXCEPTIONS).read_text(), CONTROLS)

    assert [(str(one), why) for one in accepted if (why := flaws(one, TODAY))] == []
    report = judge(clean(), accepted, TODAY)
    assert [found for control, found in report.findings if control.number == "5.1"] == []
    assert [found for control, found in report.findings if control.number == "9.9" and found.where.startswith("5.1 ")] == []


def test_an_exception_of_a_container_that_does_not_run_is_not_called_unused() -> None:
    facts = _without("logs")
    report = judge(facts, [*accepted_of(clean()), _accept(control="2.6", where="logs", subjects=("uid 0",))], TODAY)

    assert {control.number for control, _ in report.findings} == {"2.1"}


WHOLE = "- {control: '2.6', where: logs, subjects: [uid 0], reason: it reads them, owner: operator, until: 2027-01-01}"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("owner: operator, ", "", "lacks owner"),
        ("'2.6'", "'2.99'", "no control 2.99"),
        ("until: 2027-01-01", "until: soon", "until is 'soon'"),
        ("subjects: [uid 0]", "subjects: uid 0", "subjects is no list"),
        ("owner", "ownr", "ownr is not known"),
        (WHOLE, "- everything", "entry 1"),
    ],
)
def test_an_exception_that_cannot_be_meant_is_refused(old: str, new: str, said: str) -> None:
    assert parse_exceptions(WHOLE, CONTROLS)[0].until == date(2027, 1, 1)
    with pytest.raises(UsageProblem, match=said):
        parse_exceptions(WHOLE.replace(old, new), CONTROLS)


# ---- The report


def test_the_share_counts_what_was_checked_only() -> None:
    facts = replace(with_process("redis", seccomp=0), python=Unread("offline"))
    report = judge(facts, accepted_of(clean()), TODAY)
    number = len(CONTROLS) + 1

    assert (report.count(FAILED), report.count(NOT_CHECKED)) == (1, 1)
    assert report.share == pytest.approx(100 * (number - 2) / (number - 1))
    assert share_told(report).startswith(f"{number - 2} of {number - 1} controls passed (9")
    told = as_json(report, 1.0)
    assert told["counts"][PASSED] + told["counts"][ACCEPTED] == number - 2
    assert len(told["controls"]) == number


def test_every_section_is_used_and_every_number_belongs_to_one() -> None:
    assert {number.partition(".")[0] for number in CONTROLS} == set(SECTIONS)


def test_the_page_tells_findings_exceptions_and_what_was_not_checked() -> None:
    facts = replace(with_process("redis", seccomp=0), python=Unread("no | network"))
    text = page(
        judge(facts, accepted_of(clean()), TODAY), project="cc03", host="db1", at="2026-11-27 19:00", commit="abc", seconds=2.0
    )

    assert "| 2.5 | redis | process redis has no seccomp filter |" in text
    assert (
        "| 5.1 | nginx | nginx:8080 speaks http without TLS | the reason is told in five words | operator | 2027-01-01 |"
        in text
    )
    assert "| 8.2 | The backend has no Python package with a known weakness | no \\| network |" in text
    assert "| 2.5 | Every process is confined by a seccomp filter | **failed** |" in text


def test_a_page_that_is_not_there_is_not_public() -> None:
    assert numbers(with_answer("monitoring /metrics", status=404, body="x")) == set()
