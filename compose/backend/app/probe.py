"""What the stack's own prober asks all through a deploy: cheap requests that take the ways of real ones.

They need no token. nginx lets them through from the host itself only; a neighbour that goes straight to port 8000 finds
little to do harm with: one statement a request, and few sockets and downloads at a time.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import JSONResponse, StreamingResponse
from psycopg_pool import AsyncConnectionPool

from app.events import RESTARTING, TRY_LATER
from app.problems import Problem

PATH = "/api/v1/probe"
LONGEST_DOWNLOAD = 60
# 64 KB a second: slow, yet every piece goes out at once instead of waiting for a buffer to fill.
PIECE = b"." * 8192
PIECES_A_SECOND = 8
# One prober holds one of each; a deploy that follows another closely may have two.
SOCKETS = DOWNLOADS = 8
MAX_MESSAGE = 1024
_KEY = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NO_STORE = {"Cache-Control": "no-store"}

# The key that is just being written is left alone: one command cannot both delete and update a row.
COUNT_ATTEMPT = """
    WITH forgotten AS (
        DELETE FROM probe_requests WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM probe_requests WHERE at < now() - interval '1 hour' AND key <> %(key)s
            LIMIT 100 FOR UPDATE SKIP LOCKED))
    )
    INSERT INTO probe_requests (key, attempts) VALUES (%(key)s, 1)
    ON CONFLICT (key) DO UPDATE SET attempts = probe_requests.attempts + 1
    RETURNING attempts
"""

router = APIRouter(prefix=PATH, include_in_schema=False)


class Probes:
    """The sockets and downloads that are open now."""

    def __init__(self) -> None:
        self._sockets: set[asyncio.Future[None]] = set()
        self._draining = False
        self.downloads = 0

    def admit(self) -> asyncio.Future[None] | int:
        """What is done once the socket has to close, or the code that it is closed with at once."""
        if self._draining:
            return RESTARTING
        if len(self._sockets) >= SOCKETS:
            return TRY_LATER
        closing = asyncio.get_running_loop().create_future()
        self._sockets.add(closing)
        return closing

    def leave(self, closing: asyncio.Future[None]) -> None:
        self._sockets.discard(closing)

    def drain(self) -> None:
        """Send the sockets to another replica. Downloads go on: they have until the end of the drain."""
        self._draining = True
        self.reconnect()

    def reconnect(self) -> None:
        """Have every socket opened anew."""
        for closing in self._sockets:
            if not closing.done():
                closing.set_result(None)


@router.get("")
async def ask(request: Request) -> JSONResponse:
    pool: AsyncConnectionPool = request.app.state.pool
    async with pool.connection() as connection:
        await connection.execute("SELECT 1")
    return JSONResponse({"release": request.app.version}, headers=_NO_STORE)


@router.post("")
async def write(request: Request, idempotency_key: Annotated[str | None, Header()] = None) -> JSONResponse:
    if idempotency_key is None or not _KEY.fullmatch(idempotency_key):
        raise Problem(400, "Idempotency-Key is required: 1 to 64 letters, digits, dots, dashes or underscores.")
    pool: AsyncConnectionPool = request.app.state.pool
    async with pool.connection() as connection:
        row: Any = await (await connection.execute(COUNT_ATTEMPT, {"key": idempotency_key})).fetchone()
    return JSONResponse({"key": idempotency_key, "attempts": row["attempts"]}, 201, headers=_NO_STORE)


@router.get("/slow")
async def download(
    request: Request, seconds: Annotated[int, Query(ge=1, le=LONGEST_DOWNLOAD)] = 5
) -> StreamingResponse:
    probes: Probes = request.app.state.probes
    if probes.downloads >= DOWNLOADS:
        raise Problem(429, f"{DOWNLOADS} downloads are under way.", headers={"Retry-After": "5"})
    pieces = seconds * PIECES_A_SECOND
    headers = {
        **_NO_STORE,
        # With the length declared, an answer that was cut short can be told from a whole one.
        "Content-Length": str(pieces * len(PIECE)),
        "X-Accel-Buffering": "no",
        # Its head may be sent before a drain that its end falls into: the proxy, not knowing, would use the connection for
        # another request just when it is closed.
        "Connection": "close",
    }
    return StreamingResponse(_trickle(probes, pieces), headers=headers, media_type="application/octet-stream")


async def _trickle(probes: Probes, pieces: int) -> AsyncIterator[bytes]:
    probes.downloads += 1
    try:
        for _ in range(pieces):
            await asyncio.sleep(1 / PIECES_A_SECOND)
            yield PIECE
    finally:
        probes.downloads -= 1


@router.websocket("/ws")
async def echo(websocket: WebSocket) -> None:
    probes: Probes = websocket.app.state.probes
    await websocket.accept()
    admitted = probes.admit()
    if isinstance(admitted, int):
        await websocket.close(admitted, "restarting" if admitted == RESTARTING else "busy")
        return
    echoing = asyncio.ensure_future(_echo(websocket))
    try:
        await asyncio.wait({echoing, admitted}, return_when=asyncio.FIRST_COMPLETED)
        if admitted.done():
            await websocket.close(RESTARTING, "restarting")
    except (WebSocketDisconnect, RuntimeError):
        # Gone already; closing again is Starlette's RuntimeError.
        return
    finally:
        echoing.cancel()
        await asyncio.gather(echoing, return_exceptions=True)
        probes.leave(admitted)


async def _echo(websocket: WebSocket) -> None:
    while True:
        text = await websocket.receive_text()
        await websocket.send_text(text[:MAX_MESSAGE])
