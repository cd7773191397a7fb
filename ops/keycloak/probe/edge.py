"""What Keycloak answers: from inside its network, through nginx as a browser would, and on the operator's listener."""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ops.core.site import ASK_SECONDS, Answer, Listener, asked, request
from ops.engines.engine import Engine
from ops.keycloak.failures.facts import OPS_CLIENT, REALM

DISCOVERY = f"/auth/realms/{REALM}/.well-known/openid-configuration"
KEYS = f"/auth/realms/{REALM}/protocol/openid-connect/certs"
TOKEN = "/auth/realms/master/protocol/openid-connect/token"  # noqa: S105  (a path)
INITIALIZED = "Keycloak Initialized"
"""Name of the readiness check that is down until the start, migrations included, is completed (26.7)."""
Fields = dict[str, Any]
"""Those of EdgeFacts that one place was asked for."""


def inside(engine: Engine, address: str, ca: Path) -> Fields:
    """Readiness and metrics on 9000, from within the container's network. Not 8443: those threads may all be waiting.

    address: one of its own. ca: file of the roots that are trusted.
    """
    context = ssl.create_default_context(cafile=str(ca))

    def ask(port: int, path: str, *, plain: bool = False) -> Answer:
        connection = http.client.HTTPConnection("localhost", port)
        try:
            connection.sock = engine.connect("keycloak", port, ASK_SECONDS, address)
            if not plain:
                connection.sock = context.wrap_socket(connection.sock, server_hostname="keycloak")
            return asked(connection, "GET", path, {"Host": "localhost"})
        except (OSError, http.client.HTTPException) as problem:
            return Answer(0, str(problem) or type(problem).__name__)
        finally:
            connection.close()

    ready = ask(9000, "/health/ready")
    if ready.status != 200:
        answers = {str(one.get("name", "")): one.get("status") == "UP" for one in ready.json().get("checks", [])}
        checks = [name for name, up in answers.items() if not up]
        told = ", ".join(checks) or (ready.text if ready.status == 0 else f"HTTP {ready.status}")
        return Fields(
            ready=ready.status, ready_said=" ".join(told.split())[:200],
            management_plain=ready.status == 0 and ask(9000, "/health/ready", plain=True).status == 200,
            initialized=answers.get(INITIALIZED, False),
        )  # fmt: skip
    metrics = ask(9000, "/metrics")
    return Fields(
        ready=200, metrics_said="" if metrics.status else metrics.text,
        pool_awaiting=gauge(metrics.text, "agroal_awaiting_count"), pool_active=gauge(metrics.text, "agroal_active_count"),
    )  # fmt: skip


def gauge(metrics: str, name: str) -> float | None:
    """Value of the first sample of a metric in Prometheus' text form."""
    match = re.search(rf"^{name}(?:\{{[^}}]*\}})? ([\d.eE+-]+)$", metrics, re.MULTILINE)
    return float(match[1]) if match else None


def public(url: str, ca: Path, certificate: Path) -> Fields:
    """The discovery document and the keys as a browser gets them, and the certificate that it sees.

    certificate: the file that nginx should show.
    """
    listener = Listener(url, ca)
    try:
        listener.connect()
        shown, days = listener.certificate(), listener.days_left()
        answer = listener.ask("GET", DISCOVERY)
        keys = listener.ask("GET", KEYS).json().get("keys") if answer.status == 200 else None
    except ssl.SSLCertVerificationError as problem:
        return Fields(public=0, certificate_said=problem.verify_message)
    except (OSError, http.client.HTTPException) as problem:
        return Fields(public=0, public_said=str(problem) or type(problem).__name__)
    finally:
        listener.close()
    return Fields(
        public=answer.status, discovery={name: url for name, url in answer.json().items() if isinstance(url, str)},
        signing_keys=sum(key.get("use") == "sig" for key in keys) if isinstance(keys, list) else None,
        certificate_days=days, certificate_stale=_another(shown, certificate),
    )  # fmt: skip


def _another(shown: bytes, certificate: Path) -> bool:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    text = certificate.read_text() if certificate.is_file() else ""
    if begin not in text or not shown:
        return False
    first = text[text.index(begin) : text.index(end) + len(end)]
    return ssl.PEM_cert_to_DER_cert(first) != shown


def payload(token: str) -> Mapping[str, Any]:
    """What a JWT says; empty where it is none."""
    try:
        part = token.split(".")[1]
        value = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def admin(url: str, ca: Path, secret: str) -> tuple[Fields, str]:
    """A token for the operations client, which also tells Keycloak's clock; it is for the questions that follow."""
    grant = {"grant_type": "client_credentials", "client_id": OPS_CLIENT, "client_secret": secret}
    began = time.time()
    answer = request(url, ca, "POST", TOKEN, grant)
    if answer.status == 0:
        return Fields(admin=0, admin_said=answer.text), ""
    said, middle = answer.json(), (began + time.time()) / 2
    token = str(said.get("access_token", ""))
    issued = payload(token).get("iat")
    offset = float(issued) + 0.5 - middle if issued is not None else None
    return Fields(admin=answer.status, admin_said=str(said.get("error", "")), clock_offset=offset), token


def locked(url: str, ca: Path, token: str, suspects: Sequence[str]) -> tuple[str, ...]:
    """Those of the users (by id) that brute-force protection has locked now."""
    listener, found = Listener(url, ca), []
    try:
        for user in suspects:
            path = f"/auth/admin/realms/{REALM}/attack-detection/brute-force/users/{user}"
            if listener.ask("GET", path, Authorization=f"Bearer {token}").json().get("disabled"):
                found.append(user)
    finally:
        listener.close()
    return tuple(found)
