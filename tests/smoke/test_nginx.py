"""The edge: TLS, redirects, headers, errors, limits, and who may see the operator's pages."""

from __future__ import annotations

import re
import socket
import ssl
import warnings
from contextlib import ExitStack
from pathlib import Path

import pytest

from ops.keycloak.probe.browser import OPENID
from tests.smoke.accounts import REALM, Account
from tests.smoke.live import Client, Live
from tests.smoke.websocket import WebSocket

LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"  # noqa: S104  (published so on purpose)


def shake_hands(live: Live, port: str, version: ssl.TLSVersion, ciphers: str = "") -> tuple[str, str]:
    """(protocol, cipher) that are agreed upon with a client that can do this one version only."""
    context = ssl.create_default_context(cafile=str(live.ca))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with warnings.catch_warnings():
        # What is old is asked for on purpose.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    if ciphers:
        context.set_ciphers(ciphers)
    name = live.domain if port == "https" else "localhost"
    with (
        socket.create_connection((LOOPBACK, live.ports[port]), 5) as raw,
        context.wrap_socket(raw, server_hostname=name) as secured,
    ):
        assert secured.selected_alpn_protocol() == "h2"
        cipher = secured.cipher()
        assert cipher
        return str(secured.version()), cipher[0]


@pytest.mark.parametrize("port", ["https", "ops"])
def test_current_protocols_are_spoken(live: Live, port: str) -> None:
    assert shake_hands(live, port, ssl.TLSVersion.TLSv1_3)[0] == "TLSv1.3"
    protocol, cipher = shake_hands(live, port, ssl.TLSVersion.TLSv1_2)
    assert protocol == "TLSv1.2"
    assert cipher.startswith("ECDHE-") and ("GCM" in cipher or "POLY1305" in cipher)


@pytest.mark.parametrize("port", ["https", "ops"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], ids=["1.0", "1.1"])
def test_old_protocols_are_refused(live: Live, port: str, version: ssl.TLSVersion) -> None:
    with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
        shake_hands(live, port, version, "ALL:@SECLEVEL=0")


@pytest.mark.parametrize("ciphers", ["AES256-GCM-SHA384:@SECLEVEL=0", "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"])
def test_ciphers_without_forward_secrecy_or_authentication_are_refused(live: Live, ciphers: str) -> None:
    with pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        shake_hands(live, "https", ssl.TLSVersion.TLSv1_2, ciphers)


def test_certificate_is_not_trusted_by_everybody(live: Live, tmp_path: Path) -> None:
    """The requests of all other tests prove something only because this one fails to connect."""
    with pytest.raises(ssl.SSLCertVerificationError), socket.create_connection((LOOPBACK, live.ports["https"]), 5) as raw:
        ssl.create_default_context(capath=str(tmp_path)).wrap_socket(raw, server_hostname=live.domain)
    with pytest.raises(ssl.SSLCertVerificationError), socket.create_connection((LOOPBACK, live.ports["https"]), 5) as raw:
        ssl.create_default_context(cafile=str(live.ca)).wrap_socket(raw, server_hostname="another.example")


def test_plain_http_leads_to_https(live: Live) -> None:
    answer = live.plain("POST", "/some/path?with=query", headers={"Host": "attacker.example"}, data="x")

    assert (answer.status_code, answer.headers["Location"]) == (308, f"{live.site.base}/some/path?with=query")


def test_issuer_that_looks_for_an_answer_is_not_led_away_and_finds_nothing_else(live: Live) -> None:
    for name in ("none", "tls.pem", "..%2f..%2f..%2f..%2fetc%2ftls%2ftls.pem"):
        answer = live.plain.get(f"/.well-known/acme-challenge/{name}", headers={"Host": "any.example"})
        assert "PRIVATE" not in answer.text
        assert answer.status_code in ((404,) if name == "none" else (308, 400, 404)), name


def test_ca_can_be_fetched(live: Live) -> None:
    for client in (live.plain, live.site, live.ops):
        answer = client.get("/ca.pem")
        assert answer.headers["Content-Type"] == "application/x-x509-ca-cert"
        assert answer.text == live.ca.read_text()


@pytest.mark.parametrize(
    "path", ["/", "/config.json", "/api/v1/health/ready", "/api/v1/items", "/auth/nothing", "/assets/none.js"]
)
def test_every_answer_carries_what_protects_browsers(live: Live, path: str) -> None:
    headers = live.site.get(path).headers

    assert re.fullmatch(r"max-age=\d{3,}", headers["Strict-Transport-Security"])
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Server"] == "nginx"
    assert "X-Powered-By" not in headers


