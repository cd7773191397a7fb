"""Where requests for Keycloak wait: bounded in time and number, and within what nginx can do."""

from __future__ import annotations

import re

from ops.machine.host import REPOSITORY

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


def test_the_way_ends_with_an_attempt_and_then_the_error_page() -> None:
    *waiting, last = way()

    assert all("include hold-wait.inc;" in places()[name] for name in waiting)
    assert places()[last].split() == ["include", "hold-send.inc;"]
    # Each place is reached by one redirection, and the error page by another.
    assert len(way()) + 1 <= MOST_REDIRECTIONS


def test_every_error_on_the_way_finds_its_page() -> None:
    """nginx looks for a second error page only where recursive_error_pages was on at the first error."""
    assert "include hold-send.inc;" in (FOLDER / "hold-wait.inc").read_text()
    for name in ("keycloak.inc", "hold-send.inc"):
        assert "recursive_error_pages on;" in (FOLDER / name).read_text()


def test_no_more_wait_than_keycloak_takes() -> None:
    settings = (REPOSITORY / "config" / "keycloak" / "keycloak.conf").read_text()
    queue = re.search(r"^http-max-queued-requests=(\d+)$", settings, re.MULTILINE)
    limit = re.search(r"^limit_conn +at_keycloak (\d+);$", (FOLDER / "keycloak.inc").read_text(), re.MULTILINE)

    assert queue and limit and int(limit[1]) <= int(queue[1])


def test_idle_connections_end_before_keycloak_does() -> None:
    upstream = re.search(r"^upstream keycloak \{(.*?)^\}", (FOLDER / "upstreams.conf").read_text(), re.MULTILINE | re.DOTALL)
    settings = (REPOSITORY / "config" / "keycloak" / "keycloak.conf").read_text()

    assert upstream and "keepalive_timeout 500ms;" in upstream[1]
    assert re.search(r"^shutdown-delay=1s$", settings, re.MULTILINE)


def test_whoever_stops_keycloak_and_nginx_mean_the_same_flag() -> None:
    compose = (REPOSITORY / "compose" / "compose.yaml").read_text()
    assert "hold: [hold, keycloak]" in compose
    assert "readonly flag=/run/hold-$1\n" in (REPOSITORY / "compose" / "nginx" / "hold").read_text()
    # Neither is a request sent, nor does Keycloak count as ready, while it stops.
    assert "if (-f /run/hold-keycloak$keycloak_begins) {" in (FOLDER / "keycloak.inc").read_text()
    assert "if (-f /run/hold-keycloak-new) {" in (FOLDER / "hold.inc").read_text()
