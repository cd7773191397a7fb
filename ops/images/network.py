"""The warning that follows a build in the host's own network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ops.images.plan import builds

if TYPE_CHECKING:
    from ops.cli.execute import UnderWay


@contextmanager
def warn_of_host_network(change: UnderWay) -> Iterator[None]:
    """Warn after a plan that has built something, where package mirrors are reached only from the host's own network."""
    try:
        yield
    finally:
        if builds(change.plan) and (said := change.project.engine.build_warning()):
            change.note(said, "[bold yellow]warning:[/bold yellow]")
