"""The controls of the audit. Each has an example that violates it, and no other control."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
import yaml

from ops.secrets.search import Leak
from ops.security_audit.controls import CONTROLS
from ops.security_audit.controls.http import READABLE
from ops.security_audit.facts import Advisory, BurstResult, Connection, Facts, Mount, Reach
from ops.security_audit.judge import NOT_CHECKED, Accepted, judge
from ops.security_audit.probe.gather import PARTS
from ops.stack.compose import parse_stack
from tests.drill.walls.seeds import OVERLAYS, laid_over
from tests.unit.builders import PORTS, REPOSITORY, STATE, settings
from tests.unit.security_audit.facts import (
    COMPOSE,
    REFUSED,
    TEXT,
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
"""Controls that the stack does not pass without exceptions: root, mounts of the host, plain listeners."""


def accepted_of(facts: Facts) -> list[Accepted]:
    """Exceptions for all findings in the facts of the delivered stack."""
    found = judge(facts, (), TODAY).findings
    return [
        Accepted(control.number, one.where, (one.subject,), "the reason is told in five words", "operator", date(2027, 1, 1))
        for control, one in found
    ]


def _way(source: str, target: str, network: str) -> Connection:
    return Connection(source, target, network, "10.0.0.1", 1)


def _asked(**changes: Any) -> Facts:
    return replace(clean(), client_requests=frozenset({replace(REFUSED, **changes)}))


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
    "2.9": [with_container("redis", writable=("/etc",))], "2.10": [with_container("redis", writable=("/proc/sysrq-trigger",))],
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
    "3.4": [with_host(open_to_others={"ca/root.key": 0o644})], "3.5": [with_host(archived=(Leak("redis-app", "host.tar"),))],
    "4.1": [_reached_too()],
    "4.2": [_less_reached()],
    "4.3": [with_container("redis", networks=frozenset({"data", "web"}))],
    "4.4": [with_container("redis", listens=frozenset({6379, 4444}))],
    "4.5": [with_container("redis", gateways=("10.64.0.1",)), with_host(open_networks=frozenset({"data"}))],
    "4.6": [_reach(outward=frozenset({Connection("redis", "host", "host", "192.0.2.1", 443)}))],
    "4.7": [with_container("redis", published=(("6379/tcp", "", 6379),)),
            with_container("edge", published=(("9443/tcp", "", 9443),)),
            with_host(listens=frozenset({("0.0.0.0", 22)}))],  # noqa: S104
    "4.8": [with_host(foreign_containers={"data": ("stranger",)})], "4.9": [with_container("redis", ipv6=("fe80::1",))],
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
    "6.16": [
        with_answer("operator /ops/", body="<title>Overview"),
        with_answer("operator writes /ops/alertmanager/api/v2/silences", status=200, body="{}"),
        with_answer("operator /ops/", status=302, headers={"location": "https://attacker.example/"}, body=""),
    ],
    "6.7": [with_answer("monitoring /prometheus/", body="<title>Prometheus")],
    "6.8": [with_answer("ops by a neighbour", status=200)],
    "6.9": [with_answer("unsigned token", status=200)],
    "6.10": [with_answer("preflight", headers={"access-control-allow-origin": "https://attacker.example"})],
    "6.11": [with_answer("garbled /api/v1/none", status=500), with_answer("garbled /api/v1/none", body='File "/app/main.py"')],
    "6.12": [with_answer("login page", headers={"set-cookie": "AUTH_SESSION_ID=x; HttpOnly"}),
             with_answer("login page", status=500)],
    "6.13": [with_answer("login for another site", status=302)],
    "6.14": [replace(clean(), bursts={"API": BurstResult(500, 1.0, False)})],
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
    "8.3": [replace(clean(), javascript={"compose/nginx/charts": (Advisory("uplot", "GHSA-3"),)})],
    "8.4": [replace(clean(), image_days={"nginx": 45.0})],
    "9.1": [with_host(audit_log=("line 7 has a gap",))], "9.2": [with_taken()], "9.3": [with_host(open_folders=("/state",))],
}  # fmt: skip
HOUSE_RULES = {"2.11": with_mount("redis", Mount("/etc", "/host", False)), "5.1": clean()}


def numbers(facts: Facts) -> set[str]:
    return {control.number for control, _ in judge(facts, accepted_of(clean()), TODAY).findings}


def test_delivered_stack_needs_its_own_exceptions_only() -> None:
    assert {control.number for control, _ in judge(clean(), (), TODAY).findings} <= set(HOUSE)
    assert numbers(clean()) == set()


@pytest.mark.parametrize(
    ("number", "facts"), [pytest.param(number, one, id=number) for number, some in BROKEN.items() for one in some]
)
def test_violation_is_found_by_its_control_alone(number: str, facts: Facts) -> None:
    assert numbers(facts) == {number}


def test_every_control_has_a_violation() -> None:
    declared = {number for number in CONTROLS if number.startswith("1.")}

    assert set(CONTROLS) - declared == set(BROKEN) | set(HOUSE_RULES)


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda overlay: overlay.name)
def test_declared_misconfiguration_is_found_before_it_runs(overlay: Any) -> None:
    assert overlay.policy in numbers(replace(clean(), compose=laid_over(COMPOSE, overlay)))


def test_a_mount_of_the_host_is_found_beside_being_undeclared() -> None:
    assert numbers(HOUSE_RULES["2.11"]) == {"2.11", "2.12"}


def test_a_listener_without_tls_is_found() -> None:
    found = judge(clean(), (), TODAY).findings

    assert ("5.1", "nginx", "8080") in {(control.number, one.where, one.subject) for control, one in found}


def test_a_listener_that_is_declared_as_encrypted_and_is_not_is_found() -> None:
    found = judge(with_handshakes(protocols=frozenset()), (), TODAY).findings
    assert any(one.what.endswith("and speaks no TLS") for control, one in found if control.number == "5.1")


# ---- Parts that could not be read


@pytest.mark.parametrize("part", sorted(PARTS))
def test_unread_part_is_not_checked_and_never_passed(part: str) -> None:
    facts = replace(clean(), unread={part: "offline"})
    results = [one for one in judge(facts, accepted_of(clean()), TODAY).results if one.control.part == part]

    assert results
    assert {(one.outcome, one.not_checked) for one in results} == {(NOT_CHECKED, "offline")}
    assert numbers(facts) == set()


class _Recording:
    """Facts that record which parts are read."""

    def __init__(self, facts: Facts) -> None:
        self.facts, self.read = facts, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.read |= {name} & PARTS
        return getattr(self.facts, name)


@pytest.mark.parametrize("number", sorted(CONTROLS))
def test_control_declares_the_part_that_it_reads(number: str) -> None:
    """Otherwise it would pass where the part could not be read."""
    facts, control = _Recording(clean()), CONTROLS[number]
    list(control.find(facts))  # type: ignore[arg-type]

    # 5.1 finds plain listeners in the declaration; that one declared with TLS speaks none is an addition.
    assert facts.read - {control.part} == ({"handshakes"} if number == "5.1" else set())


# ---- Mounts beyond compose.yaml


def _with_repositories(folder: str) -> Facts:
    """A backup with a repository in a folder of the host, and another one elsewhere."""
    own = settings(yaml.safe_dump({"backup": {"repositories": [
        {"name": "disk2", "path": "/mnt/disk2"},
        {"name": "nas", "sftp": {"host": "nas.example.org", "user": "backup", "path": "/srv", "host_key": "ssh-ed25519 AAAA"}},
    ]}}))  # fmt: skip
    stack = parse_stack(TEXT, own, PORTS, REPOSITORY, STATE)
    mounted = Mount(folder, "/var/lib/cc03-repositories/disk2", True, frozenset({"rw"}))
    facts = with_mount("backup", mounted)
    seen = replace(
        facts.containers["backup"], networks=frozenset({"data", "outward"}), gateways=("10.64.4.1",),
        secrets=dict.fromkeys(stack.services["backup"].secrets, (60711, 0o400)),
    )  # fmt: skip
    return replace(facts, stack=stack, containers={**facts.containers, "backup": seen})


def test_repositories_that_the_operator_names_are_no_findings() -> None:
    assert numbers(_with_repositories("/mnt/disk2")) == set()


def test_another_folder_in_the_place_of_a_repository_is_a_finding() -> None:
    assert numbers(_with_repositories("/etc")) == {"2.11"}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("/state/handed/60706/cc03-redis-app-3", False),
        pytest.param("/state/handed/60705/cc03-redis-app-3", True, id="for another user"),
        pytest.param("/state/handed/60706/cc03-postgres-app-3", True, id="another secret under its name"),
        pytest.param("/state/handed/60706/cc03-redis-app", True, id="no version"),
    ],
)
def test_a_secret_of_its_own_may_be_mounted_as_a_file(source: str, found: bool) -> None:
    """Where secrets are encrypted at rest."""
    assert ("2.12" in numbers(with_mount("redis", Mount(source, "/run/secrets/redis-app", False)))) == found
