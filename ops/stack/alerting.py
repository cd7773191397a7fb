"""The way out of Alertmanager: a network of its own, which the packet filter opens to the declared receivers. Pure."""

from __future__ import annotations

from typing import Any

from ops.stack.settings import Settings

NETWORK = "alerting"
"""Exists where stack.yaml declares a receiver on another machine; Alertmanager alone stands on it."""
SERVICE = "alertmanager"


def with_way_out(document: dict[str, Any], settings: Settings) -> tuple[str, ...]:
    """Put Alertmanager on a network that leads out, where `alerts.destinations` declares one. Returns those destinations.

    Parameters
    ----------
    document: compose.yaml as parsed; it is changed in place.
    """
    destinations = tuple(settings.alerts.destinations)
    if destinations and SERVICE in document["services"]:
        alertmanager = document["services"][SERVICE]
        document["networks"][NETWORK] = {}
        alertmanager["networks"] = [*alertmanager["networks"], NETWORK]
    return destinations
