"""Requests that the OpenAPI description allows, and that it forbids, through nginx: none ends in a 5xx, or tells a trace."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.core.process import run
from ops.project import Project
from ops.security_audit.controls.http import leaks_trace
from tests.drill.conftest import temporary_accounts
from tests.smoke.accounts import Account
from tests.smoke.live import Live

EXAMPLES = 40
"""Of each operation, in each of the two ways."""
LONGEST = 200
"""Seconds for one run: less than a token is good for."""
LEAST = 200
"""Requests below which a run would prove little."""


@pytest.fixture(scope="module")
def administrator(project: Project) -> Iterator[Account]:
    """Somebody who may do everything that the API offers. What was made meanwhile is removed with the account."""
    with temporary_accounts(Live(project)) as accounts:
        account = accounts.create("admin")
        before = items_of(account)
        yield account
        for item in items_of(account) - before:
            assert account("DELETE", f"/items/{item}").status_code in {204, 404}


def items_of(account: Account) -> set[str]:
    """Ids of all items, page by page."""
    found: set[str] = set()
    while True:
        page = account("GET", "/items", params={"limit": 100, "offset": len(found)}).json()
        found |= {item["id"] for item in page["items"]}
        if not page["items"] or len(found) >= page["total"]:
            return found


@pytest.mark.parametrize("signed_in", [True, False], ids=["as an administrator", "as a stranger"])
def test_no_request_breaks_the_api(project: Project, administrator: Account, tmp_path: Path, signed_in: bool) -> None:
    live = Live(project)
    described, report = tmp_path / "openapi.json", tmp_path / "report.ndjson"
    described.write_text(live.inside(live.slots("backend")[0], 8000, "/api/v1/openapi.json").text)
    # A file and no argument: the token would show in the process list.
    config = tmp_path / "schemathesis.toml"
    config.touch(mode=0o600)
    config.write_text(f'headers = {{ Authorization = "Bearer {administrator.token}" }}\n' if signed_in else "")
    program = str(Path(sys.executable).parent / "schemathesis")
    answer = run((
        "env", "-C", str(tmp_path), program, "--config-file", str(config), "run", str(described), "--url", live.site.base,
        "--tls-verify", str(live.ca), "--checks", "not_a_server_error", "--max-examples", str(EXAMPLES),
        "--phases", "examples,coverage,fuzzing", "--mode", "all", "--request-timeout", "20", "--max-time", str(LONGEST),
        "--generation-deterministic", "--report", "ndjson", "--report-ndjson-path", str(report), "--no-color",
    ), timeout=LONGEST + 120, ok=None)  # fmt: skip

    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr[-500:]
    tested = re.search(r"(\d+) generated", answer.stdout)
    assert tested and int(tested[1]) > LEAST, answer.stdout[-800:]
    assert not leaks_trace(report.read_text(errors="replace"))
    assert json.loads(described.read_text())["paths"]
