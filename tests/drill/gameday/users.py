"""Users of the site for the length of the game day. Shares nothing with the probers that the stack itself uses."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

PATIENCE = 10.0
"""Seconds after which a user gives up."""
EVERY = {"page": 0.5, "API": 0.5, "session": 1.0}
"""Seconds between two requests of a kind. They are sent when they are due, whatever became of earlier ones."""
AT_ONCE = 24
"""Requests of a kind that may wait for their answers."""
TOKEN = "/auth/realms/cc03/protocol/openid-connect/token"


@dataclass(frozen=True)
class Asked:
    """failed: why; empty: it was answered."""

    at: float
    what: str
    failed: str


@dataclass
class Users:
    """port: of the site, on this host. log_in: a refresh token and an access token of a new session."""

    port: int
    domain: str
    ca: Path
    log_in: Callable[[], tuple[str, str]]
    asked: list[Asked] = field(default_factory=list)
    access: str = ""
    refresh: str = ""
    ended: threading.Event = field(default_factory=threading.Event)

    def _request(self, method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, bytes]:
        context = ssl.create_default_context(cafile=str(self.ca))
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            plain = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
            connection.sock = context.wrap_socket(plain, server_hostname=self.domain)
            connection.request(method, path, body, {"Host": f"{self.domain}:{self.port}", **headers})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def page(self) -> int:
        return self._request("GET", "/")[0]

    def api(self) -> int:
        return self._request("GET", "/api/v1/items?limit=5", Authorization=f"Bearer {self.access}")[0]

    def session(self) -> int:
        """Renew the tokens of one session; a new one is begun where it is lost."""
        if not self.refresh:
            self.refresh, self.access = self.log_in()
            return 200
        form = urlencode({"grant_type": "refresh_token", "client_id": "cc03-frontend", "refresh_token": self.refresh})
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        status, body = self._request("POST", TOKEN, form, **kind)
        if status == 200:
            said: dict[str, Any] = json.loads(body)
            self.refresh, self.access = said["refresh_token"], said["access_token"]
        elif status == 400:
            self.refresh = ""
        return status

    def _ask(self, what: str, action: Callable[[], int]) -> None:
        began = time.time()
        try:
            status = action()
            failed = "" if status == 200 else f"HTTP {status}"
        except (OSError, http.client.HTTPException, AssertionError, ValueError, KeyError) as problem:
            failed = f"{type(problem).__name__}: {problem}"
        self.asked.append(Asked(began, what, failed))

    def work(self, what: str, action: Callable[[], int]) -> None:
        """A request each time that one is due. A session has one request at a time."""
        due = time.monotonic()
        with ThreadPoolExecutor(max_workers=1 if what == "session" else AT_ONCE) as pool:
            while not self.ended.wait(max(0.0, due - time.monotonic())):
                request = pool.submit(self._ask, what, action)
                if what == "session":
                    request.result()
                due = max(due + EVERY[what], time.monotonic() if what == "session" else 0.0)

    def sent(self, since: float, until: float) -> list[Asked]:
        return [one for one in list(self.asked) if since <= one.at <= until]

    def failed(self, since: float, until: float) -> list[Asked]:
        return [one for one in self.sent(since, until) if one.failed]

    def unserved(self) -> str:
        """Why not all of them are served just now; empty: they are."""
        for what in EVERY:
            last = sorted((one for one in list(self.asked) if one.what == what), key=lambda one: one.at)[-2:]
            if not last or last[-1].at < time.time() - PATIENCE or any(one.failed for one in last):
                return f"{what}: {last[-1].failed if last else 'nothing was answered'}"
        return ""


@contextmanager
def at_work(users: Users) -> Iterator[Users]:
    """They ask all through the block."""
    kinds = (("session", users.session), ("page", users.page), ("API", users.api))
    users.session()
    threads = [threading.Thread(target=users.work, args=one, daemon=True) for one in kinds]
    for thread in threads:
        thread.start()
    try:
        yield users
    finally:
        users.ended.set()
        for thread in threads:
            thread.join(30)
