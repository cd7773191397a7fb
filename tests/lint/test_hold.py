"""Where requests for Keycloak wait: bounded in time and number, and within what nginx can do."""

from __future__ import annotations

import re

from ops.core.machine import REPOSITORY

FOLDER = REPOSITORY / "config" / "nginx"
MOST_SECONDS = 25
MOST_REDIRECTIONS = 10
"""NGX_HTTP_MAX_URI_CHANGES: after that nginx answers 500."""
LOCATION = re.compile(r"^location (@\S+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)


def places() -> dict[str, str]:
    """Name -> contents of each named location."""
    return dict(LOCATION.findall((FOLDER / "hold.inc").read_text()))


def way() -> list[str]:
    """The places that a request passes through while Keycloak is never ready."""
    found, here = [], "@keycloak_away"
    while here not in found:
        found.append(here)
        onward = re.search(r"error_page 401 = (@\w+);", places()[here])
        here = onward[1] if onward else here
    return found


def test_a_request_waits_no_longer_than_promised() -> None:
    pauses = [int(pause) for name in way() for pause in re.findall(r"auth_delay (\d+)s;", places()[name])]

    assert len(pauses) == len(way()) - 1
    assert sum(pauses) == MOST_SECONDS


def test_the_way_ends_with_an_attempt() -> None:
    *waiting, last = way()

    assert all("include hold-wait.inc;" in places()[name] for name in waiting)
    assert places()[last].split() == ["include", "hold-send.inc;"]
    # Each place is reached by one redirection.
    assert len(way()) <= MOST_REDIRECTIONS


def test_every_error_on_the_way_leads_on() -> None:
    """nginx follows a second error_page only where recursive_error_pages was on at the first error."""
    assert "include hold-send.inc;" in (FOLDER / "hold-wait.inc").read_text()
    for name in ("keycloak.conf", "hold-send.inc"):
        assert "recursive_error_pages on;" in (FOLDER / name).read_text()


def test_no_more_wait_than_keycloak_takes() -> None:
    settings = (REPOSITORY / "config" / "keycloak" / "keycloak.conf").read_text()
    queue = re.search(r"^http-max-queued-requests=(\d+)$", settings, re.MULTILINE)
    limit = re.search(r"^ +limit_conn +at_keycloak (\d+);$", (FOLDER / "keycloak.conf").read_text(), re.MULTILINE)

    assert queue and limit and int(limit[1]) <= int(queue[1])


def test_idle_connections_end_before_keycloak_does() -> None:
    upstream = re.search(r"^upstream keycloak \{(.*?)^\}", (FOLDER / "upstreams.conf").read_text(), re.MULTILINE | re.DOTALL)
    settings = (REPOSITORY / "config" / "keycloak" / "keycloak.conf").read_text()

    assert upstream and "keepalive_timeout 500ms;" in upstream[1]
    assert re.search(r"^shutdown-delay=1s$", settings, re.MULTILINE)


def test_whoever_stops_keycloak_and_nginx_mean_the_same_flag() -> None:
    compose = (REPOSITORY / "compose" / "compose.yaml").read_text()
    assert "queue_requests: [hold, keycloak]" in compose
    assert "readonly flag=/run/hold-$1\n" in (REPOSITORY / "compose" / "nginx" / "hold").read_text()
    # Neither is a request sent, nor does Keycloak count as ready, while it stops.
    assert "if (-f /run/hold-keycloak$keycloak_begins) {" in (FOLDER / "keycloak.conf").read_text()
    assert "if (-f /run/hold-keycloak-new) {" in (FOLDER / "hold.inc").read_text()


def seconds(file: str, block: str = "") -> int:
    """The proxy_read_timeout of a file, behind some text of it."""
    found = re.search(r"^ +proxy_read_timeout +(\d+)s;$", (FOLDER / file).read_text().partition(block)[2], re.MULTILINE)
    assert found, file
    return int(found[1])


def test_whoever_asks_waits_for_the_pauses_and_the_answer() -> None:
    """The two listeners one behind the other: the first must not give up while the second still makes the request wait."""
    answer = re.search(r"^proxy_read_timeout +(\d+)s;$", (FOLDER / "proxy.conf").read_text(), re.MULTILINE)

    assert answer and seconds("public.conf", "location /auth {") >= MOST_SECONDS + int(answer[1])
    assert seconds("ops.conf", "location /auth/ {") >= MOST_SECONDS + seconds("keycloak.conf", "server {")


def test_limits_count_what_has_arrived() -> None:
    """A request is counted before its body is read, so the limits that all share are behind the listener that reads it."""
    shared = re.compile(r"limit_conn +(?:at_keycloak|clients_at_keycloak) ")

    assert [path.name for path in sorted(FOLDER.iterdir()) if shared.search(path.read_text())] == ["keycloak.conf"]
    assert "proxy_request_buffering" not in (FOLDER / "keycloak.inc").read_text()
