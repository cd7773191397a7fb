"""Failures of host name, proxy and certificates: Keycloak runs, and users do not reach it."""

from __future__ import annotations

from urllib.parse import urlsplit

from ops.keycloak.failures.facts import REALM, Facts
from ops.keycloak.failures.failure import DEGRADED, DOWN, RISK, Failure, Line
from ops.keycloak.failures.remedy import (
    DATA,
    ISSUE_SITE,
    NOBODY,
    NOT_STARTED,
    ON_NGINX,
    TLS_CHECKS,
    Remedy,
    Way,
    by_hand,
    comes_up,
    released,
)

KEY_FILE = r"(?:pem|crt|cer|key|jks|p12|pfx|pkcs12|keystore)"
"""Endings of files with a certificate or a key."""
EXPIRES_DAYS = 7.0
"""inv deploy and the ticker renew long before."""


def _unset(facts: Facts) -> str:
    options = facts.server.options
    strict = facts.given().get("hostname-strict", "true") == "true"
    return "hostname is not set" if options is not None and strict and not facts.given().get("hostname") else ""


def _wrong(facts: Facts) -> str:
    expected = f"{facts.public_url}/auth/realms/{REALM}"
    issuer = facts.edge.discovery.get("issuer")
    if issuer and issuer != expected and not _only_scheme(issuer, expected):
        return f"the issuer is {issuer}, it should be {expected}"
    hostname = facts.given().get("hostname")
    if hostname and hostname != f"{facts.public_url}/auth" and not issuer:
        return f"hostname={hostname}, it should be {facts.public_url}/auth"
    return ""


def _only_scheme(one: str, other: str) -> bool:
    first, second = urlsplit(one), urlsplit(other)
    return first.scheme != second.scheme and first.hostname == second.hostname and first.path == second.path


def _headers(facts: Facts) -> str:
    options = facts.server.options
    # One that is set to what there is not ends the start, and the log says so.
    if options is not None and not facts.given().get("proxy-headers"):
        return "proxy-headers is not set"
    expected = urlsplit(facts.public_url).scheme
    plain = [name for name, url in sorted(facts.edge.discovery.items()) if url.startswith("http://") and expected == "https"]
    return f"the discovery document has http:// in {', '.join(plain)}" if plain else ""


def _https_key(facts: Facts) -> str:
    missing = facts.server.options is not None and not facts.reachable()
    return "http-enabled is not true, and there is no certificate" if missing and not facts.ready else ""


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


def _truststore(facts: Facts) -> str:
    missing = facts.server.truststores_missing
    return f"truststore-paths names {', '.join(missing)}, which is not there" if missing else ""


