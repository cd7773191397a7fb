"""python -m ops.deploy.prober CONFIG.json: asks the site as its users would, all through a deploy.

Its load is open: each request is sent when it is due, whether or not earlier ones were answered, and its time counts from
then. A server that stalls for a second so delays every request of that second, as it would every user's.

It ends by itself after the seconds of its configuration, on SIGTERM, and when its standard input ends: that is the other
end of a pipe from the command that started it, so it never outlives that command.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import ssl
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from ops.deploy.measure import DOWNLOAD, GET, POST, WEBSOCKET, Outcome, Sample, judge, retried

ANSWER_SECONDS = 10.0
"""A request without an answer after this long has failed: a person would have given up."""
SILENCE_SECONDS = 10.0
"""A download may pause this long."""
PING_SECONDS = 1.0
RECONNECT_SECONDS = 0.5
"""Pause before the socket or the download is tried again."""
LAST_SECONDS = 3.0
"""What is in flight at the end may still be answered for this long; less than the 5 s after which run.py kills."""
POST_EVERY = 5
"""Every fifth request writes: GET and POST are 4 to 1."""
BROKEN_OFF = 1006
"""RFC 6455: the code that an endpoint reports for a socket that ended without a close frame."""
NO_CODE = 1005
"""RFC 6455: the same for a close frame without a code."""
SWITCHED = 101
"""HTTP status of an open WebSocket."""


@dataclass(frozen=True)
class Config:
    """What is asked of which site. An empty path leaves that kind of request out."""

    base_url: str
    """Scheme, host and port, such as https://shop.example.com:443."""
    address: str
    """Where that host is, whatever DNS says."""
    ca: str
    """File with the only certificate authority that is trusted; empty for plain HTTP."""
    rate: float
    """GETs and POSTs a second, together."""
    get: str
    post: str
    websocket: str
    download: str
    out: str
    """File that receives one JSON line for each finished request."""
    seconds: float
    """It ends after this long at the latest."""


