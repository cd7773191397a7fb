"""Section 6: the responses of the site to browsers, to attackers and to excessive requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ops.security_audit.controls.control import Control, Finding
from ops.security_audit.facts import Answer, BurstResult, Facts

SITE, OPS, PLAIN = "site", "ops", "plain"
FOREIGN = "attacker.example"


@dataclass(frozen=True)
class Request:
    """A request to a published listener. `neighbour`: from inside another container instead of from the host."""

    listener: str
    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    neighbour: bool = False
    body: str = ""


@dataclass(frozen=True)
class Burst:
    """The same request, as often as possible within a few seconds, from another container.

    `at_once`, `rate`: requests that the limit allows at once, and per second (config/nginx/limits.conf, public.conf).
    """

    path: str
    at_once: int
    rate: int
    method: str = "GET"

    def proves(self, result: BurstResult) -> bool:
        """Whether it exceeded the limit, by at least a quarter: only then is a missing refusal a finding."""
        return result.refused or result.through > 1.25 * (self.at_once + self.rate * result.seconds)


PAGES = ("/", "/config.json", "/api/v1/health/ready", "/api/v1/items", "/auth/nothing", "/assets/none.js")
HIDDEN = (
    "/auth/", "/auth/admin/", "/auth/admin/master/console/", "/auth/realms/master", "/auth/realms/master/account",
    "/auth/metrics", "/auth/health", "/auth/health/ready", "/auth/realms/cc03/clients-registrations/default",
    "/auth/realms/cc03/%2e%2e/master", "/auth/realms/cc03/..%2fmaster", "/auth/realms/cc03/;/../master",
    "/auth/realms/cc03//../master", "/_edge/keycloak-ready", "/auth/resources/%2e%2e/admin/",
)  # fmt: skip
MONITORING = (
    "/prometheus/", "/alertmanager/", "/logs/", "/logs/select/logsql/query", "/metrics", "/stub_status", "/nginx_status"
)  # fmt: skip
READABLE = ("/prometheus/api/v1/status/buildinfo", "/alertmanager/api/v2/status", "/logs/select/logsql/query?query=*&limit=1")
"""Metrics, alerts and logs, as scripts read them."""
PUBLIC_PAGES = (
    "/ops/", "/ops/docs/", "/ops/prometheus/api/v1/query?query=up", "/ops/alertmanager/api/v2/alerts",
    "/ops/logs/select/logsql/query?query=*&limit=1",
)  # fmt: skip
"""The operator's pages under the public name, and what they ask: for operators who are logged in."""
PUBLIC_WRITES = (
    "/ops/prometheus/-/reload", "/ops/prometheus/api/v1/admin/tsdb/snapshot", "/ops/alertmanager/api/v2/silences",
    "/ops/alertmanager/api/v2/alerts", "/ops/logs/insert/jsonline", "/ops/logs/delete/run_task",
)  # fmt: skip
LOGIN = "/auth/realms/cc03/protocol/openid-connect/auth?"
FOREIGN_PAGES: Mapping[str, Mapping[str, str]] = {
    "script": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
    "script of a neighbouring port": {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
    "image": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    "frame": {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    "script of an old browser": {},
}
"""Headers of a browser's request that a page of another origin causes."""
GARBLED = ("/api/v1/items?limit=nothing", "/api/v1/items/not-an-id", "/api/v1/items/%00", "/api/v1/none", "/%ff%fe")
OPENID = "/auth/realms/cc03/protocol/openid-connect/auth?client_id=cc03-frontend&response_type=code"

REQUESTS: dict[str, Request] = {
    **{f"page {path}": Request(SITE, path) for path in PAGES},
    **{f"hidden {path}": Request(SITE, path) for path in HIDDEN},
    **{f"monitoring {path}": Request(SITE, path) for path in MONITORING},
    **{f"garbled {path}": Request(SITE, path) for path in GARBLED},
    **{f"operator {path}": Request(SITE, path) for path in PUBLIC_PAGES},
    **{f"operator with a forged cookie {path}": Request(SITE, path, headers={"Cookie": "__Secure-cc03-ops=forged"})
       for path in PUBLIC_PAGES},
    **{f"operator writes {path}": Request(SITE, path, "POST", body="[]") for path in PUBLIC_WRITES},
    "plain": Request(PLAIN, "/some/path", headers={"Host": FOREIGN}),
    "another name": Request(SITE, "/page", headers={"Host": FOREIGN}),
    "ops by another name": Request(OPS, "/", headers={"Host": FOREIGN}),
    "ops by another page": Request(OPS, "/alertmanager/api/v2/alerts", "POST", {"Sec-Fetch-Site": "cross-site"}, body="[]"),
    **{f"foreign {page} {path}": Request(OPS, path, headers={"Origin": f"https://{FOREIGN}", **said})
       for page, said in FOREIGN_PAGES.items() for path in READABLE},
    **{f"readable {path}": Request(OPS, path) for path in READABLE},
    "ops by a neighbour": Request(OPS, "/prometheus/", neighbour=True),
    "ops claimed to be local": Request(OPS, "/prometheus/", headers={"X-Forwarded-For": "127.0.0.1"}, neighbour=True),
    "probe by a neighbour": Request(SITE, "/api/v1/probe", headers={"X-Forwarded-For": "127.0.0.1"}, neighbour=True),
    "trace": Request(SITE, "/", "TRACE"),
    "another origin": Request(SITE, "/api/v1/items", headers={"Origin": f"https://{FOREIGN}"}),
    "preflight": Request(SITE, "/api/v1/items", "OPTIONS", {
        "Origin": f"https://{FOREIGN}", "Access-Control-Request-Method": "DELETE"
    }),
    "login page": Request(SITE, OPENID + "&redirect_uri={site}/&code_challenge_method=S256&code_challenge=" + "a" * 43),
    "login for another site": Request(SITE, OPENID + f"&redirect_uri=https://{FOREIGN}/"),
    "unsigned token": Request(SITE, "/api/v1/items", headers={
        # {"alg":"none"} . {"sub":"x"} .
        "Authorization": "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."
    }),
}  # fmt: skip

BURSTS = {
    "API": Burst("/api/v1/health/live", at_once=200, rate=100),
    # With a trailing slash, which Keycloak accepts: a limit for the exact path would not match.
    "token": Burst("/auth/realms/cc03/protocol/openid-connect/token/", at_once=40, rate=20, method="POST"),
    # Not a form of Keycloak: so many failed logins would fire an alert, and add an event each.
    "login": Burst("/auth/realms/cc03/login-actions/none", at_once=20, rate=5, method="POST"),
}


TRACE = re.compile(r"Traceback \(most recent|File \"/|\bat (?:org|java|io)\.[\w.]+\(|asyncpg\.|sqlalchemy\.|SELECT .* FROM ")
OPERATORS_PAGES = {
    "ops by another name": 421, "ops by another page": 403, "ops by a neighbour": 403, "ops claimed to be local": 403,
    "probe by a neighbour": 404,
}  # fmt: skip
"""Request -> status of its response."""
READ_BY_SCRIPTS = ("KC_AUTH_SESSION_HASH",)
"""Cookies that Keycloak's own page reads, to notice a login in another tab; they authenticate nobody."""


def answers(facts: Facts, *kinds: str) -> Iterator[tuple[str, Answer]]:
    """The responses to all requests whose name begins with one of these words, by the rest of the name."""
    for kind in kinds:
        for name, answer in facts.answers.items():
            if name == kind or name.startswith(f"{kind} "):
                yield name.removeprefix(kind).strip() or kind, answer


def leaks_trace(body: str) -> bool:
    """Whether a body contains a part of a stack trace or of a query."""
    return bool(TRACE.search(body))


def _transport_security(facts: Facts) -> Iterator[Finding]:
    least = 1 if facts.site.startswith("https://localhost") else 31536000
    for path, answer in answers(facts, "page"):
        age = re.match(r"max-age=(\d+)", answer.headers.get("strict-transport-security", ""))
        if not age or int(age[1]) < least:
            yield Finding("nginx", path, f"{path}: no Strict-Transport-Security of {least} s")


def _content_policy(facts: Facts) -> Iterator[Finding]:
    for _, answer in answers(facts, "page /"):
        policy = answer.headers.get("content-security-policy", "")
        for part in ("default-src", "frame-ancestors 'none'", "object-src 'none'"):
            if part not in policy:
                yield Finding("nginx", f"/ {part}", f"/: Content-Security-Policy lacks {part}")
        for part in ("unsafe-inline", "unsafe-eval", " *"):
            if part in policy:
                yield Finding("nginx", f"/ {part}", f"/: Content-Security-Policy allows {part.strip()}")


def _host_names(facts: Facts) -> Iterator[Finding]:
    for kind in ("plain", "another name"):
        for _, answer in answers(facts, kind):
            location = answer.headers.get("location", "")
            if answer.status != 308 or not location.startswith(f"{facts.site}/"):
                yield Finding("nginx", kind, f"is answered with {answer.status} {location}")


def _monitoring(facts: Facts) -> Iterator[Finding]:
    home = dict(answers(facts, "page")).get("/")
    for path, answer in answers(facts, "monitoring"):
        # An unknown path shows the application.
        if answer.status < 400 and (home is None or answer.body != home.body):
            yield Finding("nginx", path, f"{path} is answered with {answer.status}")


def _public_pages(facts: Facts) -> Iterator[Finding]:
    home = dict(answers(facts, "page")).get("/")
    for path, answer in answers(facts, "operator"):
        to_login = answer.status == 302 and LOGIN in answer.headers.get("location", "")
        # With pages.public off the path is one of the application.
        application = home is not None and answer.body == home.body
        if answer.status < 400 and not to_login and not application:
            yield Finding("nginx", path, f"{path} is answered with {answer.status} without a login")


def _expected(where: str, statuses: Mapping[str, int]) -> Callable[[Facts], Iterator[Finding]]:
    """Requests whose response has another status than expected."""
    return lambda facts: (
        Finding(where, kind, f"is answered with {answer.status}, not {status}")
        for kind, status in statuses.items() for _, answer in answers(facts, kind) if answer.status != status
    )  # fmt: skip


def _origins(facts: Facts) -> Iterator[Finding]:
    for kind in ("another origin", "preflight"):
        for _, answer in answers(facts, kind):
            allowed = answer.headers.get("access-control-allow-origin", "")
            if allowed == "*" or FOREIGN in allowed:
                yield Finding("backend", kind, f"Access-Control-Allow-Origin: {allowed}")


def _cookies(facts: Facts) -> Iterator[Finding]:
    for _, answer in answers(facts, "login page"):
        cookies = [one.strip() for one in answer.headers.get("set-cookie", "").split("\n") if one.strip()]
        if answer.status != 200 or not cookies:
            yield Finding("keycloak", "login page", f"is answered with {answer.status} and {len(cookies)} cookies")
        for cookie in cookies:
            name, flags = cookie.partition("=")[0], cookie.lower()
            if "secure" not in flags or ("httponly" not in flags and name not in READ_BY_SCRIPTS):
                yield Finding("keycloak", name, f"cookie {name} lacks Secure or HttpOnly")


def _operators_origins(facts: Facts) -> Iterator[Finding]:
    for kind, answer in answers(facts, "foreign"):
        if answer.status != 403:
            yield Finding("nginx", kind, f"a page of another origin: {kind} is answered with {answer.status}")
    for path, answer in answers(facts, "foreign", "readable"):
        if allowed := answer.headers.get("access-control-allow-origin"):
            yield Finding("nginx", f"{path} allows", f"{path}: Access-Control-Allow-Origin: {allowed}")


CONTROLS = (
    Control("6.1", "Responses have Strict-Transport-Security", _transport_security, part="answers",
            why="Otherwise an attacker on the way can answer the first request, by HTTP.",
            advice="correct config/nginx/headers-common.inc"),
    Control("6.2", "Responses have X-Content-Type-Options: nosniff", part="answers",
            why="A browser that guesses the type may execute an upload as a script.",
            advice="correct config/nginx/headers-common.inc",
            find=lambda facts: (
                Finding("nginx", path, f"{path}: no X-Content-Type-Options: nosniff")
                for path, answer in answers(facts, "page") if answer.headers.get("x-content-type-options") != "nosniff"
            )),
    Control("6.3", "The page executes its own code only, and cannot be framed", _content_policy, part="answers",
            why="An injected script acts with the rights of the user.",
            advice="correct config/nginx/headers-app.inc"),
    Control("6.4", "Responses contain no version numbers", part="answers",
            why="Scanners search for versions with known vulnerabilities.",
            advice="set server_tokens off, proxy_hide_header X-Powered-By",
            find=lambda facts: (Finding("nginx", f"{path} {name}", f"{path}: {name}: {answer.headers[name]}")
                                for path, answer in answers(facts, "page") for name in ("server", "x-powered-by", "via")
                                if re.search(r"\d", answer.headers.get(name, "")))),
    Control("6.5", "Other host names are redirected to the configured one", _host_names, part="answers",
            why="A forged Host header would appear in links and redirects.",
            advice="correct config/nginx/public.conf"),
    Control("6.6", "Keycloak's administration, other realms and internal pages are not public", part="answers",
            why="Attackers could try passwords of administrators.",
            advice="forward only the realm of this product in config/nginx/public.conf",
            find=lambda facts: (Finding("nginx", path, f"{path} is answered with {answer.status}")
                                for path, answer in answers(facts, "hidden") if not 400 <= answer.status < 500)),
    Control("6.7", "Monitoring is not public", _monitoring, part="answers",
            why="Metrics and logs show an attacker what works.",
            advice="correct config/nginx/public.conf"),
    Control("6.8", "The operator's pages are served to the host only", _expected("nginx", OPERATORS_PAGES), part="answers",
            why="They have no login: every client can read everything, and change much.",
            advice="correct config/nginx/ops.conf, limits.conf"),
    Control("6.9", "The API refuses requests without a valid token", part="answers",
            why="Otherwise its data are public.",
            advice="correct compose/backend/app/auth",
            find=_expected("backend", dict.fromkeys(("page /api/v1/items", "unsigned token", "another origin"), 401))),
    Control("6.10", "Pages of other sites cannot read the API", _origins, part="answers",
            why="They run in the browsers of users who are logged in here.",
            advice="allow no other origins (CORS) in compose/backend/app/main.py"),
    Control("6.11", "Error messages contain no internals", part="answers",
            why="A stack trace shows files, versions and queries.",
            advice="correct compose/backend/app/problems.py, config/nginx/errors.conf",
            find=lambda facts: (
                Finding("backend", path, f"{path} is answered with {answer.status}: {answer.body[:80]!r}")
                for path, answer in answers(facts, "garbled", "trace") if answer.status >= 500 or leaks_trace(answer.body)
            )),
    Control("6.12", "Login cookies are Secure and HttpOnly", _cookies, part="answers",
            why="A cookie that is sent by HTTP, or that scripts can read, is easily stolen.",
            advice="correct config/keycloak: the realm's sslRequired, hostname"),
    Control("6.13", "Logins redirect to this site only", part="answers",
            why="Otherwise a forged link sends the code of a login to its author.",
            advice="correct redirectUris in config/keycloak/realm.yaml",
            find=lambda facts: (
                Finding("keycloak", "redirect_uri", f"a foreign redirect_uri is answered with {answer.status}")
                for _, answer in answers(facts, "login for another site") if answer.status != 400
            )),
    Control("6.14", "Excessive requests of one address are refused", part="bursts",
            why="Otherwise one address can guess passwords, and use up what all need.",
            advice="correct config/nginx/limits.conf, public.conf",
            find=lambda facts: (Finding("nginx", kind, f"{one.through} requests within {one.seconds:.1f} s were answered")
                                for kind, one in facts.bursts.items() if not one.refused and BURSTS[kind].proves(one))),
    Control("6.15", "Pages of other sites cannot read the operator's pages", _operators_origins, part="answers",
            why="They have no login: any page in the operator's browser could read logs, metrics and alerts.",
            advice="correct config/nginx/ops.conf, headers-ops.inc"),
    Control("6.16", "The operator's pages under the public name need a login, and write nothing", _public_pages, part="answers",
            why="Everybody could read logs, metrics and alerts, or silence an alert.",
            advice="correct config/nginx/ops-public.inc, ops-operator.inc"),
)  # fmt: skip
