"""Which subnets, addresses and ports a project takes on this host: chosen once among what is free, then remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Network, ip_network
from typing import Any

from ops.core.errors import HostLacks
from ops.stack.model import Allocation, Stack

FIRST_HOST = 10
"""Lower addresses are left to the gateway and to one-off containers."""
SEARCH_FROM = 20000
POOL = ip_network("10.64.0.0/10")
"""Private addresses (RFC 1918), taken from the low end: Podman gives out 10.88.0.0/16 and upwards, Docker 172.16.0.0/12."""


def allocate_ports(
    wanted: Mapping[str, int], remembered: Mapping[str, Any] | None, *, own_project: bool, free: Callable[[int], bool]
) -> dict[str, int]:
    """Published ports.

    wanted: ports of stack.yaml. remembered: the last allocation.
    own_project: whether stack.yaml is this project's own file; a project named by CC03_PROJECT gets ports that are free.
    """
    if own_project:
        return dict(wanted)
    chosen = {name: int(port) for name, port in (remembered or {}).get("ports", {}).items() if name in wanted}
    for name, port in wanted.items():
        if name in chosen:
            continue
        candidate = SEARCH_FROM + port % 10000
        while candidate in chosen.values() or not free(candidate):
            candidate += 1
        chosen[name] = candidate
    return chosen


def allocate(stack: Stack, ports: Mapping[str, int], remembered: Mapping[str, Any] | None, taken: Iterable[str]) -> Allocation:
    """Subnets and addresses: what is remembered stays, what is new gets the next that is free.

    taken: subnets in CIDR form that the host already routes or that Podman has given to others.
    Raises HostLacks where the pool has no free subnet left.
    """
    known_subnets: Mapping[str, str] = (remembered or {}).get("subnets", {})
    known_hosts: Mapping[str, int] = (remembered or {}).get("hosts", {})
    used = [ip_network(cidr, strict=False) for cidr in (*taken, *known_subnets.values())]
    # A network that is not wanted at present may still exist, and be wanted again.
    subnets: dict[str, str] = dict(known_subnets)
    for name in stack.networks:
        if name in subnets:
            continue
        subnet = _free_subnet(used)
        used.append(subnet)
        subnets[name] = str(subnet)
    hosts = dict(known_hosts)
    for slot in (slot for service in stack.services.values() for slot in service.addresses()):
        if slot not in hosts:
            hosts[slot] = max([FIRST_HOST - 1, *hosts.values()]) + 1
    return Allocation(subnets=subnets, hosts=hosts, ports=dict(ports))


def _free_subnet(used: Iterable[Any]) -> IPv4Network:
    blocks = [network for network in used if network.version == 4]
    for candidate in IPv4Network(str(POOL)).subnets(new_prefix=24):
        if not any(candidate.overlaps(block) for block in blocks):
            return candidate
    raise HostLacks(
        "no free subnet for the stack's networks", f"{POOL} is used up", "remove unused networks: podman network prune"
    )


def as_json(allocation: Allocation) -> dict[str, Any]:
    return {"subnets": dict(allocation.subnets), "hosts": dict(allocation.hosts), "ports": dict(allocation.ports)}