def test_request_id_is_the_edges_own(live: Live) -> None:
    forged = "f" * 32
    seen = {live.site.get("/api/v1/health/live", headers={"X-Request-ID": forged}).headers["X-Request-ID"] for _ in range(3)}

    assert len(seen) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in seen - {forged})
    assert forged not in seen


def test_error_page_tells_what_to_do(live: Live) -> None:
    page = live.site.get("/auth/nothing")

    assert (page.status_code, page.headers["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert page.headers["X-Request-ID"] in page.text
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


def test_error_under_the_api_is_a_problem_document(live: Live, editor: Account) -> None:
    answer = editor("POST", "/items", data=b"x" * (9 << 20))

    assert (answer.status_code, answer.headers["Content-Type"]) == (413, "application/problem+json")
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.parametrize("port", ["https", "ops"])
def test_nobody_asks_for_keycloak_where_requests_wait(live: Live, port: str) -> None:
    client = live.site if port == "https" else live.ops

    assert client.get("/_edge/keycloak-ready").status_code == 404


def test_keycloak_words_its_own_errors(live: Live) -> None:
    """Its 502, 503 and 504 are looked at on the way, and may make a request wait. Everything else passes unchanged."""
    missing, refused = live.site.get(f"{REALM}/nothing"), live.site("POST", f"{OPENID}/token", data={"grant_type": "none"})

    assert (missing.status_code, refused.status_code) == (404, 400)
    assert "error" in missing.json() and "error" in refused.json()
    # What nginx refuses on the way to Keycloak has nginx' page.
    page = live.site.get(f"{REALM}/%2e%2e/master/")
    assert page.status_code == 404 and page.headers["X-Request-ID"] in page.text


def test_load_is_shared_by_all_replicas(live: Live, viewer: Account) -> None:
    """Which replica answers shows in the request counters of each."""
    line = re.compile(r'^http_requests_total\{method="GET",route="/api/v1/me",status="200"\} (\S+)$', re.MULTILINE)

    def counts() -> list[float]:
        pages = [live.inside(slot, 8000, "/metrics").text for slot in live.slots("backend")]
        return [float(found[1]) if (found := line.search(page)) else 0.0 for page in pages]

    before = counts()
    for _ in range(2 * len(before)):
        assert viewer("GET", "/me").status_code == 200
    assert all(after > earlier for earlier, after in zip(before, counts(), strict=True))


OFFICE = 250
"""WebSockets of one address; other requests are bounded at 200 at once."""


def from_a_client(live: Live) -> socket.socket:
    """A connection to the public listener from an address that has limits; this host's own has none."""
    address = live.container("edge")["NetworkSettings"]["Networks"][f"{live.project.name}-frontend"]["IPAddress"]
    with live.network(live.slots("frontend")[0]):
        return socket.create_connection((address, 8443), 10)


def test_open_sockets_of_an_office_leave_room_for_its_requests(live: Live, viewer: Account) -> None:
    context = ssl.create_default_context(cafile=str(live.ca))
    with ExitStack() as opened:
        for _ in range(OFFICE):
            one = opened.enter_context(WebSocket(live, "/api/v1/ws", over=from_a_client(live)))
            one.send({"type": "auth", "token": viewer.token})
        with context.wrap_socket(from_a_client(live), server_hostname=live.domain) as secured:
            secured.sendall(f"GET /api/v1/health/live HTTP/1.1\r\nHost: {live.domain}\r\nConnection: close\r\n\r\n".encode())
            assert secured.recv(100).startswith(b"HTTP/1.1 200 ")


# ---- The operator's pages


def test_operators_pages_are_published_on_loopback_only(live: Live) -> None:
    published = {
        (port, binding["HostIp"], int(binding["HostPort"]))
        for port, bindings in live.container("edge")["HostConfig"]["PortBindings"].items()
        for binding in bindings or ()
    }
    http, https, ops = (live.ports[name] for name in ("http", "https", "ops"))
    more = {("8444/tcp", EVERYWHERE, live.ports["proxy_protocol"])} if "proxy_protocol" in live.ports else set()

    assert {(port, where or EVERYWHERE, number) for port, where, number in published} == {
        ("8080/tcp", EVERYWHERE, http), ("8443/tcp", EVERYWHERE, https), ("9443/tcp", LOOPBACK, ops), *more,
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/", "/prometheus/-/ready", "/alertmanager/-/ready", "/logs/", "/auth/admin/master/console/"])
def test_operators_pages_answer(live: Live, path: str) -> None:
    assert live.ops.get(path).status_code == 200


def test_another_container_gets_no_operators_page(live: Live) -> None:
    address = live.container("edge")["NetworkSettings"]["Networks"][f"{live.project.name}-frontend"]["IPAddress"]
    context = ssl.create_default_context(cafile=str(live.ca))
    with live.network(live.slots("frontend")[0]):
        raw = socket.create_connection((address, 9443), 5)
    with context.wrap_socket(raw, server_hostname="localhost") as secured:
        secured.sendall(b"GET /prometheus/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert secured.recv(100).startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("path", ["/prometheus/", "/alertmanager/", "/logs/", "/logs/select/logsql/query"])
def test_the_public_sees_no_monitoring(live: Live, path: str) -> None:
    # Whatever the public site does not know is a view of the application.
    assert live.site.get(path).text == live.site.get("/").text


def test_page_of_another_origin_cannot_write(live: Live) -> None:
    answer = live.ops("POST", "/alertmanager/api/v2/alerts", json=[], headers={"Sec-Fetch-Site": "cross-site"})

    assert answer.status_code == 403


READABLE = [
    "/prometheus/api/v1/query?query=up", "/alertmanager/api/v2/alerts", "/logs/select/logsql/query?query=*&limit=1",
    "/auth/realms/master",
]  # fmt: skip
FOREIGN = "https://attacker.example"


@pytest.mark.parametrize("path", READABLE)
@pytest.mark.parametrize(
    "said",
    [
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
        {},
    ],
    ids=["script", "script of a neighbouring port", "script tag", "frame", "browser without Fetch Metadata"],
)
def test_page_of_another_origin_cannot_read(live: Live, path: str, said: dict[str, str]) -> None:
    answer = live.ops.get(path, headers={"Origin": FOREIGN, **said})

    assert answer.status_code == 403
    assert "The request" not in answer.text and "This is not allowed" in answer.text, answer.text[:200]
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize("path", READABLE)
def test_no_service_allows_other_origins_for_the_operators_pages(live: Live, path: str) -> None:
    """What VictoriaLogs and Prometheus would send; to clients that say nothing, too."""
    for headers in ({}, {"Origin": live.ops.base}):
        answer = live.ops.get(path, headers=headers)
        assert answer.status_code == 200
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize("site", ["none", "same-origin", "same-site", "cross-site"])
def test_link_to_an_operators_page_can_be_followed(live: Live, site: str) -> None:
    said = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}

    assert live.ops.get("/prometheus/-/ready", headers=said).status_code == 200


def test_another_name_for_loopback_is_not_served(live: Live) -> None:
    assert live.ops.get("/", headers={"Host": "attacker.example"}).status_code == 421


def test_host_name_that_is_not_ours_leads_to_ours(live: Live) -> None:
    client = Client(live.site.base, live.ca)
    answer = client.get("/page", headers={"Host": "attacker.example"})

    assert (answer.status_code, answer.headers["Location"]) == (308, f"{live.site.base}/page")


@pytest.mark.parametrize("path", ["/logs/insert/jsonline", "/logs/internal/force_flush", "/logs/delete"])
def test_logs_are_for_reading_only(live: Live, path: str) -> None:
    assert live.ops("POST", path, data="{}").status_code in {403, 404, 405}


def test_is_measured(live: Live) -> None:
    live.measures("nginx_up")


def test_responses_are_counted_by_status_and_route(live: Live, viewer: Account) -> None:
    """Also those that no service sees: nginx itself refuses a body that is too large."""

    def counted(route: str, status: int) -> float:
        name = f'edge_responses_total{{service="backend",route="{route}",status="{status}"}} '
        lines = live.inside("nginx", 8081, "/metrics").text.splitlines()
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    before = [counted("api", status) for status in (200, 413, 404)]
    assert viewer("GET", "/me").status_code == 200
    assert viewer("POST", "/items", data=b"x" * 200_000).status_code == 413
    assert live.site.get("/api/v1/nothing").status_code == 404
    assert all(counted("api", status) > earlier for status, earlier in zip((200, 413, 404), before, strict=True))
    live.measures('count(edge_responses_total{service="backend",route="api",status="502"})')
    live.measures('edge_response_duration_seconds_bucket{service="backend",route="api",le="0.5"} > bool 0')
    live.measures('edge_upstream_responses_total{service="backend",upstream="backend-1",status="2xx"} > bool 0')
