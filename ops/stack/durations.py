"""Durations as compose.yaml writes them. Pure."""

from __future__ import annotations

import math
import re

from ops.stack.model import Service

DEFAULT_GRACE = 10
"""Seconds that Podman gives a container to stop, where nothing else is said."""


def seconds(duration: object) -> int:
    """A compose duration such as `1m30s` or `30s` in whole seconds."""
    parts = re.findall(r"(\d+)(ms|h|m|s)", str(duration))
    if not parts:
        return DEFAULT_GRACE
    return math.ceil(sum(int(number) * {"h": 3600, "m": 60, "s": 1, "ms": 0.001}[unit] for number, unit in parts))


def grace(service: Service) -> int:
    """Seconds that the programs of a service have to end by themselves."""
    return seconds(service.definition.get("stop_grace_period", "10s"))
