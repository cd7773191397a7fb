"""The result of the last audit, for who asks later: an audit sends requests that are refused, and takes its time."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from ops.core import files
from ops.core.state import State


def keep(state: State, result: Mapping[str, Any], at: datetime) -> None:
    """Remember a result as `inv audit --json` prints it. That it cannot be kept hinders no audit."""
    with suppress(OSError):
        files.write(state.security_audit, files.dump({"at": at.isoformat(timespec="seconds"), **result}), mode=0o600)


def last(state: State) -> Mapping[str, Any] | None:
    """The last result, with its time at `at`; None where there is none that can be read."""
    try:
        found: Mapping[str, Any] | None = files.read_json(state.security_audit)
    except (OSError, ValueError):
        return None
    return found
