"""Section 6: what the site answers to browsers, to strangers and to those who ask too often."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ops.security_audit.controls.control import Found, control
from ops.security_audit.facts import Answer, BurstSeen, Facts

SITE, OPS, PLAIN = "site", "ops", "plain"
FOREIGN = "attacker.example"


@dataclass(frozen=True)
class Request:
    """A question to a published listener. `neighbour`: put from within another container instead of from the host."""

    listener: str
    path: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    neighbour: bool = False
    body: str = ""


@dataclass(frozen=True)
class Burst:
    """The same request, as often as can be within a few seconds, from another container.

    `at_once`, `rate`: how many the limit lets through at once, and each second besides (config/nginx/limits.conf, public.conf).
    """

    path: str
    at_once: int
    rate: int
    method: str = "GET"

    def proves(self, seen: BurstSeen) -> bool:
        """Whether more was asked than the limit lets through, by a quarter at least: only then is no refusal a finding."""
        return seen.refused or seen.through > 1.25 * (self.at_once + self.rate * seen.seconds)


PAGES = ("/", "/config.json", "/api/v1/health/ready", "/api/v1/items", "/auth/nothing", "/assets/none.js")
HIDDEN = (
    "/auth/", "/auth/admin/", "/auth/admin/master/console/", "/auth/realms/master", "/auth/realms/master/account",
    "/auth/metrics", "/auth/health", "/auth/health/ready", "/auth/realms/cc03/clients-registrations/default",
    "/auth/realms/cc03/%2e%2e/master", "/auth/realms/cc03/..%2fmaster", "/auth/realms/cc03/;/../master",
    "/auth/realms/cc03//../master", "/_edge/keycloak-ready", "/auth/resources/%2e%2e/admin/",
)  # fmt: skip
MONITORING = (
    "/prometheus/",
    "/alertmanager/",
    "/logs/",
    "/logs/select/logsql/query",
    "/metrics",
    "/stub_status",
    "/nginx_status",
)
READABLE = ("/prometheus/api/v1/status/buildinfo", "/alertmanager/api/v2/status", "/logs/select/logsql/query?query=*&limit=1")
"""Metrics, alerts and logs, as scripts read them."""
FOREIGN_PAGES: Mapping[str, Mapping[str, str]] = {
    "script": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
    "script of a neighbouring port": {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
    "image": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
    "frame": {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    "script of an old browser": {},
}
"""What a browser says of a request that a page of another origin makes."""
GARBLED = ("/api/v1/items?limit=nothing", "/api/v1/items/not-an-id", "/api/v1/items/%00", "/api/v1/none", "/%ff%fe")
OPENID = "/auth/realms/cc03/protocol/openid-connect/auth?client_id=cc03-frontend&response_type=code"

REQUESTS: dict[str, Request] = {
    **{f"page {path}": Request(SITE, path) for path in PAGES},
    **{f"hidden {path}": Request(SITE, path) for path in HIDDEN},
    **{f"monitoring {path}": Request(SITE, path) for path in MONITORING},
    **{f"garbled {path}": Request(SITE, path) for path in GARBLED},
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
    # With a slash at its end, which Keycloak does not mind: a limit for the exact path would not see it.
    "token": Burst("/auth/realms/cc03/protocol/openid-connect/token/", at_once=40, rate=20, method="POST"),
    # No form of Keycloak's: so many failed logins would be an alert, and an entry each in its events.
    "login": Burst("/auth/realms/cc03/login-actions/none", at_once=20, rate=5, method="POST"),
}


def answers(facts: Facts, kind: str) -> Iterator[tuple[str, Answer]]:
    """Answers to all requests whose name begins with a word, by the rest of it."""
    if isinstance(facts.answers, Mapping):
        for name, answer in facts.answers.items():
            if name == kind or name.startswith(f"{kind} "):
                yield name.removeprefix(kind).strip() or kind, answer


@control(
    "6.1",
    "Every answer tells browsers to come by HTTPS only",
    why="the first request by HTTP could be answered by anybody",
    cure="config/nginx/headers-common.inc",
    part="answers",
)
def transport_security(facts: Facts) -> Iterator[Found]:
    least = 1 if facts.site.startswith("https://localhost") else 31536000
    for path, answer in answers(facts, "page"):
        age = re.match(r"max-age=(\d+)", answer.headers.get("strict-transport-security", ""))
        if not age or int(age[1]) < least:
            yield Found("nginx", path, f"{path} is answered without Strict-Transport-Security of {least} s")


@control(
    "6.2",
    "No answer is taken for something else",
    why="a browser that guesses runs an upload as a program",
    cure="config/nginx/headers-common.inc",
    part="answers",
)
def content_type(facts: Facts) -> Iterator[Found]:
    for path, answer in answers(facts, "page"):
        if answer.headers.get("x-content-type-options") != "nosniff":
            yield Found("nginx", path, f"{path} is answered without X-Content-Type-Options: nosniff")


@control(
    "6.3",
    "The page runs its own code only, in no frame",
    why="an injected script acts as the user who looks at it",
    cure="config/nginx/headers-app.inc",
    part="answers",
)
def content_policy(facts: Facts) -> Iterator[Found]:
    for path, answer in answers(facts, "page"):
        policy = answer.headers.get("content-security-policy", "")
        if path != "/":
            continue
        for part in ("default-src", "frame-ancestors 'none'", "object-src 'none'"):
            if part not in policy:
                yield Found("nginx", f"{path} {part}", f"{path}: Content-Security-Policy lacks {part}")
        for part in ("unsafe-inline", "unsafe-eval", " *"):
            if part in policy:
                yield Found("nginx", f"{path} {part}", f"{path}: Content-Security-Policy allows {part.strip()}")


@control(
    "6.4",
    "Nobody learns which version runs",
    why="scanners look for versions with known weaknesses",
    cure="server_tokens off, proxy_hide_header X-Powered-By",
    part="answers",
)
def versions(facts: Facts) -> Iterator[Found]:
    for path, answer in answers(facts, "page"):
        for name in ("server", "x-powered-by", "via"):
            if re.search(r"\d", answer.headers.get(name, "")):
                yield Found("nginx", f"{path} {name}", f"{path}: {name}: {answer.headers[name]}")


@control(
    "6.5",
    "Every other name leads to the configured one",
    why="a forged Host would end up in links and redirects",
    cure="config/nginx/public.conf",
    part="answers",
)
def host_names(facts: Facts) -> Iterator[Found]:
    for kind in ("plain", "another name"):
        for _, answer in answers(facts, kind):
            if answer.status != 308 or not answer.headers.get("location", "").startswith(f"{facts.site}/"):
                yield Found("nginx", kind, f"answered {answer.status} {answer.headers.get('location', '')}")


@control(
    "6.6",
    "Keycloak's administration, other realms and inner pages are not public",
    why="its administrators would be guessed at by the whole world",
    cure="config/nginx/public.conf: only the realm of this product is passed on",
    part="answers",
)
def administration(facts: Facts) -> Iterator[Found]:
    for path, answer in answers(facts, "hidden"):
        if answer.status < 400 or answer.status >= 500:
            yield Found("nginx", path, f"{path} is answered {answer.status}")


@control(
    "6.7",
    "Monitoring is not public",
    why="metrics and logs tell an attacker what works",
    cure="config/nginx/public.conf",
    part="answers",
)
def monitoring(facts: Facts) -> Iterator[Found]:
    home = dict(answers(facts, "page")).get("/")
    for path, answer in answers(facts, "monitoring"):
        # Whatever the site does not know is a view of the application.
        if answer.status < 400 and (home is None or answer.body != home.body):
            yield Found("nginx", path, f"{path} is answered {answer.status}")


@control(
    "6.8",
    "The operator's pages serve the host alone",
    why="they have no login: who reaches them reads all and writes much",
    cure="config/nginx/ops.conf, limits.conf",
    part="answers",
)
def operators_pages(facts: Facts) -> Iterator[Found]:
    expected = {
        "ops by another name": 421, "ops by another page": 403, "ops by a neighbour": 403, "ops claimed to be local": 403,
        "probe by a neighbour": 404,
    }  # fmt: skip
    for kind, status in expected.items():
        for _, answer in answers(facts, kind):
            if answer.status != status:
                yield Found("nginx", kind, f"is answered {answer.status}, not {status}")


@control(
    "6.9",
    "The API answers nobody without a valid token",
    why="its data would be everybody's",
    cure="compose/backend/app/auth",
    part="answers",
)
def tokens(facts: Facts) -> Iterator[Found]:
    for kind in ("page /api/v1/items", "unsigned token", "another origin"):
        for _, answer in answers(facts, kind):
            if answer.status != 401:
                yield Found("backend", kind, f"is answered {answer.status}")


@control(
    "6.10",
    "Pages of other sites cannot read the API",
    why="they run in the browsers of users who are signed in here",
    cure="compose/backend/app/main.py: no CORS for others",
    part="answers",
)
def origins(facts: Facts) -> Iterator[Found]:
    for kind in ("another origin", "preflight"):
        for _, answer in answers(facts, kind):
            allowed = answer.headers.get("access-control-allow-origin", "")
            if allowed == "*" or FOREIGN in allowed:
                yield Found("backend", kind, f"Access-Control-Allow-Origin: {allowed}")


@control(
    "6.11",
    "Errors tell nothing of the inside",
    why="a trace names files, versions and queries",
    cure="compose/backend/app/problems.py, config/nginx/errors.conf",
    part="answers",
)
def errors(facts: Facts) -> Iterator[Found]:
    for path, answer in (*answers(facts, "garbled"), *answers(facts, "trace")):
        if answer.status >= 500 or leaks_trace(answer.body):
            yield Found("backend", path, f"{path} is answered {answer.status}: {answer.body[:80]!r}")


TRACE = re.compile(r"Traceback \(most recent|File \"/|\bat (?:org|java|io)\.[\w.]+\(|asyncpg\.|sqlalchemy\.|SELECT .* FROM ")


def leaks_trace(body: str) -> bool:
    """Whether a body holds a piece of a program's trace or of a query."""
    return bool(TRACE.search(body))


