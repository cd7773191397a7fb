"""Which listeners are declared, who is served there, and which ways lead to them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.core.errors import UsageProblem
from ops.security_audit.controls.network import allowed
from ops.security_audit.facts import Facts, Reach, Way
from ops.security_audit.listeners import Listener, parse_listeners
from tests.unit.walls_facts import clean


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nginz: {80: {speaks: http}}", "names nginz"),
        ("nginx: {80: {speaks: htps}}", "speaks is 'htps'"),
        ("nginx: {80: {spaeks: http}}", "spaeks is not known"),
        ("nginx: {eighty: {speaks: http}}", "nginx.eighty"),
        ("nginx: {80: {speaks: tls, clients: {nginz: /}}}", "clients names nginz"),
    ],
)
def test_a_listener_that_cannot_be_meant_is_refused(text: str, said: str) -> None:
    assert parse_listeners("nginx: {80: {speaks: tls}}", ["nginx"]) == (Listener("nginx", 80, "tls", "nginx"),)
    with pytest.raises(UsageProblem, match=said):
        parse_listeners(text, ["nginx"])


def test_a_listener_that_names_its_clients_wants_their_certificates() -> None:
    (found,) = parse_listeners("nginx: {80: {speaks: https, clients: {nginx: /health}}}", ["nginx"])
    assert (found.clients, found.client_certificate) == ((("nginx", "/health"),), True)


def test_a_network_on_which_the_target_does_not_listen_is_no_way_to_it() -> None:
    facts = clean()
    way = next(one for one in _tried(facts) if (one.source, one.target, one.network) == ("backend-1", "prometheus", "app"))
    assert not allowed(facts.stack, way)
    assert allowed(facts.stack, replace(way, source="edge", network="monitoring"))


def _tried(facts: Facts) -> frozenset[Way]:
    assert isinstance(facts.reach, Reach)
    return facts.reach.tried
