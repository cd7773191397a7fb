"""Changes, told to every WebSocket client of every replica through Redis; without Redis, to this replica's alone.

The token comes in the first message, never in the URL, where proxies and logs would keep it.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from redis.exceptions import RedisError

from app import logs, metrics
from app.auth.tokens import LEEWAY, KeysUnavailable, Principal, TokenRefused
from app.cache import Breaker, CacheUnavailable

_log = logging.getLogger("app.events")

CHANNEL = "app:events"
AUTH_SECONDS = 5.0
QUEUE_LENGTH = 100
MAX_MESSAGE = 16 * 1024
# A proxy that takes up new configuration lets its old connections run on for five minutes, then cuts them. A socket that
# has been closed in an orderly way before that is simply opened again. Spread, so that they do not come back all at once.
LONGEST_SECONDS = (210.0, 270.0)
UNAUTHENTICATED, FORBIDDEN, RESTARTING, TRY_LATER = 4401, 4403, 1012, 1013
# Clients refetch after this: events may have passed while the subscription was down.
RESYNC = '{"type":"resync"}'

router = APIRouter()


class Client:
    def __init__(self) -> None:
        self.queue: asyncio.Queue[str] = asyncio.Queue(QUEUE_LENGTH)
        self.closing: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    def close(self, code: int, reason: str) -> None:
        if not self.closing.done():
            self.closing.set_result((code, reason))


class Events:
    """The WebSocket clients of this replica, and its subscription to the changes of all replicas.

    limit: most clients at a time. changed: called with the action of each change of an item, in whichever replica; with None
    where changes may have been missed.
    """

    def __init__(self, client: Any, breaker: Breaker, limit: int, changed: Callable[[str | None], None]) -> None:
        self._redis = client
        self._breaker = breaker
        self._limit = limit
        self._changed = changed
        self._clients: set[Client] = set()
        self._draining = False
        self.degraded = True

    def admit(self) -> Client | None:
        if self._draining or len(self._clients) >= self._limit:
            return None
        client = Client()
        self._clients.add(client)
        metrics.WEBSOCKETS.set(len(self._clients))
        return client

    def leave(self, client: Client) -> None:
        self._clients.discard(client)
        metrics.WEBSOCKETS.set(len(self._clients))

    def drain(self) -> None:
        self._draining = True
        self.reconnect()

    def reconnect(self) -> None:
        """Have every client open its socket anew, wherever the proxy then leads it."""
        for client in self._clients:
            client.close(RESTARTING, "restarting")

    def tell(self, message: str) -> None:
        self._changed(_action(message))
        for client in self._clients:
            try:
                client.queue.put_nowait(message)
            except asyncio.QueueFull:
                client.close(TRY_LATER, "too slow")

    async def publish(self, event: dict[str, Any]) -> None:
        message = json.dumps(event, separators=(",", ":"))
        try:
            await self._breaker.call(lambda: self._redis.publish(CHANNEL, message))
        except CacheUnavailable:
            self.tell(message)
            return
        if self.degraded:  # published, but our own subscription is not back yet
            self.tell(message)

    async def run(self) -> None:
        """Until cancelled: hold the subscription, and come back to it when Redis does."""
        while True:
            try:
                await self._listen()
            except (TimeoutError, RedisError, OSError) as error:
                if not self.degraded:
                    _log.warning("event subscription lost", extra={"fields": {"reason": str(error)[:200]}})
            self._set_degraded(True)
            await asyncio.sleep(1)

    async def _listen(self) -> None:
        async with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(CHANNEL)
            self._set_degraded(False)
            self.tell(RESYNC)
            last_ping = time.monotonic()
            while True:
                message = await subscription.get_message(timeout=1.0)
                if message is not None and message["type"] == "message":
                    self.tell(message["data"].decode())
                # A connection that only listens would never notice a peer that vanished.
                if time.monotonic() - last_ping > 5:
                    await subscription.ping()
                    last_ping = time.monotonic()

    def _set_degraded(self, degraded: bool) -> None:
        if degraded != self.degraded:
            self.degraded = degraded
            self.tell(json.dumps({"type": "status", "degraded": degraded}))


def _action(message: str) -> str | None:
    """What happened to an item; None for a message about anything else."""
    try:
        found = json.loads(message)
    except ValueError:
        return None
    return found.get("action") if isinstance(found, dict) else None


async def _authenticate(websocket: WebSocket, text: str) -> Principal:
    try:
        message = json.loads(text) if len(text) <= MAX_MESSAGE else None
    except (ValueError, RecursionError):
        message = None
    token = message.get("token") if isinstance(message, dict) and message.get("type") == "auth" else None
    if not isinstance(token, str):
        raise TokenRefused("an auth message is expected", "malformed")
    state = websocket.app.state
    return await state.tokens.verify(token, state.keys)


async def _receive(websocket: WebSocket, client: Client, caller: Principal) -> None:
    """Until the token runs out: clients send nothing but newer tokens."""
    while True:
        left = caller.expires + LEEWAY - time.time()
        caller = await _authenticate(websocket, await asyncio.wait_for(websocket.receive_text(), max(left, 0)))
        if not caller.allows("viewer"):
            client.close(FORBIDDEN, "role viewer needed")


async def _send(websocket: WebSocket, client: Client) -> None:
    while True:
        await websocket.send_text(await client.queue.get())


@router.websocket("/api/v1/ws")
async def subscribe(websocket: WebSocket) -> None:
    events: Events = websocket.app.state.events
    await websocket.accept()
    client = events.admit()
    if client is None:
        await websocket.close(TRY_LATER, "busy")
        return
    try:
        code, reason = await _serve(websocket, events, client)
        await websocket.close(code, reason)
    except (WebSocketDisconnect, RuntimeError):
        # Gone already; closing again is Starlette's RuntimeError.
        return
    finally:
        events.leave(client)


async def _serve(websocket: WebSocket, events: Events, client: Client) -> tuple[int, str]:
    """The close code and the reason, once one of the parties ends it."""
    try:
        caller = await _authenticate(websocket, await asyncio.wait_for(websocket.receive_text(), AUTH_SECONDS))
    except (TimeoutError, TokenRefused, KeysUnavailable, KeyError):
        return UNAUTHENTICATED, "not authenticated"
    if not caller.allows("viewer"):
        return FORBIDDEN, "role viewer needed"
    logs_fields = {"user": caller.subject, "path": "/api/v1/ws", "request_id": logs.request_id.get()}
    _log.info("websocket opened", extra={"fields": logs_fields})
    await websocket.send_text(json.dumps({"type": "ready", "degraded": events.degraded}))
    parties = [
        asyncio.ensure_future(_receive(websocket, client, caller)),
        asyncio.ensure_future(_send(websocket, client)),
        client.closing,
    ]
    longest = random.uniform(*LONGEST_SECONDS)
    done, pending = await asyncio.wait(parties, timeout=longest, return_when=asyncio.FIRST_COMPLETED)
    for party in pending:
        party.cancel()
    if not done:
        return RESTARTING, "open it again"
    if client.closing in done:
        return client.closing.result()
    error = next(iter(done)).exception()
    if isinstance(error, (TokenRefused, KeysUnavailable, asyncio.TimeoutError, KeyError)):
        return UNAUTHENTICATED, "token expired or refused"
    raise WebSocketDisconnect
