"""Every way in which Keycloak is broken, and which of them are put together."""

from __future__ import annotations

from tests.drill.keycloak import break_container, break_database, break_image, break_options, break_realm
from tests.drill.keycloak.breakage import Breakage

BREAKAGES: tuple[Breakage, ...] = (
    *break_database.BREAKAGES,
    *break_options.BREAKAGES,
    *break_realm.BREAKAGES,
    *break_container.BREAKAGES,
    *break_image.BREAKAGES,
)
BY_ID = {breakage.id: breakage for breakage in BREAKAGES}

PAIRS = tuple(
    (BY_ID[first], BY_ID[second])
    for first, second in (
        ("redirect-wrong", "wrong-password"), ("role-nologin", "nginx-stopped"), ("realm-disabled", "certificate-expired"),
        ("stale-cluster-rows", "hostname-wrong"), ("user-locked", "redirect-wrong"),
        ("certificate-half-renewed", "no-certificate"),
        ("origin-wrong", "stopped-by-hand"), ("client-disabled", "build-option-at-run-time"),
        ("ops-secret-changed", "old-proxy-variable"), ("database-owner", "certificate-expired"),
        ("redirect-wrong", "health-check-wrong"), ("wrong-password", "nginx-stopped"),
    )
)  # fmt: skip
"""Two failures at once, in the order in which they are made: what is clicked needs a Keycloak that works."""
