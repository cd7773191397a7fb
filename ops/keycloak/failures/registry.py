"""Every failure mode that the diagnosis knows, in the order of cause: what stands first brings down what stands below."""

from __future__ import annotations

from collections.abc import Iterable

from ops.keycloak.failures import (
    connect as modes_connect,
)
from ops.keycloak.failures import (
    data as modes_data,
)
from ops.keycloak.failures import (
    image as modes_image,
)
from ops.keycloak.failures import (
    realm as modes_realm,
)
from ops.keycloak.failures import (
    start as modes_start,
)
from ops.keycloak.failures import (
    use as modes_use,
)
from ops.keycloak.failures.failure import Mode

MODES: tuple[Mode, ...] = (
    *modes_connect.MODES,
    *modes_data.MODES,
    *modes_start.MODES,
    *modes_image.MODES,
    *modes_use.MODES,
    *modes_realm.MODES,
)
BY_ID = {mode.id: mode for mode in MODES}


def consequences(mode: str, seen: Iterable[str] = BY_ID) -> frozenset[str]:
    """Ids of the modes that follow from one, directly or through others.

    Parameters
    ----------
    seen: those that there are; nothing follows through one that is not.
    """
    there = frozenset(seen)
    found: set[str] = set()
    waiting = [mode]
    while waiting:
        new = (set(BY_ID[waiting.pop()].explains) & there) - found
        found |= new
        waiting += new
    return frozenset(found - {mode})
