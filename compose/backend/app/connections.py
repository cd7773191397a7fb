"""Connections of HTTP as the drain has to know them: those that still shake hands, and those that wait for a next request.

And each answer is one write: uvicorn writes its head and its body apart, each of which TLS would make a record of its own.
"""

import asyncio
from collections.abc import Iterable
from typing import Any, ClassVar
from weakref import WeakSet

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# Older ones are no proxy's: nobody who means to send a request takes so long for his part of it.
HANDSHAKE_SECONDS = 4.0
JOINED_BYTES = 64 * 1024


class Joined:
    """A transport that sends what is written in one turn of the event loop as one.

    That saves most of what TLS costs: 25 of 160 µs of the cheapest request.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._written: list[bytes] = []
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._written:
            self._loop.call_soon(self._send)
        self._written.append(data)
        self._size += len(data)
        # Who writes much is to learn from the transport that its reader is slow.
        if self._size > JOINED_BYTES:
            self._send()

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self) -> None:
        if self._written:
            together = b"".join(self._written)
            self._written.clear()
            self._size = 0
            self._transport.write(together)


class Connection(HttpToolsProtocol):
    """Known from the moment at which it is accepted; uvicorn counts a connection only once its TLS handshake is through."""

    shaking: ClassVar[WeakSet["Connection"]] = WeakSet()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.accepted_at = self.answered_at = self.loop.time()
        self.shaking.add(self)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.shaking.discard(self)
        super().connection_made(Joined(transport, self.loop))  # type: ignore[arg-type]

    def on_response_complete(self) -> None:
        self.answered_at = self.loop.time()
        super().on_response_complete()

    def reusable(self, seconds: float) -> bool:
        """Whether the client has been told that it may send another request here, and that not so many seconds ago."""
        answer = self.cycle
        if answer is None or not answer.response_started or not answer.keep_alive or self.transport.is_closing():
            return False
        return not answer.response_complete or self.loop.time() - self.answered_at < seconds


def any_shaking() -> bool:
    """Whether somebody may be about to send a first request who is not connected yet, as this side sees it."""
    return any(one.loop.time() - one.accepted_at < HANDSHAKE_SECONDS for one in Connection.shaking)


def any_reusable(connections: Iterable[object], seconds: float) -> bool:
    """`seconds`: the proxy closes what has been idle for less; what is older belongs to a scraper, which asks again."""
    return any(isinstance(one, Connection) and one.reusable(seconds) for one in connections)
