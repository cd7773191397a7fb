"""Requests to a listener of nginx on this host: the site's, or the operator's."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

ASK_SECONDS = 2.5
LOOPBACK = "127.0.0.1"
LARGEST = 1 << 20
"""Bytes of an answer that are read; Keycloak's metrics are 130 KB."""


@dataclass(frozen=True)
class Answer:
    """status 0: none came, and `text` says why."""

    status: int
    text: str

    def json(self) -> Mapping[str, Any]:
        with suppress(ValueError):
            value = json.loads(self.text)
            if isinstance(value, dict):
                return value
        return {}


def asked(connection: http.client.HTTPConnection, method: str, path: str, headers: Mapping[str, str], body: str = "") -> Answer:
    """One request over a connection. Raises OSError or http.client.HTTPException where nothing is answered."""
    connection.request(method, path, body or None, {"User-Agent": "cc03-ops", **headers})
    answer = connection.getresponse()
    return Answer(answer.status, answer.read(LARGEST).decode(errors="replace"))


class Listener(http.client.HTTPSConnection):
    """A listener of nginx on this host, asked for a site by its name, whatever DNS says."""

    def __init__(self, url: str, ca: Path, seconds: float = ASK_SECONDS) -> None:
        parts = urlsplit(url)
        self.site, self.authority = parts.hostname or "localhost", parts.netloc
        super().__init__(LOOPBACK, parts.port or 443, timeout=seconds, context=ssl.create_default_context(cafile=str(ca)))

    def connect(self) -> None:
        http.client.HTTPConnection.connect(self)
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self.site)  # type: ignore[attr-defined]

    def ask(self, method: str, path: str, body: str = "", **headers: str) -> Answer:
        # nginx would keep a request for a Keycloak that is away waiting: here the answer of this moment is asked for.
        return asked(self, method, path, {"Host": self.authority, "Prefer": "wait=0", **headers}, body)

    def certificate(self) -> bytes:
        """What it has shown, in DER."""
        shown = self.sock.getpeercert(True) if isinstance(self.sock, ssl.SSLSocket) else None
        return shown or b""

    def days_left(self) -> float | None:
        shown = self.sock.getpeercert() if isinstance(self.sock, ssl.SSLSocket) else None
        end = (shown or {}).get("notAfter")
        return (ssl.cert_time_to_seconds(end) - time.time()) / 86400 if isinstance(end, str) else None


def request(
    url: str, ca: Path, method: str, path: str, form: Mapping[str, str] | None = None, *, seconds: float = ASK_SECONDS,
    headers: Mapping[str, str] | None = None,
) -> Answer:  # fmt: skip
    """One request over a connection of its own. Where nothing was answered: status 0, and the reason as the text."""
    listener, kind = Listener(url, ca, seconds), {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
    try:
        return listener.ask(method, path, urlencode(form or {}), **kind, **(headers or {}))
    except (OSError, http.client.HTTPException) as problem:
        return Answer(0, str(problem) or type(problem).__name__)
    finally:
        listener.close()
