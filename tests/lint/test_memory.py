"""Whom the kernel ends when the host runs out of memory: any container before that of PostgreSQL."""

from __future__ import annotations

import json
from typing import Any

from .deployed import Deployed

SPARED = {"postgres", "edge"}
"""The data of all, and the holder of nginx' address, the end of which would free a megabyte."""
DESKTOP = 200
"""What a session of a desktop begins with (systemd's user@.service). Going below that takes CAP_SYS_RESOURCE."""


def scores(deployed: Deployed) -> dict[str, Any]:
    wanted = deployed.project.wanted({}, frozenset())
    services = json.loads(json.dumps(wanted.compose))["services"]
    return {slot: service.get("oom_score_adj") for slot, service in services.items()}


def test_every_container_but_those_is_ended_before_postgres(deployed: Deployed) -> None:
    found = scores(deployed)
    assert {slot for slot, score in found.items() if score is None} == SPARED
    assert min(score for score in found.values() if score is not None) >= DESKTOP
