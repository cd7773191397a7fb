"""Which listeners are declared, who is served there, and which ways lead to them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.core.errors import UsageProblem
from ops.security_audit.controls.network import allowed
from ops.security_audit.facts import Connection, Facts, Reach
from ops.security_audit.listeners import Listener, parse_listeners
from tests.unit.security_audit.facts import clean

LISTENS = {"nginx": {"81": "tls"}}


def test_listener_that_needs_publishing_does_not_exist_before() -> None:
    assert parse_listeners("nginx: {82: {published: proxy_protocol}}", {"nginx": {}}) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nginz: {80: {speaks: http}}", "names nginz"),
        ("nginx: {80: {speaks: htps}}", "speaks is 'htps'"),
        ("nginx: {80: {spaeks: http}}", "spaeks is not known"),
        ("nginx: {eighty: {speaks: http}}", "nginx.eighty"),
        ("nginx: {81: {clients: {nginz: /}}}", "clients names nginz"),
        ("nginx: {81: {speaks: http}}", "speaks is 'http'"),
        ("nginx: {80: {speaks: tls}}", "speaks is 'tls'"),
        ("nginx: {80: {name: localhost}}", "speaks is ''"),
    ],
)
def test_invalid_listener_is_refused(text: str, said: str) -> None:
    tls, clear = Listener("nginx", 81, "tls", "nginx"), Listener("nginx", 80, "http", "nginx")
    assert parse_listeners("nginx: {80: {speaks: http}}", LISTENS) == (tls, clear)
    with pytest.raises(UsageProblem, match=said):
        parse_listeners(text, LISTENS)


def test_listener_names_its_clients_and_takes_a_former_key() -> None:
    (found,) = parse_listeners("nginx: {81: {clients: {nginx: /health}, client_certificate: true}}", LISTENS)
    assert found.clients == (("nginx", "/health"),)


def test_a_network_on_which_the_target_does_not_listen_is_no_way_to_it() -> None:
    facts = clean()
    way = next(one for one in _tried(facts) if (one.source, one.target, one.network) == ("backend-1", "prometheus", "app"))
    assert not allowed(facts.stack, way)
    assert allowed(facts.stack, replace(way, source="edge", network="monitoring"))


def _tried(facts: Facts) -> frozenset[Connection]:
    assert isinstance(facts.reach, Reach)
    return facts.reach.tried
