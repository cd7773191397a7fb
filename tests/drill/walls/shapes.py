"""Requests of shapes that confuse, exhaust or fool a proxy, as bytes, with the answers that refuse them."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress

SECONDS = 20.0
SLOW_SECONDS = 15.0
"""More than client_header_timeout and client_body_timeout (10 s, config/nginx/limits.conf)."""
Connect = Callable[[], ssl.SSLSocket]

POST = "POST /api/v1/items HTTP/1.1\r\n"
HEAD = "Host: {host}\r\nUser-Agent: {mark}\r\n"
SMUGGLED = "GET /auth/admin/ HTTP/1.1\r\nHost: {host}\r\n\r\n"
SHAPES: dict[str, tuple[str, set[int]]] = {
    "length and chunks": (
        POST + HEAD + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED, {400}
    ),
    "chunks with a blank": (
        POST + HEAD + "Content-Length: 4\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", {400}
    ),
    "two encodings": (
        POST + HEAD + "Transfer-Encoding: chunked\r\n" + "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        {400, 501},
    ),
    "an unknown encoding": (POST + HEAD + "Transfer-Encoding: xchunked\r\n\r\n", {400, 501}),
    "two lengths": (POST + HEAD + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", {400}),
    "a negative length": (POST + HEAD + "Content-Length: -1\r\n\r\n", {400}),
    "a broken chunk": (POST + HEAD + "Transfer-Encoding: chunked\r\n\r\nZZ\r\n", {400, 401}),
    "chunks in HTTP/1.0": (POST.replace("1.1", "1.0") + HEAD + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400, 401}),
    "two hosts": ("GET / HTTP/1.1\r\n" + HEAD + "Host: attacker.example\r\n\r\n", {400}),
    "no host": ("GET / HTTP/1.1\r\nUser-Agent: {mark}\r\n\r\n", {400}),
    "a host with a path": ("GET / HTTP/1.1\r\nHost: {host}/../x\r\nUser-Agent: {mark}\r\n\r\n", {400, 308}),
    "an inner address": ("GET http://prometheus:9090/prometheus/ HTTP/1.1\r\n" + HEAD + "\r\n", {400, 308}),
    "a tunnel": ("CONNECT postgres:5432 HTTP/1.1\r\n" + HEAD + "\r\n", {400, 405}),
    "an unknown method": ("PROPFIND /auth/realms/cc03/ HTTP/1.1\r\n" + HEAD + "\r\n", {400, 403, 404, 405}),
    "cleartext HTTP/2": (
        "GET /api/v1/items HTTP/1.1\r\n" + HEAD + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", {400, 401}
    ),
    "a header across lines": ("GET / HTTP/1.1\r\n" + HEAD + "X-One: a\r\n b\r\n\r\n", {400}),
    "a zero byte in a header": ("GET / HTTP/1.1\r\n" + HEAD + "X-One: a\0b\r\n\r\n", {400}),
    "a header too long": ("GET / HTTP/1.1\r\n" + HEAD + "X-One: " + "a" * 40_000 + "\r\n\r\n", {400, 431}),
    "too many headers": ("GET / HTTP/1.1\r\n" + HEAD + "X-One: abcdefghij\r\n" * 9_000 + "\r\n", {400, 431}),
    "an address too long": ("GET /" + "a" * 40_000 + " HTTP/1.1\r\n" + HEAD + "\r\n", {414}),
    "a body too long": (POST + HEAD + "Content-Length: 9000000\r\n\r\n", {413}),
    "a long body for the page": ("POST / HTTP/1.1\r\n" + HEAD + "Content-Length: 90000\r\n\r\n", {413}),
    "a line break in an address": ("GET /x%0d%0aSet-Cookie:%20a=b HTTP/1.1\r\n" + HEAD + "\r\n", {200, 404}),
    "a way up": ("GET /static/../../../etc/passwd HTTP/1.1\r\n" + HEAD + "\r\n", {400, 404}),
    "a hidden way up": ("GET /assets/..%2f..%2f..%2fetc%2fpasswd HTTP/1.1\r\n" + HEAD + "\r\n", {200, 400, 404}),
    "another realm by a hidden way": ("GET /auth/realms/cc03/..%2f..%2fadmin/ HTTP/1.1\r\n" + HEAD + "\r\n", {404}),
    "a forged origin of the request": (
        "GET /api/v1/probe HTTP/1.1\r\n" + HEAD
        + "X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\nForwarded: for=127.0.0.1\r\n\r\n",
        {404},
    ),
}  # fmt: skip
"""What is sent -> the statuses that refuse it, or that serve nothing but the application's page."""


def answered(connect: Connect, text: str) -> bytes:
    """All that comes back until the other side closes or falls silent."""
    with connect() as secured:
        secured.settimeout(2.0)
        with suppress(OSError):
            secured.sendall(text.encode("latin-1"))
        return received(secured)


def received(secured: ssl.SSLSocket) -> bytes:
    found = b""
    with suppress(OSError):
        while chunk := secured.recv(65536):
            found += chunk
    return found


def statuses(answer: bytes) -> list[int]:
    """Of every answer in it: a second one means that a smuggled request was taken for one."""
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:] if part[:3].isdigit()]


def seconds_until_closed(connect: Connect, begin: bytes, piece: bytes) -> float:
    """How long a client that sends one small piece a second is borne."""
    began = time.monotonic()
    with connect() as secured:
        secured.sendall(begin)
        secured.settimeout(1.0)
        while time.monotonic() - began < SECONDS:
            try:
                secured.sendall(piece)
                secured.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                pass
            # It has answered, closed or cut the connection.
            break
    return time.monotonic() - began


def secured_to(address: str, port: int, name: str) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(socket.create_connection((address, port), 5), server_hostname=name)
