"""The API: what it does for whom, how it refuses, and what it tells about itself."""

from __future__ import annotations

import base64
import json
import secrets

import pytest

from tests.smoke.accounts import Account
from tests.smoke.conftest import NEVER_THERE, Counted, MakeItem, counted_by_backends, item_input
from tests.smoke.live import Live, eventually
from tests.smoke.websocket import Closed, WebSocket

PROBLEM = "application/problem+json"


def test_ready_with_all_that_it_needs(live: Live) -> None:
    for slot in live.slots("backend"):
        report = live.inside(slot, 8000, "/api/v1/health/ready").json()
        assert report == {"status": "ok", "checks": {"postgres": "ok", "realm_keys": "ok", "redis": "ok"}}


def test_what_is_written_can_be_read_back(viewer: Account, editor: Account, make_item: MakeItem) -> None:
    item = make_item(notes="日本語 ✓")

    assert item["created_by"] == editor.username
    assert viewer("GET", f"/items/{item['id']}").json() == item
    found = viewer("GET", "/items", params={"q": item["sku"]}).json()
    assert (found["total"], found["items"]) == (1, [item])


def test_second_read_comes_from_the_cache(viewer: Account, make_item: MakeItem) -> None:
    path = f"/items/{make_item()['id']}"
    answers = [viewer("GET", path) for _ in range(2)]

    assert [answer.headers["X-Cache"] for answer in answers] == ["miss", "hit"]
    assert answers[0].json() == answers[1].json()
    assert viewer("GET", path, headers={"If-None-Match": answers[1].headers["ETag"]}).status_code == 304


def test_change_is_seen_at_once_although_it_was_cached(viewer: Account, editor: Account, make_item: MakeItem) -> None:
    item = make_item()
    path = f"/items/{item['id']}"
    tag = [viewer("GET", path) for _ in range(2)][1].headers["ETag"]
    changed = {name: item[name] for name in ("name", "sku", "location", "notes")} | {"quantity": 99}

    assert editor("PUT", path, json=changed, headers={"If-Match": tag}).status_code == 200
    assert viewer("GET", path).json()["quantity"] == 99


def test_change_of_an_item_that_changed_meanwhile_is_refused(editor: Account, make_item: MakeItem) -> None:
    item = make_item()
    path, fresh = f"/items/{item['id']}", item_input(sku=item["sku"], quantity=4)
    assert editor("PUT", path, json=fresh, headers={"If-Match": '"1"'}).status_code == 200

    late = editor("PUT", path, json=item_input(sku=item["sku"], quantity=5), headers={"If-Match": '"1"'})
    assert (late.status_code, late.headers["Content-Type"]) == (412, PROBLEM)
    assert late.json()["current"]["quantity"] == 4
    assert editor("PUT", path, json=fresh).status_code == 428


NOTES = {
    "100 B": "n" * 100, "1 KB": "n" * 1024, "4 KB": "n" * 4000, "Japanese, 1 KB": "棚卸し" * 114,
    "Japanese, 12 KB": "在庫品番" * 1000,
}  # fmt: skip
"""Notes of an item; an answer is compressed from 1 KB on."""


@pytest.mark.parametrize("coding", ["gzip", "identity"])
@pytest.mark.parametrize("notes", NOTES.values(), ids=NOTES)
def test_item_is_saved_with_the_tag_that_it_was_read_with(
    viewer: Account, editor: Account, make_item: MakeItem, notes: str, coding: str
) -> None:
    item = make_item(notes=notes)
    path, accepts = f"/items/{item['id']}", {"Accept-Encoding": coding}
    read = viewer("GET", path, headers=accepts)
    compressed = coding == "gzip" and len(notes.encode()) >= 1024
    assert read.headers.get("Content-Encoding") == ("gzip" if compressed else None)
    tag = read.headers["ETag"]

    unchanged = viewer("GET", path, headers={"If-None-Match": tag, **accepts})
    assert (unchanged.status_code, unchanged.headers["ETag"], unchanged.content) == (304, tag, b"")
    saved = editor("PUT", path, json=item_input(sku=item["sku"], notes=notes), headers={"If-Match": tag, **accepts})
    assert (saved.status_code, saved.json()["version"]) == (200, 2)
    again = editor("PUT", path, json=item_input(sku=item["sku"]), headers={"If-Match": saved.headers["ETag"]})
    assert (again.status_code, again.json()["version"]) == (200, 3)
    assert viewer("GET", path, headers={"If-None-Match": tag, **accepts}).status_code == 200


