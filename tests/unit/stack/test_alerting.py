"""The way out of Alertmanager: there only where receivers are declared, for it alone, and to them alone."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ops.core import machine
from ops.core.errors import UsageProblem
from ops.core.process import Result
from ops.deploy.plan import plan_deploy
from ops.engines.podman.supervisor import firewall
from ops.stack.applied_settings import ALERTING
from ops.stack.compose import parse_stack
from ops.stack.firewall_rules import rules
from ops.stack.model import Stack
from tests.unit.builders import PORTS, REPOSITORY, STATE, allocation, before, deployed, keys, settings, wanted

DECLARED = "alerts: {destinations: ['smtp.example.com:587', '192.0.2.7:8443']}"
COMPOSE = (REPOSITORY / "compose" / "compose.yaml").read_text()


def shipped(text: str = "") -> Stack:
    return parse_stack(COMPOSE, settings(text), PORTS, REPOSITORY, STATE)


def chain(text: str, name: str, subnet: str) -> list[str]:
    body = text.partition(f"chain {name} {{\n")[2].partition("\n  }")[0]
    return [line.strip() for line in body.splitlines()[1:] if subnet in line]


def test_no_network_leads_out_where_no_receiver_is_declared() -> None:
    assert [name for name, internal in shipped().networks.items() if not internal] == ["web"]
    assert "receivers" not in rules(shipped(), allocation(shipped()))


def test_alertmanager_alone_gets_a_way_out() -> None:
    own = shipped(DECLARED)

    assert own.networks[ALERTING] is False
    assert [name for name, service in own.services.items() if ALERTING in service.networks] == ["alertmanager"]
    assert own.services["alertmanager"].listens_on == ("monitoring",)
    assert own.destinations == ("smtp.example.com:587", "192.0.2.7:8443")


@pytest.mark.parametrize(
    "said",
    ["smtp.example.com", "smtp.example.com:0", "https://example.com:443", "example.com:99999", "[::1]:25", "10.0.0.0/8:25", ""],
)
def test_what_is_no_host_and_port_is_refused(said: str) -> None:
    with pytest.raises(UsageProblem, match=r"alerts\.destinations"):
        settings(f"alerts: {{destinations: ['{said}']}}")


def test_everything_but_the_receivers_and_dns_is_dropped() -> None:
    own = shipped(DECLARED)
    text, subnet = rules(own, allocation(own)), allocation(own).subnets[ALERTING]

    for name in ("forward", "input"):
        found = chain(text, name, subnet)
        assert found[:3] == [
            f"ip saddr {subnet} ip daddr . tcp dport @receivers accept",
            f"ip saddr {subnet} ip daddr @resolvers udp dport 53 accept",
            f"ip saddr {subnet} ip daddr @resolvers tcp dport 53 accept",
        ]
        assert f"ip saddr {subnet} drop" in found[3:]
    assert chain(text, "forward", subnet)[-1] == f"ip daddr {subnet} drop"
    assert "# receiver smtp.example.com 587\n" in text


def test_published_port_of_the_host_is_no_way_around() -> None:
    """What goes there is translated, and the rules of the published network would let it pass."""
    own = shipped(DECLARED)
    text, given = rules(own, allocation(own)), allocation(own).subnets
    first = chain(text, "forward", "")

    assert first.index(f"ip saddr {given[ALERTING]} drop") < first.index(f"ip daddr {given['web']} ct status dnat accept")


def test_another_network_with_a_way_out_keeps_its_rules() -> None:
    """That of the backup: its repositories need no list of addresses."""
    own = replace(shipped(), networks={**shipped().networks, "outward": False})

    assert "receivers" not in rules(own, allocation(own))


# ---- Addresses


class Kernel:
    """What nft is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, state: Path, text: str) -> None:
        self.told: list[str] = []
        firewall.folder(state).mkdir()
        (firewall.folder(state) / firewall.RULES).write_text(text)
        monkeypatch.setattr(firewall, "run", self.run)
        monkeypatch.setattr(firewall, "nameservers", lambda: ("192.0.2.53",))

    def run(self, argv: tuple[str, ...], *, stdin: str = "", **options: Any) -> Result:
        self.told.append(stdin)
        return Result(argv, 0, "", "", 0.0)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Kernel:
    own = shipped(DECLARED)
    return Kernel(monkeypatch, tmp_path, rules(own, allocation(own)))


def names(monkeypatch: pytest.MonkeyPatch, known: dict[str, list[str]]) -> None:
    def ask(host: str, port: int, *rest: Any) -> list[Any]:
        if host not in known:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in known[host]]

    monkeypatch.setattr(socket, "getaddrinfo", ask)


def elements(told: str) -> list[str]:
    """What the sets hold after a transaction, which empties them first."""
    lines = told.splitlines()
    assert [line for line in lines if line.startswith("flush set ip cc03-filter ")] == lines[:2]
    return [line.partition("{ ")[2].removesuffix(" }") for line in lines[2:]]


def test_sets_hold_present_addresses_and_those_of_the_last_day(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_000_000.0]
    monkeypatch.setattr("time.time", lambda: clock[0])
    known = {"smtp.example.com": ["198.51.100.1"], "192.0.2.7": ["192.0.2.7"]}
    names(monkeypatch, known)

    assert firewall.admit(tmp_path) == ()
    assert sorted(elements(kernel.told[0])) == ["192.0.2.53", "192.0.2.7 . 8443", "198.51.100.1 . 587"]
    known["smtp.example.com"] = ["198.51.100.2"]
    clock[0] += 60
    firewall.admit(tmp_path)
    both = {"198.51.100.1 . 587", "198.51.100.2 . 587"}
    assert set(elements(kernel.told[1])) >= both
    clock[0] += firewall.DAY - 30
    firewall.admit(tmp_path)
    assert both & set(elements(kernel.told[2])) == {"198.51.100.2 . 587"}


