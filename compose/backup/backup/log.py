"""One JSON object per line on stdout; on stderr where stdout is for progress."""

import json
import sys
from datetime import UTC, datetime

_stream = [sys.stdout]


def to_stderr() -> None:
    _stream[0] = sys.stderr


def log(level: str, message: str, **fields: object) -> None:
    line = {"timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "logger": "backup"}
    # In one write: two threads must not mix their lines.
    _stream[0].write(json.dumps({**line, "message": message, **fields}) + "\n")
    _stream[0].flush()
