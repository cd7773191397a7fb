"""Nobody closes the site for others by connections and bodies that never arrive, nor passes a limit by another spelling."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops.engines.podman.observe import inspected_containers
from ops.keycloak.probe.browser import OPENID
from ops.project import Project
from ops.security_audit.probe.connections import addresses
from ops.security_audit.probe.gather import places_of
from tests.drill.conftest import Record, temporary_accounts
from tests.drill.walls.strangers import Stranger, half_open, held, statuses, waiting
from tests.smoke.accounts import Account, Login
from tests.smoke.live import Live

BODIES = 175
"""Of each of three addresses: together more than Keycloak queues (http-max-queued-requests)."""
CONNECTIONS = 8192
"""worker_processes times worker_connections (config/nginx/nginx.conf)."""
PROMISED = 2.0
"""Seconds for a login meanwhile."""
TOKEN = f"{OPENID}/token"
SPELLINGS = [
    TOKEN, f"{TOKEN}/", f"{OPENID}/%74oken", f"{OPENID}/%74oken/", f"{OPENID}/./token", f"{OPENID}/token/.", f"{TOKEN}?x=y",
    f"{TOKEN}/?x", f"{TOKEN};x=y", f"{TOKEN}/;x", f"{OPENID};x/token", f"{OPENID}//token", f"/{TOKEN}", f"{TOKEN}//",
    f"{OPENID}/TOKEN", f"{OPENID}/Token", f"{OPENID}/%54oken", f"{TOKEN}%2f", f"{TOKEN}%3b", f"{TOKEN}%20", f"{TOKEN}%00",
    f"{OPENID}/%2574oken", f"{OPENID}/x/../token", f"{OPENID}/x/%2e%2e/token", f"{OPENID}\\token", f"{TOKEN}#x",
    "/auth/realms/cc03/protocol/OPENID-CONNECT/token", "/auth/realms/CC03/protocol/openid-connect/token",
]  # fmt: skip


@pytest.fixture(scope="module")
def live(project: Project) -> Live:
    return Live(project)


@pytest.fixture(scope="module")
def strangers(project: Project) -> list[Stranger]:
    """Three, each with an address of its own."""
    places = places_of(project, inspected_containers(project.host))
    found = addresses(project.stack, places, "nginx")
    return [
        Stranger(places[slot].pid, found[network], project.settings.domain)
        for slot, network in (("frontend-1", "frontend"), ("backend-1", "app"), ("backend-2", "app"))
    ]  # fmt: skip


@pytest.fixture(scope="module")
def user(live: Live) -> Iterator[Account]:
    with temporary_accounts(live) as accounts:
        yield accounts.create("editor")


@contextmanager
def recorded(record: Record, what: str, user: Account) -> Iterator[None]:
    """A login at the end of the block, timed."""
    yield
    began = time.monotonic()
    Login(user.live).tokens(user.username, user.password)
    record(f"a login during {what}", time.monotonic() - began, PROMISED)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_bodies_that_never_arrive_close_keycloak_for_nobody(
    strangers: list[Stranger], user: Account, record: Record, method: str
) -> None:
    begun = [
        (stranger, stranger.head(method, TOKEN, "Content-Length: 9") + b"x") for stranger in strangers for _ in range(BODIES)
    ]
    with held(begun) as connections, recorded(record, f"{len(begun)} bodies that never arrive ({method})", user):
        assert waiting(connections) >= (3 if method == "POST" else BODIES), "they were not taken in, so this proves nothing"


@pytest.mark.parametrize("length", ["Transfer-Encoding: chunked", "Content-Length: 99999"])
def test_bodies_that_never_arrive_keep_nobody_from_sending_one(strangers: list[Stranger], user: Account, length: str) -> None:
    slow, other = strangers[:2]
    with held([(slow, slow.head("POST", "/api/v1/items", length)) for _ in range(100)]) as connections:
        # One address has a limit of its own.
        assert 1 <= waiting(connections) < 100
        body = b'{"name": "' + b"x" * 20_000 + b'"}'
        headers = (f"Authorization: Bearer {user.token}", "Content-Type: application/json", "Transfer-Encoding: chunked")
        chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        # Too long a name: it has reached the application.
        assert statuses(other, other.head("POST", "/api/v1/items", *headers) + chunks, 1) == {422: 1}


def test_connections_that_say_nothing_are_borne(
    live: Live, strangers: list[Stranger], user: Account, record: Record
) -> None:  # fmt: skip
    workers = workers_of_nginx(live)
    what = f"{CONNECTIONS} handshakes that are not continued"
    with half_open(strangers[0], CONNECTIONS) as connections, recorded(record, what, user):
        assert waiting(connections) > CONNECTIONS // 2
    # None was killed for want of memory.
    assert workers_of_nginx(live) == workers


def workers_of_nginx(live: Live) -> set[str]:
    """Process ids of the children of nginx' master."""
    master = live.pid("nginx")
    return set(Path(f"/proc/{master}/task/{master}/children").read_text().split())


# ---- Paths


def taken_for_the_token_endpoint(live: Live, path: str) -> bool:
    """Whether Keycloak itself, past nginx, answers as its token endpoint does."""
    asked = ("curl", "--silent", "--insecure", "--path-as-is", "--request-target", path, "--data", "grant_type=none")
    answer = live.exec("nginx", *asked, "https://keycloak:8443", ok=None)
    return "unsupported_grant_type" in answer.stdout


@pytest.mark.parametrize("path", SPELLINGS)
def test_every_spelling_of_the_token_endpoint_is_limited(live: Live, strangers: list[Stranger], path: str) -> None:
    body = b"grant_type=none"
    headers = ("Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}")
    found = statuses(strangers[0], strangers[0].head("POST", path, *headers) + body, 100, until=429)

    if taken_for_the_token_endpoint(live, path):
        assert found[429] or set(found) == {404}, found
    assert set(found) <= {400, 404, 405, 429}, found


def test_some_spellings_reach_the_token_endpoint(live: Live) -> None:
    """So that what is limited above means something."""
    assert all(taken_for_the_token_endpoint(live, path) for path in (TOKEN, f"{TOKEN}/", f"{TOKEN}/?x"))


def test_login_form_is_not_submitted_past_its_limit_by_another_method(live: Live, user: Account) -> None:
    """Only POST counts as a login."""
    login = Login(live)
    form = re.search(r'<form[^>]*id="kc-form-login"[^>]*action="([^"]+)"', login.authorize().text)
    assert form
    answer = login.client("GET", html.unescape(form[1]), data={"username": user.username, "password": user.password})

    assert answer.status_code != 302 or "code=" not in answer.headers["Location"]


@pytest.mark.parametrize("client", ["admin-cli", "account", "account-console", "security-admin-console"])
def test_no_client_that_everybody_knows_takes_a_password(live: Live, user: Account, client: str) -> None:
    grant = {"grant_type": "password", "client_id": client, "username": user.username, "password": user.password}
    answer = live.site("POST", TOKEN, data=grant)

    assert answer.status_code in (400, 401), answer.text
    assert answer.json()["error"] in ("invalid_client", "unauthorized_client"), answer.text


def test_login_pages_of_one_address_are_limited(strangers: list[Stranger]) -> None:
    """Keycloak keeps each in memory for half an hour."""
    asked = strangers[0].head("GET", f"{OPENID}/auth/?client_id=none")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: statuses(strangers[0], asked, 100, until=429), range(8)))

    assert all(one[429] == 1 for one in found), found