def test_lists_of_tags_and_any_tag_are_understood(editor: Account, admin: Account, make_item: MakeItem) -> None:
    item = make_item()
    path, fresh = f"/items/{item['id']}", item_input(sku=item["sku"])
    for tags, status in (('"7", W/"8"', 412), ('"7", W/"1"', 200), ("*", 200), ('"foreign"', 412), ("3", 400)):
        assert editor("PUT", path, json=fresh, headers={"If-Match": tags}).status_code == status, tags
    assert editor("PUT", f"/items/{NEVER_THERE}", json=fresh, headers={"If-Match": "*"}).status_code == 404
    assert admin("DELETE", path, headers={"If-Match": '"1"'}).status_code == 412
    assert admin("DELETE", path, headers={"If-Match": 'W/"3"'}).status_code == 204


def test_sku_belongs_to_one_item(editor: Account, make_item: MakeItem) -> None:
    assert editor("POST", "/items", json=item_input(sku=make_item()["sku"])).status_code == 409


def test_repeated_creation_makes_one_item(live: Live, editor: Account, forget_items: str) -> None:
    key, item = forget_items, item_input(sku=forget_items)
    try:
        answers = [editor("POST", "/items", json=item, headers={"Idempotency-Key": key}) for _ in range(2)]
        other = editor("POST", "/items", json=item_input(sku=f"{key}-2"), headers={"Idempotency-Key": key})
    finally:
        # It would forget the key by itself, but only after a day. psql fills in variables of what it reads, not of -c.
        forget = "DELETE FROM idempotency_keys WHERE key = :'key'"
        live.exec("postgres", "bash", "-c", 'psql -d app -v key="$0" <<<"$1"', key, forget)

    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    assert other.status_code == 422


def test_list_comes_in_pages(viewer: Account, make_item: MakeItem) -> None:
    mark = secrets.token_hex(5)
    made = [make_item(name=f"{mark} {number}")["id"] for number in range(5)]

    def page(**query: object) -> list[str]:
        answer = viewer("GET", "/items", params={"q": mark, "sort": "name", "limit": 2, **query}).json()
        assert answer["total"] == 5
        return [item["id"] for item in answer["items"]]

    assert [page(offset=offset) for offset in (0, 2, 4)] == [made[:2], made[2:4], made[4:]]
    assert page(sort="-name") == made[:2:-1]


def test_total_is_counted_once_for_many_and_follows_changes(live: Live, viewer: Account, make_item: MakeItem) -> None:
    """In the database; every page shows it."""
    mark = secrets.token_hex(5)
    for number in range(3):
        make_item(name=f"{mark} {number}")

    def total() -> int:
        answer: int = viewer("GET", "/items", params={"q": mark, "limit": 2}).json()["total"]
        return answer

    def came(outcome: str) -> float:
        return counted_by_backends(live, f'item_totals_total{{outcome="{outcome}"}}')

    counted, kept = came("counted"), came("kept")
    assert {total() for _ in range(20)} == {3}
    counted, kept = came("counted") - counted, came("kept") - kept
    assert counted + kept == 20 and kept > counted > 0

    make_item(name=f"{mark} 4")
    # Of as many requests as meet each replica: another one hears of the change through Redis.
    eventually(lambda: "" if {total() for _ in range(4)} == {4} else "the new item is not counted", 4)


