"""Who may connect to whom in the namespace: the networks of compose.yaml as NetworkPolicies. Pure.

Two services that share a network reach each other there, at the ports that they declare. All else is denied.
"""

from __future__ import annotations

from collections.abc import Iterable

from ops.engines.kubernetes.objects import Object, made
from ops.stack.model import EDGE, LABEL_PROJECT, LABEL_SERVICE, Service

NAMES_PORT = 53
PUBLIC_PORTS = (8080, 8443)
"""Of nginx: what everybody may connect to."""


def pairs(services: Iterable[Service]) -> dict[str, list[str]]:
    """Service -> those that may connect to it."""
    known = [one for one in services if not one.holds]
    return {
        one.name: sorted(other.name for other in known if other is not one and set(one.listens_on) & set(other.networks))
        for one in known
    }


def _peers(project: str, names: Iterable[str]) -> list[Object]:
    return [{
        "podSelector": {
            "matchLabels": {LABEL_PROJECT: project},
            "matchExpressions": [{"key": LABEL_SERVICE, "operator": "In", "values": list(names)}],
        },
    }]  # fmt: skip


def _ports(numbers: Iterable[int]) -> list[Object]:
    return [{"protocol": "TCP", "port": number} for number in numbers]


def network_policies(project: str, services: Iterable[Service]) -> list[Object]:
    """One that denies everything, and one for each service."""
    known = {one.name: one for one in services if not one.holds}
    reached_by = pairs(known.values())
    denied = {"spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}}
    found = [made("NetworkPolicy", "deny-all", project, "", denied)]
    for name, service in known.items():
        ports = sorted(map(int, service.listens))
        ingress: list[Object] = []
        if reached_by[name]:
            ingress.append({"from": _peers(project, reached_by[name]), **({"ports": _ports(ports)} if ports else {})})
        if name == EDGE:
            ingress.append({"ports": _ports(PUBLIC_PORTS)})
        names = {"protocol": "UDP", "port": NAMES_PORT}, {"protocol": "TCP", "port": NAMES_PORT}
        egress: list[Object] = [{"ports": list(names)}]
        if reached := [other for other, by in reached_by.items() if name in by]:
            egress.append({"to": _peers(project, reached)})
        spec = {
            "podSelector": {"matchLabels": {LABEL_PROJECT: project, LABEL_SERVICE: name}},
            "policyTypes": ["Ingress", "Egress"], "ingress": ingress, "egress": egress,
        }  # fmt: skip
        found.append(made("NetworkPolicy", name, project, name, {"spec": spec}))
    return found
