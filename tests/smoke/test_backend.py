"""The API: what it does for whom, and how it refuses."""

from __future__ import annotations
from typing import Any

from tests.smoke.accounts import Account
from tests.smoke.conftest import MakeItem
from tests.smoke.live import Live


def test_ready_with_all_that_it_needs(live: Live) -> None:
    for slot in live.slots("backend"):
        report = live.inside(slot, 8000, "/api/v1/health/ready").json()
        assert report == {"status": "ok", "checks": {"postgres": "ok", "realm_keys": "ok", "redis": "ok"}}


def test_what_is_written_can_be_read_back(viewer: Account, make_item: MakeItem) -> None:
    item: dict[str, Any] = make_item(notes="日本語 ✓")
    assert viewer("GET", f"/items/{item['id']}").json() == item
