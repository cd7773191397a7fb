"""The web application is delivered so that browsers load it fast and never run a stale one."""

from __future__ import annotations

import re

import pytest

from tests.smoke.accounts import REALM
from tests.smoke.live import Live


def asset(live: Live) -> str:
    found = re.search(r'src="(/assets/[^"]+\.js)"', live.site.get("/").text)
    assert found, "the start page names no script"
    return found[1]


def test_start_page_is_never_reused_unasked(live: Live) -> None:
    page = live.site.get("/")

    assert (page.status_code, page.headers["Cache-Control"]) == (200, "no-cache")
    assert '<div id="root">' in page.text


def test_hashed_asset_is_kept_for_good(live: Live) -> None:
    script = live.site.get(asset(live))

    assert script.status_code == 200
    assert "javascript" in script.headers["Content-Type"]
    assert script.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_asset_is_sent_compressed(live: Live, encoding: str) -> None:
    path = asset(live)
    plain, packed = (
        live.site.get(path, headers={"Accept-Encoding": accepted}, stream=True) for accepted in ("identity", encoding)
    )

    assert packed.headers["Content-Encoding"] == encoding
    assert len(packed.raw.read(decode_content=False)) < len(plain.raw.read(decode_content=False)) / 2
    assert "Accept-Encoding" in packed.headers["Vary"]


def test_missing_asset_is_missing(live: Live) -> None:
    """Were it answered with the start page, a browser would keep that as a script for a year."""
    answer = live.site.get("/assets/index-00000000.js")

    assert answer.status_code == 404
    assert "immutable" not in answer.headers.get("Cache-Control", "")


def test_address_of_a_view_can_be_reloaded(live: Live) -> None:
    assert live.site.get("/some/view").text == live.site.get("/").text


def test_finds_its_login(live: Live) -> None:
    answer = live.site.get("/config.json")

    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.json()["issuer"] == f"{live.site.base}{REALM}"
    assert answer.json()["clientId"] == "cc03-frontend"


def test_page_may_load_nothing_from_elsewhere(live: Live) -> None:
    page = live.site.get("/")

    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert re.findall(r'(?:src|href)="(?:https?:)?//', page.text) == []
