"""Every line of every service can be found, and one request can be followed through all of them."""

from __future__ import annotations

import requests

from tests.smoke.live import Live, eventually


def test_request_is_found_by_its_id_wherever_it_went(live: Live, traced: requests.Response) -> None:
    request_id = traced.headers["X-Request-ID"]

    def services() -> dict[str, dict[str, str]]:
        return {line["service"]: line for line in live.log_lines(f'_time:10m request_id:"{request_id}"')}

    eventually(lambda: ", ".join({"nginx", "backend"} - set(services())), 15)
    found = services()
    assert (found["nginx"]["path"], found["nginx"]["status"]) == ("/api/v1/items", "200")
    assert (found["backend"]["path"], found["backend"]["status"]) == ("/api/v1/items", "200")


def test_operator_finds_it_with_one_command(live: Live, traced: requests.Response) -> None:
    request_id = traced.headers["X-Request-ID"]
    said = ""

    def missing() -> str:
        nonlocal said
        said = live.inv("logs", "--request-id", request_id).stdout
        return "" if "nginx" in said and "backend" in said else f"inv logs --request-id {request_id} says: {said[:300]}"

    eventually(missing, 15)


def test_every_container_is_heard(live: Live) -> None:
    rows = live.log_lines("_time:14d | stats by (service) count() lines")
    heard = {row["service"] for row in rows if int(row["lines"])}
    # One that only holds the address of another has nothing to say.
    silent = {name for name, service in live.project.stack.services.items() if service.holds}
    running = {str(item["Config"]["Labels"]["cc03.service"]) for item in live.containers.values()} - silent

    assert running - heard == set()


def test_lines_say_how_grave_they_are(live: Live) -> None:
    rows = live.log_lines('_time:10m level:"" | stats by (service) count() lines')

    assert [row for row in rows if int(row["lines"])] == []


def test_search_words_and_codes_are_not_kept(live: Live, traced: requests.Response) -> None:
    """Query strings hold what people look for, and authorisation codes."""
    assert live.log_lines('_time:1h service:nginx path:~"[?]"', limit=1) == []


def test_nothing_is_dropped(live: Live) -> None:
    assert live.number("sum(increase(vl_rows_dropped_total[10m]))") == 0
