"""Containers reach each other exactly where compose.yaml puts them on one network: every ordered pair, every port."""

from __future__ import annotations

import socket

import pytest
import yaml

from ops.core.machine import REPOSITORY
from ops.engines.podman.observe import inspected_containers
from ops.engines.podman.supervisor import firewall
from ops.security_audit.controls.network import allowed, place
from ops.security_audit.facts import Connection, Reach
from ops.security_audit.listeners import ports_of
from ops.security_audit.probe.connections import gateways, host_addresses, ipv6_addresses, listening, reach
from ops.security_audit.probe.gather import places_of, read_listeners
from tests.smoke.live import Live

SERVICES = tuple(yaml.safe_load((REPOSITORY / "compose" / "compose.yaml").read_text())["services"])


def networks_of(live: Live, slot: str) -> tuple[str, ...]:
    return live.project.stack.service_of(slot).networks


@pytest.fixture(scope="module")
def tried(live: Live) -> Reach:
    """Every way between two containers that could be tried, and those that exist."""
    places = places_of(live.project, inspected_containers(live.project.host))
    running = {slot: place for slot, place in places.items() if slot in live.containers}
    return reach(live.project.stack, running, read_listeners(live.project), live.ports["https"])


@pytest.mark.parametrize("service", SERVICES)
def test_service_reaches_what_is_declared_and_nothing_else(live: Live, service: str, tried: Reach) -> None:
    def from_it(ways: frozenset[Connection]) -> set[Connection]:
        return {way for way in ways if live.project.stack.service_of(way.source).name == service}

    declared = {way for way in from_it(tried.tried) if allowed(live.project.stack, way)}
    found = from_it(tried.reached)

    assert sorted(map(str, found - declared)) == [], "reached although they share no network"
    assert sorted(map(str, declared - found)) == [], "not reached although they share a network"
    if service in live.containers or service != "grafana":
        assert declared, "nothing was tried"


def test_containers_are_on_the_networks_that_are_declared(live: Live) -> None:
    places = places_of(live.project, live.containers)
    for slot in live.containers:
        assert set(places[place(live.project.stack, slot)].addresses) == set(networks_of(live, slot)), slot


def test_no_other_port_is_open(live: Live) -> None:
    listeners = read_listeners(live.project)
    for slot in live.containers:
        service = live.project.stack.service_of(slot)
        # One network: what nginx listens on is open at the address that edge holds.
        assert listening(live.pid(slot)) == ports_of(listeners, service.holds or service.name), slot


# ---- The way out


def test_internal_networks_have_no_way_out(live: Live, tried: Reach) -> None:
    internal = {name for name, is_internal in live.project.stack.networks.items() if is_internal}
    enclosed = [slot for slot in live.containers if set(networks_of(live, slot)) <= internal]
    assert {"postgres", "redis", "keycloak", "prometheus", *live.slots("frontend")} <= set(enclosed)
    assert host_addresses()

    assert {slot: gateways(live.pid(slot)) for slot in enclosed} == dict.fromkeys(enclosed, ())
    assert sorted(map(str, tried.outward)) == []


def test_no_container_has_ipv6(live: Live) -> None:
    """The bridge of an internal network has a link-local address of the host."""
    assert {slot: ipv6_addresses(live.pid(slot)) for slot in live.containers} == dict.fromkeys(live.containers, ())


def test_packet_filter_is_in_force(live: Live) -> None:
    assert firewall.loaded(live.project.state.root) == live.project.deployed.firewall


def test_nginx_answers_and_opens_no_connection_to_the_host(live: Live) -> None:
    """Its network has a way out; the packet filter lets answers pass and nothing else."""
    assert gateways(live.pid("edge"))
    address = next(iter(sorted(host_addresses())))
    with live.network("edge"), pytest.raises(TimeoutError):
        socket.create_connection((address, live.ports["https"]), 1)


def test_the_host_itself_is_reached_from_outside_only(live: Live) -> None:
    """What the test above finds closed is open to others: its failures to connect mean something."""
    for address in host_addresses():
        if not address.startswith(tuple(subnet.rpartition(".")[0] for subnet in live.project.allocation.subnets.values())):
            with socket.create_connection((address, live.ports["https"]), 5):
                return
    pytest.fail("the host has no address that the site is published on")
