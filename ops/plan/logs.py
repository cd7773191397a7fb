"""What the operator asks of the logs, as a LogsQL query."""

from __future__ import annotations

import json
import re

from ops.errors import UsageProblem

DEFAULT_SINCE = "15m"


def query(service: str | None, since: str | None, grep: str | None, request_id: str | None) -> str:
    """A LogsQL query (VictoriaLogs' language).

    Parameters
    ----------
    since: an age such as 90s, 15m, 4h or 2d. grep: regular expression looked for in the message and the whole line.

    Raises UsageProblem for an age that cannot be read.
    """
    age = since or DEFAULT_SINCE
    if not re.fullmatch(r"\d+[smhd]", age):
        raise UsageProblem(
            f"--since {age} cannot be read", "it must be a number and a unit: 90s, 15m, 4h, 2d", "inv logs --since 15m"
        )
    parts = [f"_time:{age}"]
    if service:
        parts.append(f"service:={json.dumps(service)}")
    if request_id:
        parts.append(f"request_id:={json.dumps(request_id)}")
    if grep:
        parts.append(f"(_msg:~{json.dumps(grep)} or raw:~{json.dumps(grep)} or path:~{json.dumps(grep)})")
    return " ".join(parts)
