"""The lock of a project on a cluster, around every command that changes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ops.project import Project


OF_THIS_MACHINE = ("build",)
"""Commands that work with images of this machine alone."""


@contextmanager
def hold_lease(project: Project, verb: str, note: Callable[[str], None]) -> Iterator[None]:
    """Hold the cluster's Lease, so that no other operator changes the same project from another machine."""
    from ops.engines.kubernetes.lease import hold

    if verb in OF_THIS_MACHINE:
        yield
        return
    with hold(project.kubernetes, verb, note):
        yield
