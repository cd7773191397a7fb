"""Subnets, addresses and ports: remembered where they were given once, free otherwise."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from ops.core.errors import HostLacks
from ops.stack.allocate import POOL, allocate, allocate_ports, as_json
from tests.unit.builders import PORTS, stack


def everything_free(port: int) -> bool:
    return True


def test_first_allocation_takes_subnets_from_the_low_end_and_numbers_the_slots() -> None:
    given = allocate(stack(), PORTS, None, ())

    assert given.subnets == {"web": "10.64.0.0/24", "app": "10.64.1.0/24", "data": "10.64.2.0/24"}
    replicas = {f"backend-{number}": 11 + number for number in range(1, 9)}
    assert given.hosts == {"postgres": 10, "keycloak": 11, **replicas, "backend-surge": 20, "nginx": 21, "grafana": 22}


def test_allocation_that_was_remembered_stays_whatever_is_taken() -> None:
    first = allocate(stack(), PORTS, None, ())

    assert allocate(stack(), PORTS, as_json(first), list(first.subnets.values())) == first


def test_new_network_and_new_slot_get_what_is_free_beside_what_is_remembered() -> None:
    remembered = {"subnets": {"app": "10.64.1.0/24"}, "hosts": {"keycloak": 40}}

    given = allocate(stack(), PORTS, remembered, ())

    assert given.subnets == {"web": "10.64.0.0/24", "app": "10.64.1.0/24", "data": "10.64.2.0/24"}
    assert given.hosts["keycloak"] == 40
    assert len(set(given.hosts.values())) == len(given.hosts)


def test_network_that_went_away_keeps_its_subnet_for_the_day_it_returns() -> None:
    whole = stack()
    first = as_json(allocate(whole, PORTS, None, ()))
    less = replace(whole, networks={name: one for name, one in whole.networks.items() if name != "web"})

    between = allocate(less, PORTS, first, ())
    again = allocate(whole, PORTS, as_json(between), between.subnets.values())

    assert again.subnets == first["subnets"]


def test_slot_that_went_away_keeps_its_address_for_the_day_it_returns() -> None:
    with_three = allocate(stack("replicas: {backend: 3}"), PORTS, None, ())
    with_one = allocate(stack("replicas: {backend: 1}"), PORTS, as_json(with_three), ())

    assert with_one.hosts["backend-3"] == with_three.hosts["backend-3"]


@pytest.mark.parametrize(
    "taken",
    [
        pytest.param(["10.64.0.0/24"], id="one subnet"),
        pytest.param(["10.64.0.0/16"], id="a wide route"),
        pytest.param(["10.64.0.128/25", "10.64.2.7/32"], id="narrow routes"),
        pytest.param(["10.64.0.5/24"], id="an address with host bits"),
        pytest.param(["fd00::/64", "10.64.0.0/24"], id="IPv6 beside it"),
    ],
)
def test_subnets_that_the_host_uses_are_avoided(taken: list[str]) -> None:
    given = allocate(stack(), PORTS, None, taken)

    used = [ip_network(cidr, strict=False) for cidr in taken if ":" not in cidr]
    for subnet in given.subnets.values():
        assert not any(ip_network(subnet).overlaps(block) for block in used)


def test_host_without_a_free_subnet_is_refused() -> None:
    with pytest.raises(HostLacks, match="no free subnet"):
        allocate(stack(), PORTS, None, [str(POOL)])


def test_own_project_gets_the_ports_of_its_settings_even_if_others_are_remembered() -> None:
    assert allocate_ports(PORTS, {"ports": {"http": 1}}, own_project=True, free=lambda _: False) == PORTS


def test_other_project_gets_ports_that_are_free_and_differ() -> None:
    busy = {20080, 20443, 20444}

    given = allocate_ports(PORTS, None, own_project=False, free=lambda port: port not in busy)

    assert given == {"http": 20081, "https": 20445, "ops": 29443}


def test_other_project_never_gets_one_port_twice() -> None:
    given = allocate_ports({"http": 80, "https": 10080}, None, own_project=False, free=everything_free)

    assert given == {"http": 20080, "https": 20081}


def test_other_project_keeps_the_ports_that_it_got() -> None:
    remembered = {"ports": {"http": 20080, "https": 20443, "ops": 29443}}

    assert allocate_ports(PORTS, remembered, own_project=False, free=lambda _: False) == remembered["ports"]
