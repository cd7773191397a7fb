"""The site and the operator's pages as a person meets them, in a real Chromium. Screenshots stay in artifacts/."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.smoke.accounts import REALM, Account
from tests.smoke.browser import DESKTOP, PHONE, Visit
from tests.smoke.conftest import MakeItem
from tests.smoke.live import Live, eventually


def test_item_from_login_to_logout(live: Live, visit: Visit, admin: Account, forget_items: str) -> None:
    page, sku = visit.page, forget_items
    visit.log_in(live, admin)
    expect(page.get_by_test_id("user")).to_contain_text("Smoke Admin")
    expect(page.get_by_test_id("live")).to_have_text("Live")

    page.get_by_test_id("add").click()
    visit.fill(name=f"Crate {sku}", sku=sku, quantity="12", location="Hall 3")
    expect(page.get_by_test_id("toast")).to_have_text(f"Added Crate {sku}.")

    page.get_by_test_id("search").fill(sku)
    row = page.get_by_test_id("item")
    expect(row).to_have_count(1)
    expect(row).to_contain_text(f"by {admin.username}")

    row.get_by_role("button", name=f"Edit Crate {sku}").click()
    visit.fill(quantity="0")
    expect(row).to_contain_text("Out of stock")
    visit.screenshot("site-desktop")

    row.get_by_role("button", name=f"Delete Crate {sku}").click()
    page.get_by_test_id("confirm-delete").click()
    expect(page.get_by_test_id("empty")).to_be_visible()

    page.get_by_test_id("sign-out").click()
    expect(page.get_by_test_id("signed-out")).to_be_visible()
    page.get_by_test_id("sign-in").click()
    expect(page.locator("#password")).to_be_visible()
    assert visit.troubles == []


@pytest.mark.parametrize("visit", [PHONE], indirect=True, ids=["phone"])
def test_viewer_reads_on_a_phone(live: Live, visit: Visit, viewer: Account, make_item: MakeItem) -> None:
    item = make_item(location="Shelf 7")
    page = visit.page
    visit.log_in(live, viewer)
    page.get_by_test_id("search").fill(item["sku"])
    row = page.get_by_test_id("item")

    expect(row).to_have_count(1)
    expect(row).to_contain_text("Shelf 7")
    expect(page.get_by_test_id("add")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], "has to be scrolled sideways"
    visit.screenshot("site-phone")
    row.get_by_role("button", name=item["name"]).click()
    expect(page.get_by_test_id("item-details")).to_be_visible()
    assert visit.troubles == []


def test_change_by_somebody_else_shows_by_itself(
    live: Live, visit: Visit, viewer: Account, editor: Account, make_item: MakeItem
) -> None:
    item = make_item(quantity=5)
    page = visit.page
    visit.log_in(live, viewer)
    expect(page.get_by_test_id("live")).to_have_text("Live")
    page.get_by_test_id("search").fill(item["sku"])
    row = page.get_by_test_id("item")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("5")

    change(editor, item, quantity=4711)
    expect(row).to_contain_text("4,711")


HISTORY: dict[str, dict[str, Any]] = {
    "added": {"quantity": 1200, "location": "", "notes": "left " * 200},
    "moved": {"quantity": 7, "location": "Hall 3"},
    "corrected": {"notes": "left " * 199 + "right"},
}


@pytest.mark.parametrize(
    ("visit", "reader"), [(DESKTOP, "editor"), (PHONE, "viewer")], indirect=["visit"], ids=["editor", "viewer-phone"]
)
def test_history_says_who_changed_what(
    live: Live, visit: Visit, admin: Account, make_item: MakeItem, reader: str, request: pytest.FixtureRequest
) -> None:
    item = make_item(**HISTORY["added"])
    change(admin, item, **HISTORY["moved"])
    page, asked = visit.page, list[str]()
    page.on("request", lambda sent: asked.append(sent.url) if "/history" in sent.url else None)
    visit.log_in(live, request.getfixturevalue(reader))
    page.goto(f"{live.site.base}/?item={item['id']}")
    dialog, steps = page.get_by_test_id("item-dialog"), page.get_by_test_id("history-step")
    expect(dialog.get_by_role("heading", name=item["name"])).to_be_visible()
    assert asked == []

    dialog.get_by_text("History", exact=True).press("Enter")
    expect(steps).to_have_count(2)
    expect(steps.nth(0)).to_contain_text(f"{admin.username} changed it")
    expect(steps.nth(0).get_by_role("definition")).to_have_text(["from 1,200 → to 7", "from empty → to Hall 3"])
    expect(steps.nth(1)).to_contain_text(f"{item['created_by']} added it")
    expect(page.get_by_test_id("live")).to_have_text("Live")
    change(admin, item, **HISTORY["corrected"])
    expect(steps).to_have_count(3)
    same = "…eft left left left left"
    expect(steps.nth(0).get_by_role("definition")).to_have_text(f"from {same} left → to {same} right")
    steps.last.scroll_into_view_if_needed()
    assert dialog.evaluate("dialog => dialog.scrollWidth <= dialog.clientWidth"), "has to be scrolled sideways"
    visit.screenshot(f"site-history-{reader}")
    assert visit.troubles == []


def change(account: Account, item: dict[str, Any], **fields: Any) -> None:
    """Save an item by the API; `item` is then as it was saved."""
    wanted = {name: item[name] for name in ("name", "sku", "quantity", "location", "notes")} | fields
    answer = account("PUT", f"/items/{item['id']}", json=wanted, headers={"If-Match": f'"{item["version"]}"'})
    assert answer.status_code == 200, answer.text
    item.update(answer.json())


def test_change_that_meets_another_one_is_merged(
    live: Live, visit: Visit, editor: Account, admin: Account, make_item: MakeItem
) -> None:
    item = make_item(quantity=5)
    page = visit.page
    visit.log_in(live, editor)
    expect(page.get_by_test_id("live")).to_have_text("Live")
    page.get_by_test_id("search").fill(item["sku"])
    row = page.get_by_test_id("item")
    row.get_by_role("button", name=f"Edit {item['name']}").click()
    expect(page.get_by_test_id("item-form")).to_be_visible()
    change(admin, item, location="Hall 3")

    expect(page.get_by_test_id("changed-meanwhile")).to_be_visible()
    visit.fill(quantity="7")
    expect(page.get_by_test_id("choice-location")).to_contain_text("Hall 3")
    page.get_by_test_id("save-merged").click()
    expect(page.get_by_test_id("toast")).to_have_text(f"Saved {item['name']}.")
    expect(row).to_contain_text("Hall 3")
    expect(row).to_contain_text("7")


@pytest.mark.parametrize("notes", ["棚卸し " * 300, "long " * 700], ids=["Japanese", "ASCII"])
def test_item_with_long_notes_is_saved(live: Live, visit: Visit, editor: Account, make_item: MakeItem, notes: str) -> None:
    item = make_item(notes=notes)
    page = visit.page
    visit.log_in(live, editor)
    page.get_by_test_id("search").fill(item["sku"])
    row = page.get_by_test_id("item")
    for quantity in ("41", "42"):
        row.get_by_role("button", name=f"Edit {item['name']}").click()
        visit.fill(quantity=quantity)
        expect(row).to_contain_text(quantity)
    assert visit.troubles == []


def test_error_of_the_page_is_found_in_the_log(live: Live, visit: Visit, viewer: Account) -> None:
    visit.log_in(live, viewer)
    mark = f"smoke-{secrets.token_hex(6)}"
    visit.page.evaluate("mark => setTimeout(() => { throw new Error(mark + ' \u202e') })", mark)

    def missing() -> str:
        found = live.log_lines(f'_time:5m service:backend error:"{mark}"')
        return "" if any(line.get("user") == viewer.identity for line in found) else f"{mark}: {found}"

    eventually(missing, 60)


def test_reload_keeps_the_session_and_the_view(live: Live, visit: Visit, viewer: Account) -> None:
    visit.log_in(live, viewer)
    visit.page.get_by_test_id("search").fill("nothing is called so")
    expect(visit.page.get_by_test_id("empty")).to_contain_text("Nothing matches")
    visit.page.reload()

    expect(visit.page.get_by_test_id("role")).to_have_text("viewer")
    expect(visit.page.get_by_test_id("search")).to_have_value("nothing is called so")


def test_wrong_password_is_told_in_the_form(live: Live, visit: Visit) -> None:
    visit.page.goto(f"{live.site.base}/")
    visit.page.get_by_test_id("sign-in").click()
    visit.page.locator("#username").fill("smoke-nobody")
    visit.page.locator("#password").fill("wrong")
    visit.page.locator("#kc-login").click()

    expect(visit.page.locator("body")).to_contain_text("Invalid username or password.")
    assert visit.page.url.startswith(f"{live.site.base}{REALM}/login-actions/")


def test_operator_sees_the_start_page(live: Live, visit: Visit) -> None:
    visit.page.goto(f"{live.ops.base}/")
    for path in ("prometheus/", "dashboards/", "alertmanager/", "logs/", "auth/admin/"):
        expect(visit.page.locator(f'a[href*="{path}"]').first).to_be_visible()
    visit.screenshot("ops")
    assert visit.troubles == []


@pytest.fixture
def firing(live: Live) -> Iterator[str]:
    """Name of an alert that fires during a test; it ends before the 20 s for which a group waits: nobody is notified."""
    name = f"SmokeTest{secrets.token_hex(4)}"
    alert = {
        "labels": {"alertname": name, "severity": "none", "service": "backend", "replica": "backend-2"},
        "annotations": {"summary": "A test that ends by itself", "runbook_url": "docs/runbooks/SiteDown.md"},
    }

    def post(lasts: timedelta) -> None:
        end = (datetime.now(UTC) + lasts).isoformat()
        assert live.ops("POST", "/alertmanager/api/v2/alerts", json=[{**alert, "endsAt": end}]).status_code == 200

    post(timedelta(seconds=15))
    yield name
    post(timedelta(seconds=0))


def test_alert_on_the_start_page_names_its_replica_and_its_runbook(live: Live, visit: Visit, firing: str) -> None:
    visit.page.goto(f"{live.ops.base}/")
    shown = visit.page.locator("#alerts li", has_text=firing)
    expect(shown).to_contain_text("backend-2")
    shown.get_by_role("link", name="runbook").click()

    expect(visit.page.get_by_role("heading", level=1)).to_contain_text("SiteDown")
    assert visit.page.url == f"{live.ops.base}/docs/runbooks/SiteDown/"
