"""One JSON object per line on stdout."""

import json
import sys
from datetime import UTC, datetime


def log(level: str, message: str, **fields: object) -> None:
    line = {"timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "logger": "backup"}
    # In one write: two threads must not mix their lines.
    sys.stdout.write(json.dumps({**line, "message": message, **fields}) + "\n")
    sys.stdout.flush()