FAILURES = (
    Failure(
        "hostname-unset", DOWN, "no host name is set", "Keycloak does not start without one: it goes into every token",
        source="hostname guide", shown=_unset, denied=lambda facts: bool(facts.given().get("hostname")),
        lines=(Line(
            r"hostname is not configured; either configure"
            r"|Strict hostname resolution configured but no hostname setting provided",
            "hostname guide; #33539",
        ),),
        remedy=released(sealed="hostname", leaves=DATA), explains=("hostname-wrong", "proxy-headers", *NOT_STARTED),
    ),
    Failure(
        "hostname-wrong", DOWN, "tokens are issued under another address than the public one",
        "the API refuses them and browsers are sent elsewhere", source="hostname guide", shown=_wrong,
        remedy=released(sealed="hostname", checkout="domain and ports in config/stack.yaml", leaves=DATA),
        explains=("proxy-headers", "redirect-uri", "web-origin"),
    ),
    Failure(
        "proxy-headers", DOWN, "Keycloak does not take nginx' word for scheme and address",
        "it sees plain HTTP from nginx: cookies are refused, links have the wrong scheme, admin pages answer 403",
        source="reverse proxy guide; #34295 #41896", shown=_headers,
        lines=(Line(
            r"Likely misconfiguration .*proxy-headers|Non-secure context detected",
            "reverse proxy guide; #41896", serving=True,
        ),),
        remedy=released(
            sealed="proxy-headers=xforwarded", then="reload nginx on its sealed configuration, which overwrites these headers",
            ways=(Way.DRIFT, Way.RELOAD_NGINX, Way.EARLIER), leaves="what nginx accepts from outside",
        ),
        explains=NOT_STARTED,
    ),
    Failure(
        "https-key-missing", DOWN, "neither a certificate nor plain HTTP",
        "where http-enabled is not true it wants key material", source="TLS guide", shown=_https_key, denied=Facts.reachable,
        lines=(Line(r"Key material not provided to setup HTTPS", "TLS guide"),),
        remedy=released(sealed="https-certificate-file and https-certificate-key-file", leaves=DATA), explains=NOT_STARTED,
    ),
    Failure(
        "hostname-invalid", DOWN, "the host name options do not fit together",
        "hostname is no name and no URL, or hostname-admin or hostname-backchannel-dynamic needs it as a URL",
        source="HostnameV2ProviderFactory 26.7.3",
        lines=(Line(
            r"hostname must be set to a URL when|hostname-backchannel-dynamic must be set to false"
            r"|Provided hostname(?:-admin)? is (?:neither a plain hostname|not a valid)",
            "HostnameV2ProviderFactory 26.7.3",
        ),),
        remedy=released(checkout="hostname with https:// in config/keycloak/keycloak.conf", leaves=DATA),
        explains=("hostname-unset", "hostname-wrong", "proxy-headers", *NOT_STARTED),
    ),
    Failure(
        "https-file", DOWN, "its certificate or key file is missing or cannot be read",
        "HTTPS does not start without it, and this stack has no other way in", source="TLS guide; #12675",
        lines=(Line(
            rf"(?:NoSuchFile|AccessDenied|FileNotFound)Exception: \S+\.{KEY_FILE}\b|^(?:ERROR: )*\"?/\S+\.{KEY_FILE}\"?$"
            r"|Failed to load 'https-\*' material: (?:NoSuchFile|AccessDenied|FileNotFound)"
            r"|You must specify the (?:key|certificate) files when|cannot read the key(?: store file|/certificate files)",
            "Quarkus 3.33; #12675 #34576",
        ),),
        remedy=released(
            then="issue Keycloak's certificate again from the internal authority",
            ways=(Way.DRIFT, Way.OWN_CERTIFICATE, Way.EARLIER), leaves=TLS_CHECKS,
        ),
        explains=("https-key-missing", *NOT_STARTED),
    ),
    Failure(
        "https-key-store", DOWN, "its key store or key file cannot be opened",
        "its password is another one, it is of another type than its name or https-key-store-type says, or it is damaged",
        source="TLS guide; #51984 #23053",
        lines=(Line(
            r"keystore (?:password was incorrect|was tampered with)|Password verification failed|Cannot recover key"
            r"|Given final block not properly padded|Invalid keystore format|Unrecognized keystore format"
            r"|toDerInputStream rejects tag|^(?:ERROR: )*java\.io\.EOFException$|Missing -----BEGIN"
            r"|determine[^\n]*(?:key|trust)-?store[ -]type",
            "OpenJDK; Vert.x; #51984 #23053",
        ),),
        remedy=released(
            sealed="PEM files without a password", then="issue Keycloak's certificate again",
            ways=(Way.DRIFT, Way.OWN_CERTIFICATE, Way.EARLIER), leaves=TLS_CHECKS,
        ),
        explains=("https-key-missing", "https-file", *NOT_STARTED),
    ),
    Failure(
        "event-loop-blocked", DEGRADED, "a thread that serves all connections is held up",
        "an event loop of Vert.x waits for CPU, garbage collection, a disk or code that blocks: answers take seconds",
        source="BlockedThreadChecker; #39830 #37266",
        lines=(Line(r"has been blocked for \d+ ms, time limit is", "BlockedThreadChecker; #39830", serving=True, times=3),),
        remedy=by_hand(
            "inv status: CPU and memory of keycloak at their limit? raise them in config/stack.yaml, then inv deploy",
            "else inv logs keycloak --since 10m: the frames below the line name the code; a provider of your own goes first",
        ),
    ),
    Failure(
        "nginx-down", DOWN, "nginx does not run", "people reach Keycloak through it alone", source="own",
        shown=lambda facts: f"its container is {facts.nginx}" if facts.nginx != "running" else "", momentary=True,
        remedy=Remedy(
            "start nginx, or make its container again", (Way.START_NGINX,), leaves=DATA, users="the site is back within 5 s",
            advice=comes_up("nginx"),
        ),
        explains=("edge-fails", "certificate-untrusted", "admin-refused"),
    ),
    Failure(
        "edge-fails", DOWN, "Keycloak answers, and not through nginx",
        "nginx does not reach it, refuses the path, or asks another address", source="own", shown=_edge, momentary=True,
        remedy=Remedy(
            "reload nginx on its sealed configuration; if that does not help, restart it",
            (Way.RELOAD_NGINX, Way.RESTART_NGINX), leaves=DATA, users=NOBODY, advice=ON_NGINX,
        ),
        explains=("admin-refused",),
    ),
    Failure(
        "certificate-untrusted", DOWN, "the certificate of the public site is not valid",
        "it expired, or is of another name or authority: browsers stop before the login page",
        source="docs/runbooks/CertificateExpiresVerySoon.md", shown=_untrusted, momentary=True,
        remedy=Remedy(ISSUE_SITE, (Way.SITE_CERTIFICATE,), leaves=DATA, users=NOBODY, advice=ON_NGINX),
        explains=("certificate-stale", "certificate-expires", "edge-fails", "admin-refused"),
    ),
    Failure(
        "certificate-expires", RISK, "the certificate of the public site expires soon",
        "browsers will stop before the login page", source="docs/runbooks/CertificateExpiresSoon.md", shown=_expires,
        momentary=True, remedy=Remedy(ISSUE_SITE, (Way.SITE_CERTIFICATE,), leaves=DATA, users=NOBODY, advice=ON_NGINX),
    ),
    Failure(
        "certificate-stale", RISK, "nginx serves an older certificate than the one on disk",
        "it was renewed and nginx was not reloaded", source="TLS guide",
        shown=lambda facts: "what nginx shows is not certs/nginx/cert.pem" if facts.edge.certificate_stale else "",
        momentary=True,
        remedy=Remedy(
            "reload nginx", (Way.RELOAD_NGINX, Way.SITE_CERTIFICATE, Way.RESTART_NGINX), leaves=DATA, users=NOBODY,
            advice=ON_NGINX,
        ),
    ),
    Failure(
        "truststore-missing", DOWN, "a file of its trust store is missing",
        "truststore-paths names it, and Keycloak does not start without it", source="trust store guide; measured on 26.7.3",
        shown=_truststore, lines=(Line(r"Failed to initialize truststore", "measured on 26.7.3"),),
        remedy=released(checkout="the authority's certificate where truststore-paths says", leaves=TLS_CHECKS),
        explains=("peer-untrusted", "https-file", *NOT_STARTED),
    ),
    Failure(
        "peer-untrusted", DEGRADED, "Keycloak does not trust a server that it asks",
        "its certificate is of a private authority: identity providers and mail over TLS fail",
        source="trust store guide; #24973 #36286",
        lines=(Line(
            r"PKIX path (?:building|validation) failed|unable to find valid certification path",
            "trust store guide; #24973 #36286", serving=True,
        ),),
        remedy=by_hand(
            "inv logs keycloak --since 1h names the server; openssl s_client -showcerts shows whose certificate it has",
            "put that authority's certificate into compose/keycloak, its path into truststore-paths (keycloak.conf)",
            "then inv deploy", leaves=TLS_CHECKS,
        ),
        explains=("ldap-fails", "identity-provider-fails", "mail-fails"),
    ),
)  # fmt: skip