IN_ORDER = ["apfel", "Äpfel", "Bolt M8", "Bolt M10", "Öse", "Zange", "アンカー", "ねじ", "ボルト", "漢字"]


def test_names_are_in_the_order_that_people_expect(viewer: Account, make_item: MakeItem) -> None:
    """Neither capitals before small letters nor umlauts and kana by their code points, and numbers by their value."""
    mark = secrets.token_hex(5)
    for name in sorted(IN_ORDER):
        make_item(name=f"{name} {mark}")

    def names(sort: str) -> list[str]:
        page = viewer("GET", "/items", params={"q": mark, "sort": sort}).json()
        return [item["name"].removesuffix(f" {mark}") for item in page["items"]]

    assert (names("name"), names("-name")) == (IN_ORDER, IN_ORDER[::-1])


def test_history_keeps_who_changed_what(editor: Account, admin: Account, viewer: Account, make_item: MakeItem) -> None:
    item = make_item(quantity=1)
    path = f"/items/{item['id']}"
    changed = item_input(sku=item["sku"], quantity=2)
    assert editor("PUT", path, json=changed, headers={"If-Match": '"1"'}).status_code == 200
    assert editor("PUT", path, json=changed, headers={"If-Match": '"1"'}).status_code == 412
    assert admin("DELETE", path).status_code == 204

    changes = viewer("GET", f"{path}/history").json()["changes"]
    assert [(one["action"], one["version"], one["quantity"], one["subject"], one["username"]) for one in changes] == [
        ("deleted", 2, 2, admin.identity, admin.username),
        ("updated", 2, 2, editor.identity, editor.username),
        ("created", 1, 1, editor.identity, editor.username),
    ]
    assert viewer("GET", f"/items/{NEVER_THERE}/history").status_code == 404


def test_history_cannot_be_altered_with_the_backends_own_password(live: Live) -> None:
    refused = live.exec("postgres", "psql", "-d", "app", "-c", "SET ROLE app", "-c", "DELETE FROM item_history", ok=None)
    assert refused.returncode != 0 and "permission denied for table item_history" in refused.stderr


def test_search_takes_wildcards_literally(viewer: Account, make_item: MakeItem) -> None:
    mark = secrets.token_hex(5)
    made = make_item(name=f"100 % {mark}")

    assert [item["id"] for item in viewer("GET", "/items", params={"q": f"100 % {mark}"}).json()["items"]] == [made["id"]]
    assert viewer("GET", "/items", params={"q": f"1__ % {mark}"}).json()["total"] == 0


@pytest.mark.parametrize(
    ("changed", "field"),
    [({"quantity": -1}, "quantity"), ({"name": ""}, "name"), ({"sku": "a b"}, "sku"), ({"colour": "red"}, "colour")],
)
def test_invalid_item_is_refused_by_field(editor: Account, changed: dict[str, object], field: str) -> None:
    answer = editor("POST", "/items", json=item_input(**changed))

    assert (answer.status_code, answer.headers["Content-Type"]) == (422, PROBLEM)
    assert [error["field"] for error in answer.json()["errors"]] == [f"body.{field}"]


def test_problem_names_the_request(viewer: Account) -> None:
    answer = viewer("GET", f"/items/{NEVER_THERE}")

    assert (answer.status_code, answer.headers["Content-Type"]) == (404, PROBLEM)
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


def test_who_is_asking(viewer: Account, admin: Account) -> None:
    assert [account("GET", "/me").json()["username"] for account in (viewer, admin)] == [viewer.username, admin.username]
    assert [account("GET", "/me").json()["roles"] for account in (viewer, admin)] == [["viewer"], ["viewer", "editor", "admin"]]


