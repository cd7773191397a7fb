"""The dashboards as an operator meets them, in a real Chromium: every panel has data, or says why it has none."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, expect

from ops.monitoring.dashboards import BOARDS
from ops.monitoring.dashboards.model import Dashboard
from tests.smoke.browser import DESKTOP, PHONE, Visit
from tests.smoke.live import Live, eventually

LOOKS: dict[str, tuple[dict[str, int], Literal["dark", "light"]]] = {
    "desktop": (DESKTOP, "light"),
    "desktop-dark": (DESKTOP, "dark"),
    "phone": (PHONE, "dark"),
}
NEW_STACK = 240.0
"""Seconds until a rate has its samples, and the first backup is made, on a new stack. The page asks again each 30 s."""
PANELS = """() => [...document.querySelectorAll('#panels .panel')].map(panel => ({
    title: panel.querySelector('h3').textContent, drawn: Boolean(panel.dataset.drawn), empty: panel.classList.contains('empty'),
    failed: panel.classList.contains('failed') && panel.querySelector('.note').textContent,
    seen: panel.getBoundingClientRect().top < innerHeight,
}))"""


def panels(visit: Visit) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = visit.page.evaluate(PANELS)
    return found


@pytest.fixture(params=LOOKS)
def looked_at(browser: Browser, request: pytest.FixtureRequest) -> Iterator[tuple[str, Visit]]:
    size, scheme = LOOKS[request.param]
    made = Visit(browser, size, scheme)
    yield request.param, made
    made.context.close()


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_every_panel_has_data_or_says_why_not(live: Live, looked_at: tuple[str, Visit], board: Dashboard) -> None:
    look, visit = looked_at
    visit.page.goto(f"{live.ops.base}/dashboards/#{board.uid}")
    expect(visit.page.locator("#title")).to_have_text(board.title)
    visit.whole_page()

    eventually(lambda: str([one["title"] for one in panels(visit) if not one["drawn"] and not one["failed"]] or ""), 60)
    shown = panels(visit)
    assert [one["title"] for one in shown] == [panel.title for panel in board.panels]
    assert [one["failed"] for one in shown if one["failed"]] == []
    explained = [bool(panel.empty) for panel in board.panels]

    def empty() -> list[str]:
        return [one["title"] for one, known in zip(panels(visit), explained, strict=True) if one["empty"] and not known]

    eventually(empty, NEW_STACK)
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "has to be scrolled sideways"
    visit.screenshot(f"dashboard-{board.uid}-{look}")
    assert visit.troubles == []


DRAWN = """async board => {
    const begun = performance.now();
    if (board) location.hash = board;
    const panels = () => [...document.querySelectorAll('#panels .panel')];
    const due = () => panels().filter(one => one.getBoundingClientRect().top < innerHeight);
    const titled = () => !board || document.getElementById('title').textContent.toLowerCase() === board;
    while (!titled() || !due().length || due().some(one => !one.dataset.drawn)) {
        if (performance.now() - begun > 15000) throw new Error('not drawn');
        await new Promise(resolve => setTimeout(resolve, 4));
    }
    return [performance.now() - begun, performance.now()];
}"""
"""Milliseconds until what is visible is drawn, from now on and since the page was asked for."""


def test_overview_is_drawn_at_once_and_again(live: Live, browser: Browser) -> None:
    """How fast is printed, with -s: other tests and the stack itself share the CPU."""
    cold, warm = [], []
    for _ in range(3):
        visit = Visit(browser, DESKTOP)
        visit.page.goto(f"{live.ops.base}/dashboards/", wait_until="commit")
        cold.append(visit.page.evaluate(DRAWN, "")[1] / 1000)
        for _ in range(3):
            visit.page.evaluate(DRAWN, "host")
            warm.append(visit.page.evaluate(DRAWN, "overview")[0] / 1000)
        visit.context.close()
    print(f"cold {min(cold):.2f} s, warm {min(warm):.2f} s")


def test_part_of_a_chart_is_zoomed_into_and_left_again(live: Live, visit: Visit) -> None:
    page = visit.page
    page.goto(f"{live.ops.base}/dashboards/#host")
    plot = page.locator(".panel.timeseries .u-over").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 40, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"from=\d+&to=\d+#host$"))
    page.get_by_role("button", name="Reset zoom").click()
    expect(page).to_have_url(f"{live.ops.base}/dashboards/#host")

    page.locator("h1").click()
    page.keyboard.press("-")
    expect(page).to_have_url(f"{live.ops.base}/dashboards/?range=24h#host")
    page.keyboard.press("n")
    expect(page.locator("#title")).to_have_text("Logs")
    assert visit.troubles == []


def test_values_of_a_chart_can_be_read_by_keyboard(live: Live, visit: Visit) -> None:
    visit.page.goto(f"{live.ops.base}/dashboards/#host")
    chart = visit.page.locator(".panel.timeseries .canvas").first
    expect(chart).to_have_attribute("aria-label", re.compile(r"^CPU by mode: .*user \d"))
    chart.focus()
    visit.page.keyboard.press("ArrowLeft")
    visit.page.keyboard.press("ArrowLeft")
    expect(visit.page.locator(".panel.timeseries .when").first).to_have_text(re.compile(r"\d\d:\d\d:\d\d"))


def test_variable_narrows_what_is_shown(live: Live, visit: Visit) -> None:
    visit.page.goto(f"{live.ops.base}/dashboards/?var-service=backend#containers")
    rows = visit.page.locator("#panels .panel.table tbody tr")
    expect(rows).to_have_count(len(live.slots("backend")))
    visit.page.locator("[name=var-service]").select_option("redis")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("redis")


def test_panel_leads_to_its_query_its_logs_and_its_runbook(live: Live, visit: Visit) -> None:
    visit.page.goto(f"{live.ops.base}/dashboards/")
    panel = visit.page.locator(".panel", has=visit.page.get_by_role("heading", name="Failed requests")).first
    panel.locator("summary").click()
    expect(panel.locator("code")).to_contain_text("edge_responses_total")
    hrefs = {link.text_content(): link.get_attribute("href") or "" for link in panel.locator("a").all()}
    assert set(hrefs) == {"Logs", "Runbook: ErrorRatioHigh", "Open in Prometheus"}
    visit.page.goto(hrefs["Logs"])
    expect(visit.page.locator("[name=service]")).to_have_value("nginx")
    visit.page.goto(hrefs["Open in Prometheus"])
    expect(visit.page.locator("textarea").first).to_have_value(re.compile("edge_responses_total"))


def test_charts_begin_where_the_data_does_and_show_deploys(live: Live, visit: Visit) -> None:
    """On the first day there are minutes of it: on an axis of 15 days they would be a vertical line."""
    visit.page.goto(f"{live.ops.base}/dashboards/?range=15d#releases")
    begun = live.number("min(prometheus_tsdb_lowest_timestamp_seconds)")
    state = visit.page.locator("#state")
    expect(state).to_contain_text("your time")
    day = time.strftime("%-d %b", time.localtime(max(begun, time.time() - 15 * 86400)))
    expect(state).to_contain_text(day)
    deployed = live.number('max(cc03_activation_last_timestamp_seconds{verb="deploy"})')
    if deployed > begun:
        expect(state).to_contain_text("▼")


def test_address_of_the_former_overview_leads_here(live: Live) -> None:
    answer = live.ops.get("/prometheus/consoles/overview.html")
    assert (answer.status_code, answer.headers["Location"]) == (308, "/dashboards/")
