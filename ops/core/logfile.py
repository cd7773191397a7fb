"""Lines for the log store from the commands themselves: in files beside the containers' own, and in the same form."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LIMIT_BYTES = 5 << 20
"""Size at which an empty file takes the place of a file, as Podman does it: the collector keeps what it has not delivered."""


def tell(folder: Path, source: str, message: str, **fields: Any) -> None:
    """Append one line to SOURCE.log, which the collector makes a row of the service SOURCE.

    Parameters
    ----------
    folder: the state's `logs`. source: a name that no container has. fields: become fields of the row.

    What cannot be written is left out: this is a copy, for searching, and must not stop what is being done.
    """
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000+00:00")
    line = f"{at} stdout F {json.dumps({'level': 'info', **fields, 'message': message}, sort_keys=True)}\n"
    path = folder / f"{source}.log"
    with suppress(OSError):
        if path.exists() and path.stat().st_size > LIMIT_BYTES:
            fresh = path.with_name(f"{path.name}.new")
            os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
            fresh.replace(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
