"""Users of the site, as a process of their own: new connections by the clock, or connections that are kept.

    python -m tests.drill.flood PORT CA fresh|kept RATE

Until its standard input ends; then it prints what came of it as one JSON object. Requests begin by the clock, not when the one
before has ended, and are timed from the moment at which they were due: an answer that is late does not hide the next one.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.core.machine import REPOSITORY

ADDRESS, NAME = "127.0.0.1", "localhost"
PATH = "/healthz"
"""nginx' own page: what is behind it is not what is measured here."""
PATIENCE = 30.0
"""Seconds after which a request counts as failed. Long, since one TLS connection costs this process 2 ms of a core (measured):
where others take the cores, requests are late, and that shows in the percentiles."""
PRIORITY = -15
"""Of this process: what measures must not wait for what is measured."""
CONNECTIONS = 20
"""Of those that are kept."""
NO_MORE = float("inf")
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class ClosedWhileIdle(Exception):
    """A kept connection ended before a byte of the answer came: the request may be sent again (RFC 9110, 9.2.2 and 9.3.1)."""


@dataclass
class Users:
    port: int
    context: ssl.SSLContext
    rate: float
    asked: int = 0
    milliseconds: list[float] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    closed_while_idle: int = 0
    reconnected: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def connect(self) -> Streams:
        return await asyncio.open_connection(ADDRESS, self.port, ssl=self.context, server_hostname=NAME)

    async def due(self) -> asyncio.Queue[float]:
        """A queue that the moments come into at which a request is due; NO_MORE for everybody who may wait, at the end."""
        queue: asyncio.Queue[float] = asyncio.Queue()

        async def tick() -> None:
            began, number = time.monotonic(), 0
            while not self.ended.is_set():
                moment = began + number / self.rate
                if (left := moment - time.monotonic()) > 0:
                    await asyncio.sleep(left)
                queue.put_nowait(moment)
                number += 1
            for _ in range(CONNECTIONS):
                queue.put_nowait(NO_MORE)

        self.clock = asyncio.create_task(tick())
        return queue

    async def fresh(self) -> None:
        """A new connection for each request."""
        under_way: set[asyncio.Task[None]] = set()
        queue = await self.due()
        while (moment := await queue.get()) != NO_MORE:
            task = asyncio.create_task(self.counted(self.once(), moment))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)

    async def once(self) -> None:
        streams = await self.connect()
        try:
            await ask(streams, "close")
            # nginx ends the connection: the side that does so keeps the pair of ports busy for a minute, here there are fewer.
            await streams[0].read()
        finally:
            streams[1].close()

    async def kept(self) -> None:
        queue = await self.due()
        await asyncio.gather(*(self.regular(queue) for _ in range(CONNECTIONS)))

    async def regular(self, queue: asyncio.Queue[float]) -> None:
        """One user who keeps the connection."""
        streams: Streams | None = None

        async def request() -> None:
            nonlocal streams
            if streams and (streams[0].at_eof() or streams[1].is_closing()):
                # Closed in the order of things, and seen in time: nothing was sent.
                self.reconnected += 1
                streams = None
            if streams:
                try:
                    return await ask(streams, "keep-alive")
                except ClosedWhileIdle:
                    self.closed_while_idle += 1
                    streams[1].close()
            streams = await self.connect()
            return await ask(streams, "keep-alive")

        while (moment := await queue.get()) != NO_MORE:
            await self.counted(request(), moment)
        if streams:
            streams[1].close()

    async def counted(self, request: Any, moment: float) -> None:
        self.asked += 1
        try:
            async with asyncio.timeout(PATIENCE):
                await request
        except (OSError, EOFError, TimeoutError, ValueError, ClosedWhileIdle) as problem:
            self.failures[f"{type(problem).__name__}: {problem}"[:120]] += 1
        else:
            self.milliseconds.append(1000 * (time.monotonic() - moment))

    def result(self, seconds: float) -> dict[str, Any]:
        took = sorted(self.milliseconds)
        return {
            "seconds": round(seconds, 1), "requests": self.asked, "per_second": round(self.asked / seconds, 1),
            "answered": len(took), "failures": dict(self.failures), "closed_while_idle": self.closed_while_idle,
            "reconnected": self.reconnected,
            **{f"p{share}": round(took[min(len(took) - 1, len(took) * share // 100)], 1) for share in (50, 99) if took},
            "longest": round(took[-1], 1) if took else None,
        }  # fmt: skip


async def ask(streams: Streams, connection: str) -> None:
    """One request. Raises what it failed by; ClosedWhileIdle where the connection had been ended before."""
    reader, writer = streams
    request = f"GET {PATH} HTTP/1.1\r\nHost: {NAME}\r\nConnection: {connection}\r\n\r\n"
    try:
        writer.write(request.encode())
        await writer.drain()
        first = await reader.readline()
    except ConnectionError:
        first = b""
    if not first:
        raise ClosedWhileIdle if connection == "keep-alive" else EOFError("closed without an answer")
    if b" 200 " not in first:
        raise ValueError(first.decode(errors="replace").strip())
    length = 0
    while (line := await reader.readline()).strip():
        name, _, value = line.decode().partition(":")
        length = int(value) if name.lower() == "content-length" else length
    await reader.readexactly(length)


async def main(port: int, ca: str, kind: str, rate: float) -> None:
    os.nice(PRIORITY)
    users = Users(port, ssl.create_default_context(cafile=ca), rate)
    loop = asyncio.get_running_loop()
    loop.run_in_executor(None, sys.stdin.read).add_done_callback(lambda _: users.ended.set())
    began = time.monotonic()
    await (users.fresh() if kind == "fresh" else users.kept())
    print(json.dumps(users.result(time.monotonic() - began)))


@contextmanager
def flood(port: int, ca: Path, kind: str, rate: float) -> Iterator[dict[str, Any]]:
    """Users during the block; what came of them is in the mapping afterwards.

    kind: `fresh`, a new connection for each request, or `kept`. rate: requests a second, of all together.
    """
    argv = (sys.executable, "-m", "tests.drill.flood", str(port), str(ca), kind, str(rate))
    result: dict[str, Any] = {}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        try:
            yield result
            told, _ = process.communicate(timeout=PATIENCE + 20)
            result.update(json.loads(told))
        finally:
            process.kill()


def failed(result: Mapping[str, Any]) -> int:
    return sum(result["failures"].values())


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])))