FOR_SCRIPTS = ("KC_AUTH_SESSION_HASH",)
"""Cookies that Keycloak's own page reads, to notice a login in another tab; worth nothing by themselves."""


@control(
    "6.12",
    "Cookies of a login are secure",
    why="a cookie that goes by HTTP, or that scripts read, is soon another's",
    cure="config/keycloak: the realm's sslRequired, hostname",
    part="answers",
)
def cookies(facts: Facts) -> Iterator[Found]:
    for _, answer in answers(facts, "login page"):
        set_here = [one.strip() for one in answer.headers.get("set-cookie", "").split("\n") if one.strip()]
        if answer.status != 200 or not set_here:
            yield Found("keycloak", "login page", f"is answered {answer.status} with {len(set_here)} cookies")
        for cookie in set_here:
            name, flags = cookie.partition("=")[0], cookie.lower()
            if "secure" not in flags or ("httponly" not in flags and name not in FOR_SCRIPTS):
                yield Found("keycloak", name, f"cookie {name} lacks Secure or HttpOnly")


@control(
    "6.13",
    "A login leads back to this site only",
    why="the code of a login would be sent to whoever made the link",
    cure="redirectUris in config/keycloak/realm.yaml",
    part="answers",
)
def redirects(facts: Facts) -> Iterator[Found]:
    for _, answer in answers(facts, "login for another site"):
        if answer.status != 400:
            yield Found("keycloak", "redirect_uri", f"a foreign redirect_uri is answered {answer.status}")


@control(
    "6.14",
    "Who asks too often is limited",
    why="passwords are guessed, and one address takes what all need",
    cure="config/nginx/limits.conf, public.conf",
    part="bursts",
)
def limits(facts: Facts) -> Iterator[Found]:
    if isinstance(facts.bursts, Mapping):
        for kind, seen in facts.bursts.items():
            if not seen.refused and BURSTS[kind].proves(seen):
                yield Found("nginx", kind, f"{seen.through} requests got through within {seen.seconds:.1f} s")


@control(
    "6.15",
    "Pages of other sites cannot read the operator's pages",
    why="any page in the operator's browser would read logs, metrics and alerts, since there is no login",
    cure="config/nginx/ops.conf, headers-ops.inc",
    part="answers",
)
def operators_origins(facts: Facts) -> Iterator[Found]:
    for kind, answer in answers(facts, "foreign"):
        if answer.status != 403:
            yield Found("nginx", kind, f"a page of another origin: {kind} is answered {answer.status}")
    for path, answer in (*answers(facts, "foreign"), *answers(facts, "readable")):
        if allowed := answer.headers.get("access-control-allow-origin"):
            yield Found("nginx", f"{path} allows", f"{path}: Access-Control-Allow-Origin: {allowed}")
