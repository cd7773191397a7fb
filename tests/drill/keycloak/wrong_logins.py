"""Wrong passwords, all submitted at once, as a process of its own: by the login form or at the token endpoint.

    python -m tests.drill.keycloak.wrong_logins ADDRESS NAME SITE form|token NUMBER SOURCE...

ADDRESS: of nginx on its network. NAME, SITE: the public name and URL. SOURCE: addresses of this host that the requests come
from, by turns. It prints `ready` once all connections are open, waits for a line on its standard input, submits, and prints the
result as JSON.
"""

from __future__ import annotations

import asyncio
import html
import json
import re
import secrets
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from ops.core.machine import REPOSITORY
from ops.keycloak.probe.browser import OPENID

PORT = 8443
PATIENCE = 90.0
"""Seconds until an answer counts as lost."""
AT_ONCE = 8
"""Forms that are fetched at once, before anything is submitted."""
PAUSE = 0.5
"""Seconds until a form that nginx refused, for one address asked too often, is asked for again."""
FORM = re.compile(r'<form[^>]*id="kc-form-login"[^>]*action="([^"]+)"')
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Site:
    address: str
    name: str
    url: str

    async def connect(self, source: str) -> Streams:
        # From inside the host only: what is attacked is not identified by its certificate.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return await asyncio.open_connection(self.address, PORT, ssl=context, server_hostname=self.name, local_addr=(source, 0))

    def request(self, method: str, path: str, form: dict[str, str] | None = None, cookies: str = "") -> bytes:
        body = urlencode(form or {}).encode()
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.name}", "Connection: close", f"Content-Length: {len(body)}"]
        lines += ["Content-Type: application/x-www-form-urlencoded"] if form else []
        lines += [f"Cookie: {cookies}"] if cookies else []
        return "\r\n".join([*lines, "", ""]).encode() + body

    async def login_form(self, source: str) -> tuple[str, str]:
        """Where a fresh login form leads to, and its cookies."""
        query = urlencode({
            "client_id": "cc03-frontend", "response_type": "code", "scope": "openid", "redirect_uri": f"{self.url}/",
            "state": "x", "code_challenge": secrets.token_urlsafe(32), "code_challenge_method": "S256",
        })  # fmt: skip
        status, answer = 429, ""
        while status == 429:
            status, answer = await exchanged(await self.connect(source), self.request("GET", f"{OPENID}/auth?{query}"))
            await asyncio.sleep(PAUSE if status == 429 else 0)
        form = FORM.search(answer)
        assert status == 200 and form, f"no login form: {status}"
        action = urlsplit(html.unescape(form[1]))
        cookies = re.findall(r"^set-cookie: ([^;\r]+)", answer.partition("\r\n\r\n")[0], re.MULTILINE | re.IGNORECASE)
        return f"{action.path}?{action.query}", "; ".join(cookies)

    async def wrong_login(self, kind: str, source: str) -> bytes:
        """The request that submits a password for a user who does not exist, which costs Keycloak as much as a wrong one."""
        credentials = {"username": f"nobody-{secrets.token_hex(6)}", "password": secrets.token_hex(8)}
        if kind == "token":
            grant = {"grant_type": "password", "client_id": "admin-cli", **credentials}
            return self.request("POST", f"{OPENID}/token", grant)
        action, cookies = await self.login_form(source)
        return self.request("POST", action, credentials, cookies)


async def exchanged(streams: Streams, request: bytes) -> tuple[int, str]:
    """Status and all of the answer; 0 where none came."""
    reader, writer = streams
    try:
        writer.write(request)
        await writer.drain()
        answer = (await asyncio.wait_for(reader.read(), PATIENCE)).decode(errors="replace")
    except (OSError, TimeoutError):
        return 0, ""
    finally:
        writer.close()
    return int(answer.split(" ", 2)[1]) if answer.startswith("HTTP/") else 0, answer


async def main(site: Site, kind: str, number: int, sources: Sequence[str]) -> None:
    few = asyncio.Semaphore(AT_ONCE)

    async def prepared(source: str) -> bytes:
        async with few:
            return await site.wrong_login(kind, source)

    turns = [sources[turn % len(sources)] for turn in range(number)]
    submitted = await asyncio.gather(*map(prepared, turns))
    connections = await asyncio.gather(*map(site.connect, turns))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    began = time.monotonic()
    answers = await asyncio.gather(*map(exchanged, connections, submitted))
    statuses = Counter(str(status) for status, _ in answers)
    print(json.dumps({"seconds": round(time.monotonic() - began, 1), "statuses": dict(statuses)}))


class Burst:
    """Wrong logins that are ready to be submitted."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout and process.stdout.readline() == "ready\n", "the wrong logins could not be prepared"

    def submit(self) -> None:
        assert self._process.stdin
        self._process.stdin.write("now\n")
        self._process.stdin.flush()

    @property
    def under_way(self) -> bool:
        return self._process.poll() is None

    def result(self) -> dict[str, Any]:
        """Status -> how many were answered with it, and the seconds until the last answer."""
        said, _ = self._process.communicate(timeout=PATIENCE + 20)
        found: dict[str, Any] = json.loads(said)
        return found


@contextmanager
def burst(site: Site, kind: str, number: int, sources: Sequence[str]) -> Iterator[Burst]:
    argv = (
        sys.executable, "-m", "tests.drill.keycloak.wrong_logins", site.address, site.name, site.url, kind, str(number),
        *sources,
    )  # fmt: skip
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        try:
            yield Burst(process)
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(main(Site(*sys.argv[1:4]), sys.argv[4], int(sys.argv[5]), sys.argv[6:]))
