"""A load balancer that passes on TCP names its client by the PROXY protocol, at a port of its own; nobody else is believed."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ops.core.machine import REPOSITORY
from ops.core.process import run
from ops.security_audit.probe.gather import ADVISORIES
from tests.drill.conftest import Record
from tests.drill.stack import Drill, inv
from tests.smoke.live import Live, eventually

LAN = "203.0.113"
"""TEST-NET-3 (RFC 5737): nobody has addresses of it."""
HERE, BALANCER, OTHER = f"{LAN}.1", f"{LAN}.2", f"{LAN}.3"
"""This host's address there, that of the load balancer, and one that is not declared."""
CLIENTS = ("192.0.2.10", "2001:db8:7::10")
LOGGED_WITHIN = 60.0
Answers = list[dict[str, Any]]


@dataclass(frozen=True)
class Balanced:
    """A stack with that port, and another machine in front of it."""

    live: Live
    namespace: str
    switched: str
    """What the command that switched it on has printed, before that what it had planned."""

    @property
    def port(self) -> int:
        return self.live.ports["proxy_protocol"]

    def ask(self, what: str, *, source: str = BALANCER, address: str = HERE, port: int = 0, **options: Any) -> Answers:
        """What the client that is a program of its own has seen. `address`: 127.0.0.1 starts it on this host itself."""
        inside = ("ip", "netns", "exec", self.namespace) if address == HERE else ()
        more = [] if address != HERE else ["--source", source]
        for name, value in options.items():
            more += [f"--{name}", str(value)]
        argv = (
            *inside, sys.executable, "-I", str(Path(__file__).with_name("proxied.py")), what, address, str(port or self.port),
            "--name", self.live.domain, "--ca", str(self.live.ca), *more,
        )  # fmt: skip
        answers: Answers = json.loads(run(argv, timeout=60).stdout)
        return answers

    def line(self, query: str) -> dict[str, str]:
        """The one line of nginx that is found."""
        found: list[dict[str, str]] = []

        def missing() -> str:
            found[:] = self.live.log_lines(f"_time:10m service:nginx {query}")
            return "" if found else f"no line of nginx has {query}"

        eventually(missing, LOGGED_WITHIN)
        (line,) = found
        return line

    def seen(self, **options: Any) -> str:
        """The address that nginx takes for the client of a request."""
        (answer,) = self.ask("http", **options)
        assert answer["status"] == 200, answer
        return self.line(f'request_id:"{answer["id"]}"')["remote_addr"]


@pytest.fixture(scope="module")
def namespace(drill: Drill) -> Iterator[str]:
    """Another machine with two addresses."""
    name = f"{drill.project.name}-lb"
    run(("ip", "netns", "add", name), timeout=10)
    try:
        for words in (
            f"link add cc03lb0 type veth peer name cc03lb1 netns {name}", f"addr add {HERE}/24 dev cc03lb0",
            "link set cc03lb0 up", f"-n {name} addr add {BALANCER}/24 dev cc03lb1",
            f"-n {name} addr add {OTHER}/24 dev cc03lb1", f"-n {name} link set cc03lb1 up",
        ):  # fmt: skip
            run(("ip", *words.split()), timeout=10)
        yield name
    finally:
        run(("ip", "netns", "delete", name), timeout=10)


@pytest.fixture(scope="module")
def balanced(drill: Drill, namespace: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balanced]:
    """It is switched on by a deploy, and off again by another one."""
    drill.deploy()
    gateway = str(drill.project.allocation.subnets["web"]).replace(".0/24", ".1")
    path = tmp_path_factory.mktemp("settings") / "stack.yaml"
    text = (REPOSITORY / "config" / "stack.yaml").read_text()
    path.write_text(
        text.replace("\nports:\n", "\nports:\n  proxy_protocol: 8443\n")
        + f"\nload_balancer: {{addresses: [{BALANCER}, {gateway}]}}\n"
    )
    before = drill.containers()["edge"]["HostConfig"]["PortBindings"]
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("CC03_STACK", str(path))
        planned = inv("deploy", "--plan")
        assert planned.returncode == 0, planned.stderr
        deployed = drill.deploy()
        drill.await_healthy()
        drill.assert_as_wanted()
        yield Balanced(Live(drill.project), namespace, planned.stdout + deployed.stdout)
    drill.deploy()
    drill.await_healthy()
    drill.assert_as_wanted()
    assert drill.containers()["edge"]["HostConfig"]["PortBindings"] == before


def test_plan_says_what_the_switch_costs(balanced: Balanced, record: Record) -> None:
    assert "connections are refused" in balanced.switched
    assert "ports.proxy_protocol default -> 8443" in balanced.switched
    record("PROXY protocol switched on", 0.0, note=balanced.switched.strip().splitlines()[-1])


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_client_is_whom_the_load_balancer_names(balanced: Balanced, version: str, client: str) -> None:
    assert balanced.seen(header=version, client=client) == client


