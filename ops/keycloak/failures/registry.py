"""Every failure that the diagnosis knows, in the order of cause: what stands first brings down what stands below.

To add a failure, describe it in the module of its group, and give it excerpts in tests/unit/keycloak_excerpts.
"""

from __future__ import annotations

from collections.abc import Iterable

from ops.keycloak.failures import connection, container, edge, image, integrations, postgres, realm, schema
from ops.keycloak.failures.failure import Failure

GROUPS = (connection, postgres, schema, container, image, edge, realm, integrations)
FAILURES: tuple[Failure, ...] = tuple(failure for group in GROUPS for failure in group.FAILURES)
BY_ID = {failure.id: failure for failure in FAILURES}


def consequences(failure: str, seen: Iterable[str] = BY_ID) -> frozenset[str]:
    """Ids of the failures that follow from one, directly or through others.

    Parameters
    ----------
    seen: those that there are; nothing follows through one that is not.
    """
    there = frozenset(seen)
    found: set[str] = set()
    waiting = [failure]
    while waiting:
        new = (set(BY_ID[waiting.pop()].explains) & there) - found
        found |= new
        waiting += new
    return frozenset(found - {failure})