def test_table_that_is_loaded_anew_remembers_no_address(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, {"smtp.example.com": ["198.51.100.1"], "192.0.2.7": ["192.0.2.7"]})
    firewall.admit(tmp_path)
    firewall.load(tmp_path, (firewall.folder(tmp_path) / firewall.RULES).read_text())
    names(monkeypatch, {"192.0.2.7": ["192.0.2.7"]})
    firewall.admit(tmp_path)

    assert "198.51.100.1 . 587" not in elements(kernel.told[-1])


LISTED = """{"nftables": [{"metainfo": {"json_schema_version": 1}}, {"set": {"name": "SET", "elem": [ELEMENTS]}}]}"""


def test_element_that_the_host_did_not_enter_is_an_intruder(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, {"smtp.example.com": ["198.51.100.1"], "192.0.2.7": ["192.0.2.7"]})
    firewall.admit(tmp_path)
    listed = {
        "receivers": '{"elem": {"val": {"concat": ["198.51.100.1", 587]}, "timeout": 86400, "expires": 86300}}',
        "resolvers": '{"elem": {"val": "192.0.2.53", "expires": 86300}}',
    }

    def ask(argv: tuple[str, ...], **options: Any) -> Result:
        return Result(argv, 0, LISTED.replace("ELEMENTS", listed[argv[-1]]), "", 0.0)

    monkeypatch.setattr(firewall, "run", ask)
    assert firewall.intruders(tmp_path) == ()
    listed["receivers"] += ', {"concat": ["203.0.113.9", 443]}'
    listed["resolvers"] += ', "203.0.113.53"'
    assert firewall.intruders(tmp_path) == ("203.0.113.53", "203.0.113.9 . 443")


def test_name_that_is_unknown_today_is_said_and_the_others_are_entered(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names(monkeypatch, {"192.0.2.7": ["192.0.2.7"]})

    assert firewall.admit(tmp_path) == ("smtp.example.com",)
    assert "192.0.2.7 . 8443" in kernel.told[0]


def test_nothing_is_looked_up_where_no_receiver_is_declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = Kernel(monkeypatch, tmp_path, rules(shipped(), allocation(shipped())))
    names(monkeypatch, {})

    assert firewall.admit(tmp_path) == ()
    assert kernel.told == []


def test_ticker_says_once_that_a_name_is_unknown(kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    receivers = firewall.Receivers(tmp_path, heard.append)
    known = {"192.0.2.7": ["192.0.2.7"]}
    names(monkeypatch, known)
    for _ in range(3):
        receivers.round()
        assert receivers.lookup is not None
        receivers.lookup.exception(timeout=5)
    known["smtp.example.com"] = ["198.51.100.1"]
    for _ in range(3):
        receivers.round()
        assert receivers.lookup is not None
        receivers.lookup.exception(timeout=5)

    assert heard == [
        "receivers of alerts without an address: smtp.example.com",
        "receivers of alerts without an address: none any more",
    ]


def test_unknown_name_is_a_figure_for_the_alert(kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    receivers = firewall.Receivers(tmp_path, print)
    names(monkeypatch, {"192.0.2.7": ["192.0.2.7"]})
    for _ in range(2):
        receivers.round()
        assert receivers.lookup is not None
        receivers.lookup.exception(timeout=5)

    assert receivers.exposition().splitlines()[2:] == [
        'cc03_alert_receiver_known{receiver="192.0.2.7"} 1', 'cc03_alert_receiver_known{receiver="smtp.example.com"} 0',
    ]  # fmt: skip
    assert firewall.Receivers(tmp_path / "none", print).exposition() == ""


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ("nameserver 192.0.2.53\nnameserver 127.0.0.1\n", "", ("192.0.2.53",)),
        ("nameserver 127.0.0.53\n", "nameserver 198.51.100.53\nnameserver fe80::1\n", ("198.51.100.53",)),
        ("", "", ()),
    ],
)
def test_resolvers_are_those_that_podman_gives_to_containers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, second: str, found: tuple[str, ...]
) -> None:
    files = (tmp_path / "resolv.conf", tmp_path / "systemd.conf")
    for path, text in zip(files, (first, second), strict=True):
        path.write_text(text)
    monkeypatch.setattr(machine, "RESOLV_CONF", files)

    assert machine.nameservers() == found


# ---- The network itself


def test_network_that_nobody_declares_any_more_is_removed_last() -> None:
    seen = deployed(wanted())
    plan = plan_deploy(wanted(), replace(seen, networks=seen.networks | {"cc03-alerting"}))

    assert keys(plan) == ["network alerting"]
    assert plan_deploy(wanted(), replace(seen, networks=seen.networks | {"cc03-alerting"}), only="backend").steps == ()


def test_network_is_removed_after_the_container_that_stood_on_it() -> None:
    seen = deployed(wanted())
    plan = plan_deploy(
        wanted(),
        replace(seen, networks=seen.networks | {"cc03-alerting"}, config_current={**seen.config_current, "keycloak": "old"}),
    )

    assert {key for key in keys(plan) if key.startswith("start ")} <= before(plan, "network alerting")