class Here(AbstractResolver):
    """Every name is at one address."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=self._address, port=port, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST
            )
        ]

    async def close(self) -> None:
        """Nothing is held."""


def said(problem: BaseException) -> str:
    """What broke a request off, in one line."""
    if isinstance(problem, asyncio.TimeoutError):
        return "no answer in time"
    if isinstance(problem, aiohttp.ServerDisconnectedError):
        return "the connection was closed before the answer"
    if isinstance(problem, aiohttp.ClientPayloadError):
        return "the answer was cut short"
    if isinstance(problem, aiohttp.ClientConnectorError) and problem.errno:
        return f"cannot connect: {os.strerror(problem.errno)}"
    words = str(problem).splitlines() or [""]
    return f"{type(problem).__name__}: {words[0]}"[:200].removesuffix(": ")


def kinds(config: Config) -> Iterator[str]:
    """GET or POST, without end, in the ratio of the house; only one of them where the other is left out."""
    for number in itertools.count(1):
        post = config.post and (not config.get or number % POST_EVERY == 0)
        yield POST if post else GET


def attempts_told(body: bytes) -> int | None:
    """How often the server has carried out this POST, if its answer says so."""
    try:
        found = json.loads(body)["attempts"]
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    return found if isinstance(found, int) else None


def _tracing() -> aiohttp.TraceConfig:
    """Notes how each attempt of a request gets its connection: aiohttp repeats a GET once, and does not say so."""

    async def created(_: Any, context: Any, __: Any) -> None:
        if context.trace_request_ctx is not None:
            context.trace_request_ctx.append("created")

    async def reused(_: Any, context: Any, __: Any) -> None:
        if context.trace_request_ctx is not None:
            context.trace_request_ctx.append("reused")

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_start.append(created)
    trace.on_connection_reuseconn.append(reused)
    return trace


class Prober:
    """The running load. Times of requests are monotonic; `at` is counted from one reading of the clock at the start."""

    def __init__(self, config: Config, session: aiohttp.ClientSession, out: IO[str]) -> None:
        self._config = config
        self._session = session
        self._out = out
        self._epoch = time.time() - time.monotonic()
        self._in_flight: set[asyncio.Task[None]] = set()

    def _write(self, kind: str, due: float, outcome: Outcome, attempts: int | None = None) -> None:
        sample = Sample(
            at=due + self._epoch, kind=kind, ms=1000 * (time.monotonic() - due), status=outcome.status,
            failed=judge(outcome), retried=retried(outcome), attempts=attempts, closed=outcome.closed,
        )  # fmt: skip
        self._out.write(sample.as_line())

    async def run(self, stopped: asyncio.Event) -> None:
        """Until it is stopped, and then until the last requests have been answered or given up.

        Raises whatever a part of it could not cope with: a measurement with a hole is none.
        """
        parts: list[Coroutine[Any, Any, None]] = []
        if self._config.rate > 0 and (self._config.get or self._config.post):
            parts.append(self._requests())
        if self._config.websocket:
            parts.append(_again(self._socket))
        if self._config.download:
            parts.append(_again(self._download))
        tasks = [asyncio.create_task(part) for part in parts]
        end = asyncio.create_task(_told(stopped))
        done, _ = await asyncio.wait({end, *tasks}, timeout=self._config.seconds, return_when=asyncio.FIRST_COMPLETED)
        await _cancelled([end, *tasks])
        if self._in_flight:
            await asyncio.wait(set(self._in_flight), timeout=LAST_SECONDS)
        await _cancelled(list(self._in_flight))
        for task in done:
            task.result()

    # ---- GET and POST

    async def _requests(self) -> None:
        began = time.monotonic()
        for number, kind in enumerate(kinds(self._config)):
            due = began + number / self._config.rate
            await asyncio.sleep(due - time.monotonic())
            task = asyncio.create_task(self._request(kind, due))
            self._in_flight.add(task)
            task.add_done_callback(self._in_flight.discard)

    async def _request(self, kind: str, due: float) -> None:
        connections: list[str] = []
        headers = {"Idempotency-Key": str(uuid.uuid4())} if kind == POST else {}
        outcome, body = Outcome(), b""
        try:
            outcome, body = await self._answer_on_a_live_connection(kind, headers, due, connections)
        except (TimeoutError, aiohttp.ClientError, OSError) as problem:
            outcome = replace(outcome, error=said(problem))
        except asyncio.CancelledError:
            outcome = replace(outcome, error="no answer until the end of the measurement")
        outcome = replace(outcome, connections=tuple(connections))
        self._write(kind, due, outcome, attempts_told(body) if kind == POST else None)

    async def _answer_on_a_live_connection(
        self, kind: str, headers: dict[str, str], due: float, connections: list[str]
    ) -> tuple[Outcome, bytes]:  # fmt: skip
        """A request that met an idle connection which the server was just closing may be sent again (RFC 9110, 9.2.2), with a
        key also where it writes. aiohttp itself does so once, for reads, and not where it broke off as it was sent; and a
        server that takes up new configuration closes all of them at once."""
        while True:
            try:
                return await self._answer(kind, headers, due, connections)
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
                if not connections or connections[-1] != "reused":
                    raise

    async def _answer(
        self, kind: str, headers: dict[str, str], due: float, connections: list[str]
    ) -> tuple[Outcome, bytes]:  # fmt: skip
        path = self._config.post if kind == POST else self._config.get
        left = aiohttp.ClientTimeout(total=max(0.001, due + ANSWER_SECONDS - time.monotonic()))
        async with self._session.request(
            kind.upper(), self._config.base_url + path, headers=headers, timeout=left, allow_redirects=False,
            trace_request_ctx=connections,
        ) as answer:  # fmt: skip
            body = await answer.read()
            return Outcome(answer.status, expected=answer.content_length, received=len(body)), body

    # ---- The socket and the download: one at a time, again and again

    async def _download(self) -> bool:
        due, received, outcome = time.monotonic(), 0, Outcome()
        connections: list[str] = []
        patience = aiohttp.ClientTimeout(total=None, sock_connect=ANSWER_SECONDS, sock_read=SILENCE_SECONDS)
        try:
            async with self._session.get(
                self._config.base_url + self._config.download, timeout=patience, allow_redirects=False,
                trace_request_ctx=connections,
            ) as answer:  # fmt: skip
                outcome = Outcome(answer.status, expected=answer.content_length)
                async for piece in answer.content.iter_any():
                    received += len(piece)
        except (TimeoutError, aiohttp.ClientError, OSError) as problem:
            outcome = replace(outcome, error=said(problem))
        self._write(DOWNLOAD, due, replace(outcome, received=received, connections=tuple(connections)))
        return not outcome.error and outcome.status < 400

    async def _socket(self) -> bool:
        due = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                link = await self._session.ws_connect(
                    self._config.base_url + self._config.websocket, timeout=aiohttp.ClientWSTimeout(ws_close=1.0)
                )
        except aiohttp.WSServerHandshakeError as problem:
            self._write(WEBSOCKET, due, Outcome(problem.status))
            return False
        except (TimeoutError, aiohttp.ClientError, OSError) as problem:
            self._write(WEBSOCKET, due, Outcome(error=said(problem)))
            return False
        self._write(WEBSOCKET, due, Outcome(SWITCHED))
        sent: dict[str, float] = {}
        pings = asyncio.create_task(_ping(link, sent))
        try:
            return await self._echoes(link, sent)
        finally:
            await _cancelled([pings])
            await link.close()

    async def _echoes(self, link: aiohttp.ClientWebSocketResponse, sent: dict[str, float]) -> bool:
        """Until the socket has ended. Whether it was held for at least one echo."""
        held = False
        while True:
            waited_since = time.monotonic()
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    message = await link.receive()
            except TimeoutError as problem:
                self._write(WEBSOCKET, waited_since, Outcome(SWITCHED, said(problem)))
                return False
            if message.type is aiohttp.WSMsgType.TEXT:
                self._write(WEBSOCKET, sent.pop(str(message.data), waited_since), Outcome(SWITCHED))
                held = True
                continue
            # The library reports a connection that just ended as an orderly close; only a close frame is one.
            closed = (message.data or NO_CODE) if message.type is aiohttp.WSMsgType.CLOSE else BROKEN_OFF
            self._write(WEBSOCKET, time.monotonic(), Outcome(SWITCHED, closed=closed))
            return held


async def _again(once: Callable[[], Awaitable[bool]]) -> None:
    """One at a time, for ever; after one that did not succeed, with a pause."""
    while True:
        if not await once():
            await asyncio.sleep(RECONNECT_SECONDS)


async def _ping(link: aiohttp.ClientWebSocketResponse, sent: dict[str, float]) -> None:
    """A message a second, until the socket takes no more; who reads it learns why."""
    for number in itertools.count():
        sent[str(number)] = time.monotonic()
        try:
            await link.send_str(str(number))
        except (aiohttp.ClientError, OSError):
            return
        await asyncio.sleep(PING_SECONDS)


async def _told(stopped: asyncio.Event) -> None:
    await stopped.wait()


async def _cancelled(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _stops(stopped: asyncio.Event) -> None:
    """SIGTERM, or the end of standard input: the command that started this has ended."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)

    def look() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            stopped.set()

    # A file or /dev/null cannot be waited for: started by hand like that, it has its time limit and the signal.
    with contextlib.suppress(OSError):
        loop.add_reader(0, look)


async def probe(config: Config) -> None:
    """Run the whole load of a configuration to its end."""
    stopped = asyncio.Event()
    _stops(stopped)
    trusted: ssl.SSLContext | bool = ssl.create_default_context(cafile=config.ca) if config.ca else True
    # Without a limit: a connection that hangs must not hold up the request that is due next.
    connector = aiohttp.TCPConnector(limit=0, resolver=Here(config.address), ssl=trusted)
    with Path(config.out).open("a", encoding="utf-8", buffering=1) as out:
        async with aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False,
            headers={"Accept-Encoding": "identity", "User-Agent": "cc03-prober"}, trace_configs=[_tracing()],
        ) as session:  # fmt: skip
            await Prober(config, session, out).run(stopped)


def main(argv: Sequence[str]) -> int:
    try:
        (path,) = argv
        config = Config(**json.loads(Path(path).read_text(encoding="utf-8")))
    except (ValueError, TypeError, OSError) as problem:
        print(f"usage: python -m ops.deploy.prober CONFIG.json ({problem})", file=sys.stderr)
        return 2
    asyncio.run(probe(config))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
