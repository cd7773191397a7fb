"""A TCP load balancer and its client in one: a program of the standard library alone, which test_proxy_protocol.py runs.

It shares no code with the project, so that both cannot be wrong in the same way. The header is as in the PROXY protocol's
specification, sections 2.1 and 2.2; HTTP/2 as in RFC 9113, with header fields that are literals (RFC 7541, 6.2.2).
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import ipaddress
import json
import os
import socket
import ssl
import struct
from typing import BinaryIO

SECONDS = 20.0
SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
SERVER = {4: "198.18.0.1", 6: "2001:db8:ffff::1"}


def header(version: str, client: str) -> bytes:
    """The header that names this client; `unknown` and `local` name none, `none` is no header at all."""
    fixed = {"none": b"", "unknown": b"PROXY UNKNOWN\r\n", "local": SIGNATURE + b"\x20\x00\x00\x00"}
    if version in fixed:
        return fixed[version]
    address = ipaddress.ip_address(client)
    server = ipaddress.ip_address(SERVER[address.version])
    if version == "v1":
        return f"PROXY TCP{address.version} {address} {server} 40000 443\r\n".encode()
    family = {4: 0x11, 6: 0x21}[address.version]
    body = address.packed + server.packed + struct.pack("!HH", 40000, 443)
    return SIGNATURE + bytes([0x21, family]) + struct.pack("!H", len(body)) + body


def connected(options: argparse.Namespace) -> socket.socket:
    source = (options.source, 0) if options.source else None
    raw = socket.create_connection((options.address, options.port), SECONDS, source_address=source)
    if sent := header(options.header, options.client):
        raw.sendall(sent)
    return raw


def secured(options: argparse.Namespace, protocol: str) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=options.ca)
    context.set_alpn_protocols([protocol])
    found = context.wrap_socket(connected(options), server_hostname=options.name)
    if found.selected_alpn_protocol() != protocol:
        raise OSError(f"{found.selected_alpn_protocol()} was agreed upon instead of {protocol}")
    return found


def head(options: argparse.Namespace, *more: str) -> bytes:
    lines = [f"{options.method} {options.path} HTTP/1.1", f"Host: {options.name}", *options.line, *more, "", ""]
    return "\r\n".join(lines).encode()


def answer(stream: BinaryIO) -> dict[str, object]:
    """Status and some fields of one answer, whose body is read to its end."""
    status = int(stream.readline().split()[1])
    fields = {}
    while line := stream.readline().strip():
        name, _, value = line.decode().partition(":")
        fields[name.lower()] = value.strip()
    if fields.get("transfer-encoding") == "chunked":
        while size := int(stream.readline(), 16):
            stream.read(size + 2)
        stream.readline()
    elif status != 101:
        stream.read(int(fields.get("content-length", 0)))
    return {"status": status, "id": fields.get("x-request-id", ""), "hsts": fields.get("strict-transport-security", "")}


def http(options: argparse.Namespace) -> list[dict[str, object]]:
    """As many requests as were ordered, all of them on one connection."""
    with secured(options, "http/1.1") as connection, connection.makefile("rb") as stream:
        found = []
        for _ in range(options.times):
            connection.sendall(head(options, *(["Content-Length: 0"] if options.method == "POST" else [])))
            found.append(answer(stream))
        return found


def burst(options: argparse.Namespace) -> list[dict[str, object]]:
    """As many connections as were ordered, and a request on each of them before any answer is read. A `*` in the client's
    address stands for the number of the connection."""
    with contextlib.ExitStack() as stack:
        opened = []
        for number in range(1, options.times + 1):
            one = argparse.Namespace(**{**vars(options), "client": options.client.replace("*", str(number))})
            opened.append(stack.enter_context(secured(one, "http/1.1")))
        for connection in opened:
            connection.sendall(head(options, "Content-Length: 0"))
        return [answer(stack.enter_context(connection.makefile("rb"))) for connection in opened]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def http2(options: argparse.Namespace) -> list[dict[str, object]]:
    """One request. `:status: 200` is the eighth entry of HPACK's static table, so that it is the one octet 0x88."""
    fields = {":method": "GET", ":scheme": "https", ":path": options.path, ":authority": options.name}
    block = b"".join(
        b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode() for name, value in fields.items()
    )
    with secured(options, "h2") as connection, connection.makefile("rb") as stream:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0) + frame(1, 0x5, 1, block))
        while True:
            size, kind = int.from_bytes(stream.read(3), "big"), stream.read(1)[0]
            stream.read(5)
            payload = stream.read(size)
            if kind == 1:
                return [{"status": 200 if payload[0] == 0x88 else payload[:8].hex()}]


def websocket(options: argparse.Namespace) -> list[dict[str, object]]:
    """The handshake, one message, and whether a frame comes back."""
    key = base64.b64encode(os.urandom(16)).decode()
    with secured(options, "http/1.1") as connection, connection.makefile("rb") as stream:
        upgrade = ("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13")
        connection.sendall(head(options, *upgrade))
        found = answer(stream)
        message, mask = b'{"type":"auth","token":"none"}', os.urandom(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(message))
        connection.sendall(bytes([0x81, 0x80 | len(message)]) + mask + masked)
        return [{**found, "frame": bool(stream.read(2))}]


def plain(options: argparse.Namespace) -> list[dict[str, object]]:
    """What comes back from a connection that begins with these octets instead of TLS, until its end."""
    with connected(options) as raw:
        raw.sendall(options.text.encode().decode("unicode_escape").encode("latin-1"))
        received = b""
        try:
            while chunk := raw.recv(4096):
                received += chunk
        except ConnectionResetError:
            pass
        return [{"received": received.decode("latin-1")}]


WHAT = {"http": http, "burst": burst, "http2": http2, "websocket": websocket, "plain": plain}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("address")
    parser.add_argument("port", type=int)
    parser.add_argument("--header", default="none")
    for name in ("source", "client", "name", "ca", "text"):
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--path", default="/")
    parser.add_argument("--method", default="GET")
    parser.add_argument("--line", action="append", default=[], help="field line of the request")
    parser.add_argument("--times", type=int, default=1)
    options = parser.parse_args()
    try:
        print(json.dumps(WHAT[options.what](options)))
    except OSError as problem:
        print(json.dumps([{"failed": type(problem).__name__, "said": str(problem)}]))


if __name__ == "__main__":
    main()
