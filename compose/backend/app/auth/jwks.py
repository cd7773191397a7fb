"""The realm's signing keys: fetched in the background, kept when the realm is away, refreshed for an unknown key."""

import asyncio
import json
import logging
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import jwt

from app import metrics
from app.tls import Tls

_log = logging.getLogger("app.jwks")

REFRESH_SECONDS = 300.0
# An attacker's invented key ids must not become a flood towards Keycloak.
UNKNOWN_KEY_PAUSE = 10.0
MAX_DOCUMENT = 256 * 1024

Fetch = Callable[[str], bytes]


def fetcher(tls: Tls) -> Fetch:
    def fetch(url: str) -> bytes:
        # The URL is the operator's own setting. The standard library in a thread will do for a document every 5 minutes.
        request = urllib.request.Request(url, headers={"Accept": "application/json"})
        with urllib.request.urlopen(request, timeout=3, context=tls.client) as answer:
            return answer.read(MAX_DOCUMENT)

    return fetch


def parse(document: bytes) -> dict[str, Any]:
    """The RSA keys for RS256 signatures by key id. Keycloak also publishes an encryption key: not for us."""
    keys: dict[str, Any] = {}
    for entry in json.loads(document).get("keys", []):
        if (
            entry.get("kty") == "RSA"
            and entry.get("use", "sig") == "sig"
            and entry.get("alg", "RS256") == "RS256"
            and entry.get("kid")
        ):
            keys[entry["kid"]] = jwt.PyJWK.from_dict(entry, algorithm="RS256").key
    return keys


class RealmKeys:
    def __init__(self, url: str, on_removed: Callable[[], None], fetch: Fetch) -> None:
        self._url = url
        self._on_removed = on_removed
        self._fetch = fetch
        self._keys: dict[str, Any] = {}
        self._lock = asyncio.Lock()
        self._last_unknown = float("-inf")

    @property
    def available(self) -> bool:
        return bool(self._keys)

    async def run(self) -> None:
        """Until cancelled: fetch soon and often while there is no key, then every few minutes."""
        pause = 1.0
        while True:
            if await self._refresh():
                pause = 1.0
                await asyncio.sleep(REFRESH_SECONDS)
            else:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 15.0)

    async def get(self, key_id: str) -> Any | None:
        if key_id in self._keys:
            return self._keys[key_id]
        async with self._lock:
            # Another request may have fetched it while this one waited.
            # Only fetches of this kind count: one by the clock, just before the keys were rotated, must not cost logins.
            if key_id not in self._keys and time.monotonic() - self._last_unknown >= UNKNOWN_KEY_PAUSE:
                self._last_unknown = time.monotonic()
                await self._refresh_locked()
        return self._keys.get(key_id)

    async def _refresh(self) -> bool:
        async with self._lock:
            return await self._refresh_locked()

    async def _refresh_locked(self) -> bool:
        try:
            keys = parse(await asyncio.to_thread(self._fetch, self._url))
            if not keys:
                raise ValueError("no usable RS256 key in the document")
        except Exception as error:  # whatever goes wrong, the last good keys stay
            _log.warning(
                "realm keys not refreshed", extra={"fields": {"reason": str(error)[:200], "kept": len(self._keys)}}
            )
            return False
        removed = self._keys.keys() - keys.keys()
        if self._keys.keys() != keys.keys():
            _log.info("realm keys changed", extra={"fields": {"keys": sorted(keys)}})
        self._keys = keys
        if removed:
            self._on_removed()
        metrics.KEYS.set(len(keys))
        metrics.KEYS_FETCHED.set_to_current_time()
        return True
