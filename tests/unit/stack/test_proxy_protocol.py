"""The port for load balancers that pass on TCP: where it is set, and that nothing changes where it is not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.core.errors import UsageProblem
from ops.security_audit.controls.network import published
from ops.security_audit.listeners import parse_listeners, switched_on
from ops.stack.compose import parse_stack, placeholders
from tests.unit.builders import COMPOSE, PORTS, REPOSITORY, STATE, settings
from tests.unit.security_audit.facts import clean, with_container

ON = "load_balancer: {addresses: [192.0.2.7]}\nports: {proxy_protocol: 8443}\n"
WITH_IT = {**PORTS, "proxy_protocol": 8443}


def test_it_is_off_unless_it_is_set() -> None:
    assert settings("").ports.published == PORTS
    assert settings("ports: {proxy_protocol: 0}").ports.published == PORTS
    assert settings(ON).ports.published == WITH_IT


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ports: {proxy_protocol: 8443}", "load_balancer.addresses is empty"),
        ("ports: {proxy_protocol: 443}\nload_balancer: {addresses: [192.0.2.7]}", "ports.https and ports.proxy_protocol"),
        ("ports: {proxy_protocol: 70000}", "ports.proxy_protocol is 70000"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        settings(text)
    assert said in caught.value.what


def test_load_balancers_are_believed_in_one_way_only() -> None:
    off, on = placeholders(settings("load_balancer: {addresses: [192.0.2.7]}"), PORTS), placeholders(settings(ON), WITH_IT)

    assert off["CC03_CLIENT_ADDRESS"] == "X-Forwarded-For"
    assert on["CC03_CLIENT_ADDRESS"] == "proxy_protocol"
    assert off["CC03_LOAD_BALANCERS"] == on["CC03_LOAD_BALANCERS"] == "set_real_ip_from 192.0.2.7;"


def test_nginx_has_the_listener_where_it_is_on_and_no_line_of_it_where_it_is_off() -> None:
    off, on = placeholders(settings(""), PORTS), placeholders(settings(ON), WITH_IT)
    text = (REPOSITORY / "config" / "nginx" / "public.conf").read_text()

    lines = [line.strip() for line in text.splitlines() if "listen 8444" in line]
    assert len(lines) == 2, "the site, and what leads other names there"
    for line in lines:
        name = "${CC03_PROXY_PROTOCOL_OFF}"
        assert line.startswith(name)
        assert line.replace(name, off["CC03_PROXY_PROTOCOL_OFF"]).startswith("#")
        assert line.replace(name, on["CC03_PROXY_PROTOCOL_OFF"]).startswith("listen 8444 ssl proxy_protocol")


def test_holder_of_the_address_publishes_it_and_nginx_declares_it() -> None:
    off = parse_stack(COMPOSE, settings(""), PORTS, REPOSITORY, STATE).services
    on = parse_stack(COMPOSE, settings(ON), WITH_IT, REPOSITORY, STATE).services

    assert on["edge"].definition["ports"] == [*off["edge"].definition["ports"], "8443:8444"]
    assert (off["nginx"].listens, on["nginx"].listens) == ({"8443": "tls"}, {"8443": "tls", "8444": "proxy"})


def test_audit_asks_for_it_where_it_is_on_only() -> None:
    found = parse_listeners("nginx: {8444: {published: proxy_protocol}}", {"nginx": {"8443": "tls", "8444": "proxy"}})

    assert [one.port for one in switched_on(found, PORTS)] == [8443]
    (_, listener) = switched_on(found, WITH_IT)
    assert (listener.encrypted, listener.public) == (True, True)


@pytest.mark.parametrize(
    ("ports", "findings"), [(WITH_IT, []), (PORTS, ["publishes 8444/tcp at 0.0.0.0:8443"])], ids=["on", "off"]
)
def test_audit_accepts_that_it_is_published_where_it_is_on_only(ports: dict[str, int], findings: list[str]) -> None:
    seen = (*clean().containers["edge"].published, ("8444/tcp", "0.0.0.0", 8443))  # noqa: S104
    facts = replace(with_container("edge", published=seen), ports=ports)

    assert [one.what for one in published(facts)] == findings