def test_role_that_is_too_low_is_refused(viewer: Account, editor: Account, make_item: MakeItem) -> None:
    item = make_item()
    refused = [
        viewer("POST", "/items", json=item_input()),
        viewer("PUT", f"/items/{item['id']}", json=item_input(), headers={"If-Match": '"1"'}),
        viewer("DELETE", f"/items/{item['id']}"),
        editor("DELETE", f"/items/{item['id']}"),
    ]

    assert [answer.status_code for answer in refused] == [403] * 4
    assert [answer.json()["required_role"] for answer in refused] == ["editor", "editor", "admin", "admin"]
    assert viewer("GET", f"/items/{item['id']}").json() == item


def tampered(token: str, **claims: object) -> str:
    """The same token with other claims and the old signature."""
    head, body, signature = token.split(".")
    content = json.loads(base64.urlsafe_b64decode(body + "=="))
    altered = base64.urlsafe_b64encode(json.dumps({**content, **claims}).encode()).rstrip(b"=").decode()
    return ".".join((head, altered, signature))


def unsigned(token: str) -> str:
    """The same claims under `alg: none`."""
    head = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    return f"{head}.{token.split('.')[1]}."


def test_forged_token_is_refused(live: Live, viewer: Account) -> None:
    token = viewer.token
    forged = [tampered(token, realm_access={"roles": ["admin"]}), unsigned(token), token[:-20] + "A" * 20, "nonsense", ""]

    for one in forged:
        answer = live.site.get("/api/v1/me", headers={"Authorization": f"Bearer {one}"})
        assert (answer.status_code, answer.headers["Content-Type"]) == (401, PROBLEM), one
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="cc03"')
    assert live.site.get("/api/v1/items").status_code == 401


def test_token_of_another_realm_is_refused(live: Live) -> None:
    grant = {"grant_type": "client_credentials", "client_id": "cc03-ops", "client_secret": live.secret("keycloak-ops")}
    foreign = live.ops("POST", "/auth/realms/master/protocol/openid-connect/token", data=grant).json()["access_token"]

    assert live.site.get("/api/v1/items", headers={"Authorization": f"Bearer {foreign}"}).status_code == 401


def test_change_is_told_to_every_open_page(live: Live, viewer: Account, make_item: MakeItem) -> None:
    with WebSocket(live, "/api/v1/ws") as socket:
        socket.send({"type": "auth", "token": viewer.token})
        assert socket.receive() == {"type": "ready", "degraded": False}
        item = make_item()
        told = {"type": "item", "action": "created", "id": item["id"], "version": 1}
        # Other users may work at the same time.
        assert any(socket.receive() == told for _ in range(100))


@pytest.mark.parametrize("token", ["nonsense", "\ud800", "ä.b.c", None, ["x"]])
def test_socket_without_a_token_is_closed(live: Live, token: object) -> None:
    with WebSocket(live, "/api/v1/ws") as socket:
        socket.send({"type": "auth", "token": token})
        with pytest.raises(Closed, match="4401"):
            socket.receive()


def test_describes_itself(live: Live) -> None:
    document = live.site.json("/api/v1/openapi.json")

    assert document["openapi"].startswith("3.")
    assert set(document["paths"]["/api/v1/items/{item_id}"]) == {"get", "put", "delete"}
    refused = document["paths"]["/api/v1/items/{item_id}"]["put"]["responses"]["412"]
    assert list(refused["content"]) == [PROBLEM]


def test_counts_its_requests(counted: Counted) -> None:
    assert counted.after - counted.before >= counted.requests


def test_metrics_stay_inside(live: Live) -> None:
    assert "http_requests_total" not in live.site.get("/metrics").text
    assert live.site.get("/api/metrics").status_code == 404


def test_how_fast_pages_are_in_browsers_is_measured(live: Live, viewer: Account) -> None:
    assert viewer("POST", "/web-vitals", json={"lcp": 1.5, "cls": 0.02}).status_code == 204
    assert viewer("POST", "/web-vitals", json={"lcp": -1}).status_code == 422
    assert live.site("POST", "/api/v1/web-vitals", json={"lcp": 1.5}).status_code == 401
    live.measures('sum(browser_web_vitals_seconds_count{metric="lcp"}) > bool 0')
