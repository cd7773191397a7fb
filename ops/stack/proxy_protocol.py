"""The port for load balancers that pass on TCP and name their client by the PROXY protocol. Pure.

It is a port of its own: a listener that expects the header refuses every other connection, and the site's port is also that of
the prober, the audit, browsers of this host and load balancers that speak HTTP. docs/adr/0046-proxy-protocol.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.stack.model import EDGE

KEY = "proxy_protocol"
"""Of the port, below `ports` in stack.yaml; without it there is no such listener."""
LISTENS = 8444
"""nginx' own port for it (config/nginx/public.conf)."""
HOLDER = "edge"
PROTOCOL = "proxy"
"""How TLS begins there: after that header."""


def with_listener(document: dict[str, Any], ports: Mapping[str, int]) -> None:
    """Publish the listener where there is a port for it.

    Parameters
    ----------
    document: compose.yaml as parsed; it is changed in place.
    """
    services = document["services"]
    if KEY in ports and HOLDER in services:
        services[HOLDER]["ports"] = [*services[HOLDER]["ports"], f"{ports[KEY]}:{LISTENS}"]
        services[EDGE]["x-cc03"]["tls"]["ports"][str(LISTENS)] = PROTOCOL


def filled(ports: Mapping[str, int]) -> dict[str, str]:
    """What nginx' configuration takes from it.

    Load balancers are believed in one way only: one that passes on TCP passes on whatever `X-Forwarded-For` a client writes.
    """
    on = KEY in ports
    return {
        "CC03_PROXY_PROTOCOL_OFF": "" if on else "# ",
        "CC03_CLIENT_ADDRESS": KEY if on else "X-Forwarded-For",
    }