@pytest.mark.parametrize("version", ["unknown", "local"])
def test_load_balancer_that_speaks_for_itself_is_the_client(balanced: Balanced, version: str) -> None:
    """As its own health check does."""
    assert balanced.seen(header=version) == BALANCER


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_address_that_is_not_declared_is_not_believed(balanced: Balanced, version: str) -> None:
    assert balanced.seen(source=OTHER, header=version, client=CLIENTS[0]) == OTHER


def test_load_balancer_on_this_host_is_believed_and_is_no_process_of_it(balanced: Balanced) -> None:
    """It connects from the gateway, as the prober does, whose page it must not reach."""
    assert balanced.seen(address="127.0.0.1", header="v2", client=CLIENTS[0]) == CLIENTS[0]
    (probe,) = balanced.ask("http", address="127.0.0.1", header="v2", client=CLIENTS[0], path="/api/v1/probe")
    assert probe["status"] == 404


@pytest.mark.parametrize("port", ["proxy_protocol", "https"])
def test_header_of_a_request_is_not_believed(balanced: Balanced, port: str) -> None:
    """Whatever a client writes into X-Forwarded-For, a load balancer that does not look into TLS passes on."""
    sent: dict[str, Any] = {"header": "v1", "client": CLIENTS[0]} if port == "proxy_protocol" else {}
    seen = balanced.seen(port=balanced.live.ports[port], line="X-Forwarded-For: 198.51.100.77", **sent)
    assert seen == (CLIENTS[0] if sent else BALANCER)


@pytest.mark.parametrize(
    ("source", "client", "limited"),
    [(BALANCER, "192.0.2.77", True), (BALANCER, "192.0.2.*", False), (OTHER, "192.0.2.*", True)],
    ids=["one client", "a client each", "a client each, said by one that is not declared"],
)
def test_limits_are_those_of_each_client(balanced: Balanced, source: str, client: str, limited: bool) -> None:
    """One client sends 21 forms at once, and five of them are worked on at the same time (config/nginx/limits.conf)."""
    asked = balanced.ask(
        "burst", source=source, header="v2", client=client, times=30, method="POST",
        path="/auth/realms/cc03/login-actions/authenticate", line="Prefer: wait=0",
    )  # fmt: skip
    assert (429 in {one["status"] for one in asked}) is limited


@pytest.mark.parametrize(
    ("what", "more"),
    [
        ("http", {}),
        ("plain", {"text": "GET / HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n"}),
        ("plain", {"text": "PROXY TCP4 not-an-address 1.2.3.4 1 2\\r\\n"}),
        ("plain", {"text": "PROXY " + "A" * 200}),
        ("plain", {"text": "\\r\\n\\r\\n\\0\\r\\nQUIT\\n\\x21\\x11\\xff\\xff" + "A" * 100}),
    ],
    ids=["TLS without a header", "HTTP", "no address", "endless", "longer than it says"],
)
def test_connection_without_a_header_ends_without_an_answer(balanced: Balanced, what: str, more: dict[str, Any]) -> None:
    (answer,) = balanced.ask(what, **more)
    assert answer.get("failed") in ("ConnectionResetError", "SSLEOFError", "BrokenPipeError") or answer == {"received": ""}
    # nginx serves on.
    assert balanced.seen(header="v1", client=CLIENTS[0]) == CLIENTS[0]


def test_connection_is_kept_and_each_of_its_requests_has_the_client(balanced: Balanced) -> None:
    answers = balanced.ask("http", header="v2", client=CLIENTS[0], times=3)
    assert [one["status"] for one in answers] == [200, 200, 200]
    assert {balanced.line(f'request_id:"{one["id"]}"')["remote_addr"] for one in answers} == {CLIENTS[0]}
    assert all("max-age" in one["hsts"] for one in answers)


def test_http2_is_spoken(balanced: Balanced) -> None:
    path = f"/proxied-{secrets.token_hex(8)}"
    assert balanced.ask("http2", header="v2", client=CLIENTS[1], path=path) == [{"status": 200}]
    line = balanced.line(f'path:"{path}"')
    assert (line["remote_addr"], line["protocol"]) == (CLIENTS[1], "HTTP/2.0")


def test_websocket_is_spoken(balanced: Balanced) -> None:
    (answer,) = balanced.ask("websocket", header="v1", client=CLIENTS[0], path="/api/v1/ws")
    assert (answer["status"], answer["frame"]) == (101, True)
    assert balanced.line(f'request_id:"{answer["id"]}"')["remote_addr"] == CLIENTS[0]


def test_audit_doctor_and_certificates_have_nothing_to_object_to(balanced: Balanced) -> None:
    audited, doctor, served = inv("audit", "--no-advisories", "--json"), inv("doctor"), inv("certs", "--json")
    assert audited.returncode == 0, audited.stderr
    counts = json.loads(audited.stdout)["counts"]
    assert (counts["failed"], counts["not checked"]) == (0, len(ADVISORIES)), counts
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert served.returncode == 0, served.stderr
    assert "8444" in served.stdout, "the certificate is not looked at there"
