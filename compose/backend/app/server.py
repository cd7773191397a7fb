"""backend serve: one process, one event loop; replicas are what scales.

SIGTERM drains in two steps. First, for CC03_DRAIN_SECONDS at most, requests are still answered, readiness says 503, each
response closes its connection and WebSocket clients are told to reconnect. Then the socket is closed and what is still
running finishes. Closing at once would race with requests the proxy is just sending on an idle connection: the first step
ends when none is left, because the proxy has closed those that were idle (after 1 s) and this side those that were not.
"""

import asyncio
import gc
import logging
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterable
from types import FrameType

import uvicorn

from app import logs
from app.connections import Connection, any_reusable, any_shaking
from app.main import create_app
from app.middleware import RequestContext
from app.settings import Settings, SettingsError
from app.tls import Tls

_log = logging.getLogger("app.server")

# Longer than nginx keeps an idle connection (1 s): the side that closes first must be the one that may retry.
KEEP_ALIVE_SECONDS = 75
# For a request on a connection that was accepted last: nginx sends it as soon as it has connected.
LAST_REQUEST_SECONDS = 0.3
# On a machine so busy that requests queue for seconds; usually this is over at once.
SETTLE_SECONDS = 4.0
FINISH_SECONDS = 12
LOOK_SECONDS = 0.05
# Instead of 2,000, 10 and 10 (CPython 3.13): requests leave few cycles, but TLS ends each read with an exception, whose traceback
# counts as new. With these and `freeze` a page of items costs 3 to 8 % less CPU over TLS.
GC_THRESHOLDS = (20_000, 20, 20)


async def nothing_unread(sockets: Callable[[], Iterable[socket.socket]]) -> None:
    """Let the loop run until none of the sockets holds input, within limits; returns without yielding again."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        poller = select.poll()
        for each in sockets():
            if each.fileno() >= 0:
                poller.register(each.fileno(), select.POLLIN)
        if not poller.poll(0):
            return
        await asyncio.sleep(0)


class DrainingServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, context: RequestContext, tls: Tls, drain_seconds: float) -> None:
        super().__init__(config)
        self._context = context
        self._tls = tls
        self._drain_seconds = drain_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None

    async def startup(self, sockets: list | None = None) -> None:
        await super().startup(sockets)
        # What is there by now stays for good: no collection need look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)

    async def serve(self, sockets: list | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGUSR1, self._reconnect)
        self._loop.add_signal_handler(signal.SIGHUP, self._renew)
        await super().serve(sockets)

    async def shutdown(self, sockets: list | None = None) -> None:
        # Closing a listener resets the connections that the kernel has queued on it.
        await nothing_unread(lambda: [listener for server in self.servers for listener in server.sockets])
        for server in self.servers:
            server.close()
        # The proxy sends its request right behind its last word of the handshake, which may not have been read here.
        while any_shaking():
            await asyncio.sleep(LOOK_SECONDS)
        # uvicorn would now close every connection without a request, also those whose first one is on its way.
        await asyncio.sleep(LAST_REQUEST_SECONDS)
        await nothing_unread(self._connections)
        await super().shutdown(sockets)

    def _connections(self) -> list[socket.socket]:
        transports = [connection.transport for connection in self.server_state.connections]
        return [transport.get_extra_info("socket") for transport in transports if not transport.is_closing()]

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig != signal.SIGTERM or self._loop is None or self._context.draining:
            super().handle_exit(sig, frame)
            return
        self._context.draining = True
        self._loop.call_soon_threadsafe(self._begin_to_drain)

    def _renew(self) -> None:
        """Another certificate lies there, or other roots: connections stay, the next handshakes use them."""
        try:
            self._tls.reload()
        except OSError as error:
            _log.error("certificate not taken up", extra={"fields": {"reason": str(error)}})
        else:
            _log.info("certificate taken up")

    def _reconnect(self) -> None:
        """The proxy in front is about to end: its WebSockets would break off with it."""
        _log.info("closing every WebSocket, to be opened again")
        state = self._context.app.state  # type: ignore[attr-defined]
        state.events.reconnect()
        state.probes.reconnect()

    def _begin_to_drain(self) -> None:
        assert self._loop is not None
        _log.info("draining", extra={"fields": {"seconds": self._drain_seconds}})
        state = self._context.app.state  # type: ignore[attr-defined]
        state.readiness.draining = True
        state.events.drain()
        state.probes.drain()
        self._draining = self._loop.create_task(self._drain())

    async def _drain(self) -> None:
        assert self._loop is not None
        deadline = self._loop.time() + self._drain_seconds
        while self._loop.time() < deadline and any_reusable(self.server_state.connections, self._drain_seconds):
            await asyncio.sleep(LOOK_SECONDS)
        self.should_exit = True


def configuration(context: RequestContext, tls: Tls, host: str = "0.0.0.0", port: int = 8000) -> uvicorn.Config:
    return uvicorn.Config(
        context,
        host=host,
        port=port,
        ssl_context_factory=lambda _config, _default: tls.server,
        loop="uvloop",
        http=Connection,
        ws="websockets-sansio",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=FINISH_SECONDS,
        backlog=2048,
        ws_max_size=32 * 1024,
        ws_ping_interval=20.0,
        ws_ping_timeout=20.0,
    )


def main() -> int:
    try:
        settings = Settings.load()
        tls = Tls(settings.tls)
    except (SettingsError, OSError) as error:
        logs.configure("INFO")
        _log.error("not started", extra={"fields": {"reason": str(error)}})
        return 2
    logs.configure(settings.log_level)
    context = RequestContext(create_app(settings, tls))
    _log.info("starting", extra={"fields": {"release": settings.release, "issuer": settings.issuer}})
    DrainingServer(configuration(context, tls), context, tls, settings.drain_seconds).run()
    _log.info("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
