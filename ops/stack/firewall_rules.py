"""The packet filter of a project on its host, as one nftables table. Pure: the text that `nft --file` takes.

Podman publishes ports by address translation and filters nothing else: whoever routes to a bridge's subnet reaches every port
of its containers, and what any other bridge of the host sends there arrives under the gateway's address, which nginx takes for
the host. This table lets in what a published port has translated, under the sender's own address, and lets nothing out of a
network that serves published ports. It is a table of its own: neither netavark nor a firewall of the host loses a rule. Its
drops come before their rules (priority -10 before 0), and what it accepts they still judge.
"""

from __future__ import annotations

from ops.stack.applied_settings import ALERTING
from ops.stack.model import Allocation, Stack

LINK_LOCAL = "169.254.0.0/16"
"""RFC 3927: not routed, and where clouds answer with credentials of the machine (169.254.169.254)."""


def table_name(project: str) -> str:
    return f"{project}-filter"


def rules(stack: Stack, allocation: Allocation) -> str:
    """The whole table, to be loaded in one transaction. Empty where no network leads out of the host."""
    open_networks = [name for name, internal in stack.networks.items() if not internal]
    if not open_networks:
        return ""
    publishing = published_networks(stack)
    forward, enter, translate = [], [], []
    for name in open_networks:
        subnet = allocation.subnets[name]
        if name in publishing:
            forward += _published(subnet)
            enter += [f"ip saddr {subnet} ct direction reply accept", f"ip saddr {subnet} drop"]
            # Ahead of netavark's masquerading: only what the host itself sends may have the gateway's address.
            translate.append(f"ip daddr {subnet} fib saddr type != local snat to ip saddr")
        elif name == ALERTING:
            # First: what goes to a published port of the host is translated, and would pass as if from elsewhere.
            forward = [*_declared(subnet), *forward, *_unreachable(subnet)]
            enter += _declared(subnet)
        else:
            forward += _outbound(subnet)
    alerting = ALERTING in open_networks
    text = _table(table_name(stack.project), SETS if alerting else (), {
        "forward": ("filter", "forward", -10, forward),
        "input": ("filter", "input", -10, enter),
        "postrouting": ("nat", "postrouting", 90, translate),
    })  # fmt: skip
    # For whoever looks up their addresses, on the host (ops/engines/podman/supervisor/firewall.py).
    receivers = [one.rpartition(":") for one in stack.destinations] if alerting else []
    return text + "".join(f"# receiver {host} {port}\n" for host, _, port in receivers)


def published_networks(stack: Stack) -> frozenset[str]:
    """Networks with a way out on which a container with published ports stands."""
    publishing = [service for service in stack.services.values() if service.definition.get("ports")]
    return frozenset(name for service in publishing for name in service.networks if not stack.networks[name])


def _published(subnet: str) -> list[str]:
    """Answers leave, and nothing else. What arrives has been translated by a published port, but for that of its neighbours."""
    return [
        f"ip saddr {subnet} ct direction original ct status dnat drop",
        f"ip saddr {subnet} ip daddr {subnet} accept",
        f"ip saddr {subnet} ct direction reply accept",
        f"ip saddr {subnet} drop",
        f"ip daddr {subnet} ct status dnat accept",
        f"ip daddr {subnet} drop",
    ]


SETS = (
    "  set receivers { type ipv4_addr . inet_service; timeout 1d; }",
    "  set resolvers { type ipv4_addr; timeout 1d; }",
)
"""Filled by the host as it looks the names up. An address stays for a day after it was last seen, as those of one name vary."""


def _declared(subnet: str) -> list[str]:
    """Connections leave to the declared receivers, and questions to the resolvers, on other machines or on the host."""
    return [
        f"ip saddr {subnet} ip daddr . tcp dport @receivers accept",
        f"ip saddr {subnet} ip daddr @resolvers udp dport 53 accept",
        f"ip saddr {subnet} ip daddr @resolvers tcp dport 53 accept",
        f"ip saddr {subnet} drop",
    ]


def _unreachable(subnet: str) -> list[str]:
    """Nobody connects to it."""
    return [f"ip daddr {subnet} ct direction reply accept", f"ip daddr {subnet} drop"]


def _outbound(subnet: str) -> list[str]:
    """Connections leave, but not to the machine's cloud. Nobody connects to it."""
    return [
        f"ip saddr {subnet} ip daddr {LINK_LOCAL} drop",
        f"ip daddr {subnet} ip saddr != {subnet} ct direction reply accept",
        f"ip daddr {subnet} ip saddr != {subnet} drop",
    ]


def _table(name: str, sets: tuple[str, ...], chains: dict[str, tuple[str, str, int, list[str]]]) -> str:
    lines = [f"table ip {name} {{}}", f"delete table ip {name}", f"table ip {name} {{", *sets]
    for chain, (kind, hook, priority, body) in chains.items():
        lines += [f"  chain {chain} {{", f"    type {kind} hook {hook} priority {priority}; policy accept;"]
        lines += [*(f"    {rule}" for rule in body), "  }"]
    return "\n".join([*lines, "}", ""])
