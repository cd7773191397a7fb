"""Requests that the OpenAPI description allows, and that it forbids, through nginx: none ends in a 5xx, or tells a trace."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from ops.machine.run import run
from ops.plan.walls.http import leaks_trace
from tests.smoke.accounts import Account
from tests.smoke.live import Live

EXAMPLES = 40
"""Of each operation, in each of the two ways."""
SECONDS = 600.0


@pytest.mark.parametrize("allowed", [True, False], ids=["as a user who may", "as a stranger"])
def test_no_request_breaks_the_api(live: Live, editor: Account, tmp_path: Path, allowed: bool) -> None:
    described = live.inside("backend-1", 8000, "/api/v1/openapi.json").json()
    # Sockets and the prober's own paths are not described for users.
    schema = tmp_path / "openapi.json"
    schema.write_text(json.dumps(described))
    report = tmp_path / "report.ndjson"
    config = tmp_path / "schemathesis.toml"
    headers = f'headers = {{ Authorization = "Bearer {editor.token}" }}\n' if allowed else ""
    config.write_text(headers)
    config.chmod(0o600)
    program = str(Path(sys.executable).parent / "schemathesis")
    answer = run((
        program, "--config-file", str(config), "run", str(schema), "--url", live.site.base, "--tls-verify", str(live.ca),
        "--checks", "not_a_server_error", "--max-examples", str(EXAMPLES), "--phases", "examples,coverage,fuzzing",
        "--mode", "all", "--request-timeout", "20", "--generation-deterministic", "--report", "ndjson",
        "--report-ndjson-path", str(report), "--no-color", "--max-time", "200",
    ), timeout=SECONDS, ok=None)  # fmt: skip

    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr[-500:]
    assert report.stat().st_size > 10_000
    assert not leaks_trace(report.read_text(errors="replace"))
