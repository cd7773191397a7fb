"""The operator's pages, on loopback and under the public name: who gets in, what they show, and that nothing is written."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urldefrag, urljoin

import pytest
from playwright.sync_api import expect

from ops.core.machine import REPOSITORY
from tests.smoke.accounts import Account, Accounts
from tests.smoke.browser import DESKTOP, PHONE, Visit
from tests.smoke.live import Live

PAGES = {
    "": ("Overview", "Overview"), "alerts/": ("Alerts", "Alerts"), "logs/": ("Logs", "Logs"), "traces/": ("Traces", "Traces"),
    "dashboards/": ("Dashboards", "Overview"), "docs/": ("Docs", "Documentation"),
}  # fmt: skip
"""Path -> (its name in the navigation, heading)."""
READ = ["prometheus/api/v1/query?query=up", "alertmanager/api/v2/alerts", "logs/select/logsql/query?query=*&limit=1"]
HIDDEN = [
    "prometheus/api/v1/status/config", "prometheus/debug/pprof/", "prometheus/federate", "prometheus/metrics",
    "alertmanager/api/v2/status", "alertmanager/metrics", "logs/metrics", "logs/select/logsql/%2e%2e/%2e%2e/metrics",
    "auth/admin/",
]  # fmt: skip
WRITES = [
    "prometheus/-/reload", "prometheus/api/v1/admin/tsdb/snapshot", "prometheus/api/v1/query", "alertmanager/api/v2/silences",
    "alertmanager/api/v2/alerts", "logs/insert/jsonline", "logs/select/logsql/query", "",
]  # fmt: skip
LINK = re.compile(r'(?:href|src)="([^"]+)"')
COOKIE = "__Secure-cc03-ops"


@pytest.fixture(autouse=True)
def public(live: Live) -> None:
    assert live.project.settings.pages.public, "these tests need pages.public, which is the default"


@pytest.fixture(scope="session")
def operator(accounts: Accounts) -> Account:
    return accounts.create("operator")


def log_in(visit: Visit, live: Live, account: Account, path: str = "") -> None:
    visit.page.goto(f"{live.site.base}/ops/{path}")
    visit.page.locator("#username").fill(account.username)
    visit.page.locator("#password").fill(account.password)
    visit.page.locator("#kc-login").click()


def status(visit: Visit, path: str, method: str = "GET") -> int:
    """Of a request that the page itself makes."""
    script = "async ([path, method]) => (await fetch(path, {method, cache: 'no-store'})).status"
    found: int = visit.page.evaluate(script, [path, method])
    return found


@pytest.mark.parametrize("visit", [DESKTOP, PHONE], indirect=True, ids=["desktop", "phone"])
def test_operator_logs_in_once_and_sees_each_page(live: Live, visit: Visit, operator: Account) -> None:
    log_in(visit, live, operator, "alerts/")
    visit.page.wait_for_url(f"{live.site.base}/ops/alerts/")
    size = visit.page.viewport_size
    assert size
    for path, (name, heading) in PAGES.items():
        visit.page.goto(f"{live.site.base}/ops/{path}")
        expect(visit.page.get_by_role("heading", level=1)).to_contain_text(heading)
        expect(visit.page.locator("nav.shell a[aria-current]")).to_have_text(name)
        visit.page.wait_for_load_state("networkidle")
        assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{path} has to be scrolled sideways"
        visit.screenshot(f"ops-{path.strip('/') or 'overview'}-{size['width']}")
    assert visit.troubles == []


def test_user_without_the_role_is_told_so(live: Live, visit: Visit, viewer: Account) -> None:
    log_in(visit, live, viewer)

    expect(visit.page.locator("body")).to_contain_text("403")
    expect(visit.page.locator("body")).to_contain_text("does not have the role operator")
    visit.screenshot("ops-without-the-role")
    assert [status(visit, f"/ops/{path}") for path in READ] == [401] * len(READ)
    assert COOKIE not in {cookie.get("name") for cookie in visit.context.cookies()}


@pytest.mark.parametrize("cookie", ["", f"{COOKIE}=forged|1|x"])
def test_nobody_reads_without_a_login(live: Live, cookie: str) -> None:
    headers = {"Cookie": cookie} if cookie else {}
    for path in ("", "docs/", "shell.js"):
        answer = live.site.get(f"/ops/{path}", headers=headers)
        assert answer.status_code == 302, path
        assert answer.headers["Location"].startswith(f"{live.site.base}/auth/realms/cc03/protocol/openid-connect/auth?"), path
        assert "code_challenge_method=S256" in answer.headers["Location"]
    assert [live.site.get(f"/ops/{path}", headers=headers).status_code for path in READ] == [401] * len(READ)
    assert [live.site("POST", f"/ops/{path}", headers=headers).status_code for path in WRITES] == [405] * len(WRITES)


def test_operator_reads_and_can_write_nothing(live: Live, visit: Visit, operator: Account) -> None:
    log_in(visit, live, operator)
    expect(visit.page.get_by_role("heading", level=1)).to_contain_text("Overview")

    assert {path: status(visit, f"/ops/{path}") for path in READ} == dict.fromkeys(READ, 200)
    assert {path: status(visit, f"/ops/{path}") for path in HIDDEN} == dict.fromkeys(HIDDEN, 404)
    for method in ("POST", "PUT", "DELETE"):
        assert {path: status(visit, f"/ops/{path}", method) for path in WRITES} == dict.fromkeys(WRITES, 405), method


def test_cookie_is_for_these_pages_alone(live: Live, visit: Visit, operator: Account) -> None:
    log_in(visit, live, operator)
    expect(visit.page.get_by_role("heading", level=1)).to_contain_text("Overview")
    (found,) = [cookie for cookie in visit.context.cookies() if cookie.get("name") == COOKIE]

    assert (found["path"], found["secure"], found["httpOnly"], found["sameSite"]) == ("/ops/", True, True, "Lax")
    assert len(found["value"]) < 2000, "it holds tokens"


def test_login_is_renewed_without_a_form_and_ends_with_the_logout(live: Live, visit: Visit, operator: Account) -> None:
    log_in(visit, live, operator)
    expect(visit.page.get_by_role("heading", level=1)).to_contain_text("Overview")
    visit.context.clear_cookies(name=COOKIE)
    assert status(visit, f"/ops/{READ[0]}") == 401
    ask = "async path => (await (await import('/ops/shell.js')).ask(path)).status"
    assert visit.page.evaluate(ask, READ[0]) == 200

    visit.page.get_by_role("link", name="Log out").click()
    visit.page.locator("#kc-logout").click()
    visit.page.goto(f"{live.site.base}/ops/")
    expect(visit.page.locator("#username")).to_be_visible()


def test_page_of_alerts_agrees_with_alertmanager(live: Live, visit: Visit) -> None:
    visit.page.goto(f"{live.ops.base}/alerts/")
    expect(visit.page.locator("#state")).to_contain_text("firing")
    alerts = live.ops.get("/alertmanager/api/v2/alerts?active=true&silenced=false&inhibited=false").json()
    names = sorted(one["labels"]["alertname"] for one in alerts if one["labels"]["alertname"] != "Watchdog")

    assert visit.page.locator("#firing li:not(.none)").count() == len(names), names
    for item in visit.page.locator("#firing li:not(.none)").all():
        expect(item.get_by_role("link", name="Runbook")).to_be_visible()
    assert visit.troubles == []


def pages_of_docs(live: Live) -> list[str]:
    index: dict[str, Any] = live.ops.get("/docs/search/search_index.json").json()
    return sorted({str(urldefrag(entry["location"]).url) for entry in index["docs"]})


def test_every_page_and_link_of_the_docs_opens(live: Live) -> None:
    pages, asked = pages_of_docs(live), {}
    for page in pages:
        answer = live.ops.get(f"/docs/{page}")
        assert answer.status_code == 200, page
        for link in LINK.findall(answer.text):
            url = urldefrag(urljoin(f"/docs/{page}", link)).url
            if url.startswith("/") and url not in asked:
                asked[url] = live.ops.get(url).status_code
    assert {url: code for url, code in asked.items() if code != 200} == {}
    runbooks = {path.stem for path in (REPOSITORY / "docs" / "runbooks").glob("*.md")} - {"README"}
    assert {f"runbooks/{name}/" for name in runbooks} <= set(pages)


def test_docs_are_searched_in_the_browser(live: Live, visit: Visit) -> None:
    visit.page.goto(f"{live.ops.base}/docs/")
    visit.page.locator(".md-search__input").fill("WAL archiving fails")
    expect(visit.page.locator(".md-search-result__link").first).to_be_visible()
    expect(visit.page.locator(".md-search-result__list")).to_contain_text("WalArchivingFails")
    assert visit.troubles == []
