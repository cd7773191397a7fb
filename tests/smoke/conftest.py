"""Needs a live stack (inv deploy) and root. Nothing is skipped: what is missing fails."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, expect, sync_playwright

from ops.project import open_project
from tests.smoke.accounts import Account, Accounts
from tests.smoke.browser import ARTIFACTS, DESKTOP, PATIENCE, Visit, key_of
from tests.smoke.live import Live, leading_here

SKU_PREFIX = "SMOKE-"
MakeItem = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def live() -> Iterator[Live]:
    """The project that CC03_PROJECT or stack.yaml names. Its public name leads to this host, whatever DNS says."""
    found = Live(open_project())
    with leading_here(found.domain):
        yield found


@pytest.fixture(scope="session")
def accounts(live: Live) -> Iterator[Accounts]:
    """Users of the realm who are removed at the end, whatever happens before."""
    made = Accounts(live)
    made.remove_abandoned()
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture(scope="session")
def viewer(accounts: Accounts) -> Account:
    return accounts.create("viewer")


@pytest.fixture(scope="session")
def editor(accounts: Accounts) -> Account:
    return accounts.create("editor")


@pytest.fixture(scope="session")
def admin(accounts: Accounts) -> Account:
    return accounts.create("admin")


def item_input(**changed: Any) -> dict[str, Any]:
    """An item that no other one can clash with."""
    sku = SKU_PREFIX + secrets.token_hex(5)
    return {"name": f"Test item {sku[-10:]}", "sku": sku, "quantity": 3, "location": "A-1", "notes": "", **changed}


@pytest.fixture
def make_item(editor: Account, admin: Account) -> Iterator[MakeItem]:
    """Creates items, and deletes them after the test."""
    made: list[str] = []

    def make(**changed: Any) -> dict[str, Any]:
        answer = editor("POST", "/items", json=item_input(**changed))
        assert answer.status_code == 201, answer.text
        item: dict[str, Any] = answer.json()
        made.append(item["id"])
        return item

    try:
        yield make
    finally:
        for identity in made:
            answer = admin("DELETE", f"/items/{identity}")
            assert answer.status_code in {204, 404}, answer.text


@pytest.fixture
def forget_items(admin: Account) -> Iterator[str]:
    """A mark for items that are made by other ways; what is found by it is deleted after the test."""
    mark = SKU_PREFIX + secrets.token_hex(5)
    try:
        yield mark
    finally:
        for item in admin("GET", "/items", params={"q": mark}).json()["items"]:
            admin("DELETE", f"/items/{item['id']}")


@dataclass(frozen=True)
class Counted:
    """Requests of a kind that only this run makes, and how many of them all replicas had counted afterwards."""

    requests: int
    before: float
    after: float


NEVER_THERE = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="session")
def counted(live: Live, admin: Account) -> Counted:
    """Made once and early: Prometheus scrapes every 30 s, and the other tests fill that time."""
    before = counted_deletes(live)
    for _ in range(4):
        assert admin("DELETE", f"/items/{NEVER_THERE}").status_code == 404
    return Counted(4, before, counted_deletes(live))


def counted_deletes(live: Live) -> float:
    """The counter of DELETEs that found nothing, over all replicas, as they tell it themselves."""
    return counted_by_backends(live, 'http_requests_total{method="DELETE",route="/api/v1/items/{item_id}",status="404"}')


def counted_by_backends(live: Live, series: str) -> float:
    """The sum of a counter over all replicas; `series` with its labels as they are written."""
    series += " "
    pages = [live.inside(slot, 8000, "/metrics").text for slot in live.slots("backend")]
    return sum(float(line.removeprefix(series)) for page in pages for line in page.splitlines() if line.startswith(series))


@pytest.fixture(scope="session")
def traced(viewer: Account) -> requests.Response:
    """One request whose way through the stack is looked for in the logs."""
    return viewer("GET", "/items", params={"limit": 1})


@pytest.fixture(scope="module")
def browser(live: Live) -> Iterator[Browser]:
    program = shutil.which("chromium")
    assert program, "there is no chromium: apt-get install chromium"
    expect.set_options(timeout=PATIENCE)
    for old in ARTIFACTS.glob("failed-*.png"):
        old.unlink()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=[
            f"--ignore-certificate-errors-spki-list={key_of(live.project.state.ca / 'intermediate.pem')}",
            f"--host-resolver-rules=MAP {live.domain} 127.0.0.1", "--no-proxy-server",
        ])  # fmt: skip
        yield started
        started.close()


@pytest.fixture
def visit(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A browser without cookies; the last thing that it showed is kept when the test fails."""
    made = Visit(browser, getattr(request, "param", DESKTOP))
    failures = request.session.testsfailed
    try:
        yield made
        if request.session.testsfailed > failures:
            made.screenshot(f"failed-{re.sub(r'[^a-z0-9]+', '-', request.node.name.lower())}")
    finally:
        made.context.close()
