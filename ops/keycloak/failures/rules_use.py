"""What shows a failure mode of host name, proxy, realm or accounts. Each rule: facts in, what was seen out, or nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from ops.keycloak.failures.facts import OPS_CLIENT, REALM, Client, Facts
from ops.keycloak.failures.rules_start import Rule, given, reachable

SKEW_SECONDS = 5.0
"""Half of what Keycloak allows (10 s since 26.6): two clocks that are each within it may not be so together."""
EXPIRES_DAYS = 7.0
"""inv deploy and the ticker renew long before."""
REDIRECTS = {"cc03-frontend": "/", "cc03-grafana": "/grafana/login/generic_oauth"}
"""Client with a login of its own -> path below the public URL that it must accept (config/keycloak/realm.yaml)."""
NEEDED = (*REDIRECTS, "cc03-backend")


def _clients(facts: Facts) -> dict[str, Client]:
    content = facts.postgres.content
    return {client.client_id: client for client in content.clients} if content and content.realms.get(REALM) else {}


def _unset(facts: Facts) -> str:
    options = facts.server.options
    strict = given(facts).get("hostname-strict", "true") == "true"
    return "hostname is not set" if options is not None and strict and not given(facts).get("hostname") else ""


def _wrong(facts: Facts) -> str:
    expected = f"{facts.public_url}/auth/realms/{REALM}"
    issuer = facts.edge.discovery.get("issuer")
    if issuer and issuer != expected and not _only_scheme(issuer, expected):
        return f"the issuer is {issuer}, it should be {expected}"
    hostname = given(facts).get("hostname")
    if hostname and hostname != f"{facts.public_url}/auth" and not issuer:
        return f"hostname={hostname}, it should be {facts.public_url}/auth"
    return ""


def _only_scheme(one: str, other: str) -> bool:
    first, second = urlsplit(one), urlsplit(other)
    return first.scheme != second.scheme and first.hostname == second.hostname and first.path == second.path


def _headers(facts: Facts) -> str:
    options = facts.server.options
    # One that is set to what there is not ends the start, and the log says so.
    if options is not None and not given(facts).get("proxy-headers"):
        return "proxy-headers is not set"
    expected = urlsplit(facts.public_url).scheme
    plain = [name for name, url in sorted(facts.edge.discovery.items()) if url.startswith("http://") and expected == "https"]
    return f"the discovery document has http:// in {', '.join(plain)}" if plain else ""


def _https_key(facts: Facts) -> str:
    options = given(facts)
    missing = facts.server.options is not None and not reachable(options)
    return "http-enabled is not true, and there is no certificate" if missing and not facts.ready else ""


def _nginx_down(facts: Facts) -> str:
    return f"its container is {facts.nginx}" if facts.nginx != "running" else ""


def _edge(facts: Facts) -> str:
    edge = facts.edge
    if not facts.ready or edge.public in (None, 200) or edge.certificate_said:
        return ""
    return f"the discovery document: {edge.public_said or f'HTTP {edge.public}'} through nginx"


def _untrusted(facts: Facts) -> str:
    days = facts.edge.certificate_days
    return facts.edge.certificate_said or ("it has expired" if days is not None and days <= 0 else "")


def _expires(facts: Facts) -> str:
    days = facts.edge.certificate_days
    return f"in {days:.1f} days" if days is not None and 0 < days < EXPIRES_DAYS else ""


def _stale(facts: Facts) -> str:
    return "what nginx shows is not certs/nginx/cert.pem" if facts.edge.certificate_stale else ""


def _truststore(facts: Facts) -> str:
    missing = facts.server.truststores_missing
    return f"truststore-paths names {', '.join(missing)}, which is not there" if missing else ""


def _realm_missing(facts: Facts) -> str:
    content = facts.postgres.content
    # A first deploy makes it once Keycloak is ready.
    gone = content is not None and REALM not in content.realms and facts.ready and not facts.under_way
    return f"the database holds {', '.join(sorted(content.realms)) or 'no realm'}" if content and gone else ""


def _realm_disabled(facts: Facts) -> str:
    content = facts.postgres.content
    return "enabled is false in the database" if content and content.realms.get(REALM) is False else ""


def _file_name(facts: Facts) -> str:
    files = facts.server.realm_files.items()
    return ", ".join(f"{name} holds the realm {realm}" for name, realm in files if name != f"{realm}-realm.json")


def _keys(facts: Facts) -> str:
    content = facts.postgres.content
    if not facts.ready or content is None or REALM not in content.realms:
        return ""
    if facts.edge.signing_keys == 0:
        return "it hands out no key for signatures"
    off = [name for name, active in content.key_providers.items() if not active]
    if content.key_providers and len(off) < len(content.key_providers):
        return ""
    return f"key providers that sign: {', '.join(off) + ' (disabled or passive)' if off else 'none'}"


def _client_missing(facts: Facts) -> str:
    clients = _clients(facts)
    if not clients:
        return ""
    wrong = [
        f"{name} is {'disabled' if name in clients else 'missing'}"
        for name in NEEDED if name not in clients or not clients[name].enabled
    ]  # fmt: skip
    return ", ".join(wrong)


def accepts(pattern: str, url: str) -> bool:
    """Whether a redirect URI of Keycloak covers a URL; a `*` at its end stands for anything."""
    return url.startswith(pattern[:-1]) if pattern.endswith("*") else url == pattern


def _redirect(facts: Facts) -> str:
    clients, wrong = _clients(facts), []
    for name, path in REDIRECTS.items():
        client, url = clients.get(name), facts.public_url + path
        if client and client.enabled and not any(accepts(pattern, url) for pattern in client.redirects):
            wrong.append(f"{name} accepts {', '.join(client.redirects) or 'nothing'}, and not {url}")
    return "; ".join(wrong)


def _origin(facts: Facts) -> str:
    clients, wrong = _clients(facts), []
    for name in REDIRECTS:
        client = clients.get(name)
        if client and client.enabled and not {facts.public_url, "+", "*"} & set(client.origins):
            wrong.append(f"{name} accepts {', '.join(client.origins) or 'nothing'}")
    return "; ".join(wrong)


def too_wide(uri: str) -> bool:
    """Whether a redirect address stands for more than one host."""
    return uri == "*" or bool(re.fullmatch(r"https?://(?:[^/]*\*.*|\*)", uri))


def _loosened(facts: Facts) -> str:
    content = facts.postgres.content
    if content is None:
        return ""
    wrong = [f"sslRequired=none in {realm}" for realm, value in sorted(content.ssl_required.items()) if value.lower() == "none"]
    for client in content.clients:
        wide = [uri for uri in client.redirects if too_wide(uri)]
        wrong += [f"{client.client_id} redirects to {uri}" for uri in wide if client.enabled]
    return ", ".join(wrong)


def _admin_lost(facts: Facts) -> str:
    content = facts.postgres.content
    lost = content is not None and content.admins == 0 and not content.ops_client and "master" in content.realms
    return f"no enabled admin, and no {OPS_CLIENT}" if lost else ""


def _admin(facts: Facts) -> str:
    refused = facts.ready and facts.edge.admin in (400, 401, 403)
    return f"{OPS_CLIENT}: HTTP {facts.edge.admin} {facts.edge.admin_said}".strip() if refused else ""


def _locked(facts: Facts) -> str:
    number = len(facts.edge.locked)
    return f"{number} user{'s' if number > 1 else ''}: {', '.join(facts.edge.locked[:5])}" if number else ""


def _clock(facts: Facts) -> str:
    clocks = (("Keycloak", facts.edge.clock_offset), ("PostgreSQL", facts.postgres.clock_offset))
    wrong = [(who, off) for who, off in clocks if off is not None and abs(off) > SKEW_SECONDS]
    return ", ".join(f"{who} is {off:+.0f} s off this host's" for who, off in wrong)


RULES: Mapping[str, Rule] = {
    "hostname-unset": _unset, "hostname-wrong": _wrong, "proxy-headers": _headers, "https-key-missing": _https_key,
    "nginx-down": _nginx_down, "edge-fails": _edge, "certificate-untrusted": _untrusted, "certificate-expires": _expires,
    "certificate-stale": _stale, "truststore-missing": _truststore, "realm-missing": _realm_missing,
    "realm-disabled": _realm_disabled, "realm-file-name": _file_name, "realm-keys": _keys, "client-missing": _client_missing,
    "redirect-uri": _redirect, "web-origin": _origin, "security-loosened": _loosened, "admin-lost": _admin_lost,
    "admin-refused": _admin, "users-locked": _locked, "clock-skew": _clock,
}  # fmt: skip
