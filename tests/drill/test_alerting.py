"""Alerts leave the host: to the declared receivers, by SMTP and HTTP, firing and resolved; and nothing else does."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from ops.engines.podman import argv as podman
from ops.security_audit.probe.sockets import host_addresses
from ops.stack.alerting import NETWORK
from ops.stack.allocate import POOL
from ops.stack.render import network_name
from tests.drill.clone import Clone
from tests.drill.conftest import Record
from tests.drill.stack import Drill
from tests.smoke.live import Live, eventually

ALERTS = "/alertmanager/api/v2/alerts"
ARRIVES = 60.0
"""Seconds. The clone's route waits 1 s for a group, and 5 s for a change of it."""


def mail_server(address: str, received: list[str]) -> socketserver.ThreadingTCPServer:
    class Mail(socketserver.StreamRequestHandler):
        """As much of RFC 5321 as one message takes."""

        def _line(self) -> bytes:
            with suppress(ConnectionError):  # who only connects, to see whether that works
                return self.rfile.readline()
            return b""

        def handle(self) -> None:
            self.wfile.write(b"220 drill ESMTP\r\n")
            while line := self._line():
                verb = line[:4].upper()
                if verb == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    body = b"".join(iter(self.rfile.readline, b".\r\n"))
                    received.append(str(message_from_bytes(body)["Subject"]))
                self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 OK\r\n")
                if verb == b"QUIT":
                    return

    return socketserver.ThreadingTCPServer((address, 0), Mail)


def hook_server(address: str, received: list[str]) -> ThreadingHTTPServer:
    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.append(f"{body['status']} {body['commonLabels']['alertname']}")
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Not printed."""

    return ThreadingHTTPServer((address, 0), Hook)


@contextmanager
def serving(server: socketserver.ThreadingTCPServer | ThreadingHTTPServer) -> Iterator[str]:
    """Serves during the block, at the address that it yields."""
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield "{}:{}".format(*server.server_address[:2])
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def own_address() -> str:
    """An address of this host that is not one of a stack's."""
    return next(address for address in sorted(host_addresses()) if ip_address(address) not in POOL)


def config(mail: str, hook: str) -> str:
    return f"""
global: {{smtp_from: stack@example.com, smtp_smarthost: "{mail}", smtp_require_tls: false, smtp_hello: drill}}
route:
  receiver: operator
  group_by: [alertname]
  group_wait: 1s
  group_interval: 5s
receivers:
  - name: operator
    email_configs: [{{to: operator@example.com, send_resolved: true, tls_config: {{insecure_skip_verify: true}}}}]
    webhook_configs: [{{url: "http://{hook}/", send_resolved: true}}]
"""


def networks(stack: Drill) -> list[str]:
    return stack.project.host.run(podman.list_networks(stack.project.name)).stdout.split()


def reached(live: Live, where: str) -> bool:
    address, _, port = where.rpartition(":")
    with live.network("alertmanager"):
        try:
            socket.create_connection((address, int(port)), 2).close()
        except OSError:
            return False
    return True


def test_declared_receivers_are_notified_and_nothing_else_is_reached(
    stack: Drill, live: Live, own_address: str, tmp_path: Path, record: Record
) -> None:
    leads_out = network_name(stack.project.name, NETWORK)
    assert leads_out not in networks(stack)
    clone = Clone.make(tmp_path / "clone")
    mails: list[str] = []
    hooks: list[str] = []
    others: list[str] = []
    with (
        serving(mail_server(own_address, mails)) as mail,
        serving(hook_server(own_address, hooks)) as hook,
        serving(hook_server(own_address, others)) as undeclared,
    ):
        declared = [mail, hook]
        settings = (clone.root / "config" / "stack.yaml").read_text(encoding="utf-8")
        clone.put("config/stack.yaml", f"{settings}\nalerts: {{destinations: {json.dumps(declared)}}}\n")
        clone.put("config/alertmanager/alertmanager.yml", config(*declared))
        try:
            clone.deploy()
            assert leads_out in networks(stack)
            fresh = Live(stack.project)
            began = time.monotonic()
            notified(fresh, "DrillAlert", mails, hooks)
            record("alert by SMTP and HTTP, firing and resolved", time.monotonic() - began)

            assert reached(fresh, mail)
            assert not reached(fresh, undeclared)
            assert not reached(fresh, f"{own_address}:{fresh.ports['https']}")
            assert others == []
        finally:
            stack.deploy()
    assert leads_out not in networks(stack)
    stack.assert_as_wanted()


def notified(live: Live, name: str, mails: list[str], hooks: list[str]) -> None:
    """Post an alert, end it, and wait for both notices on both ways."""
    now = datetime.now(UTC)
    alert = {"labels": {"alertname": name, "severity": "critical", "service": "alertmanager"}, "startsAt": now.isoformat()}

    def post(ends: datetime) -> None:
        assert live.ops("POST", ALERTS, json=[{**alert, "endsAt": ends.isoformat()}]).status_code == 200

    def missing(mail: str, hook: str) -> str:
        told = any(mail in subject and name in subject for subject in mails) and f"{hook} {name}" in hooks
        return "" if told else f"received {mails} and {hooks}"

    eventually(lambda: "" if live.ops.get("/alertmanager/-/ready").status_code == 200 else "Alertmanager is not ready", 30)
    post(now + timedelta(minutes=5))
    eventually(lambda: missing("FIRING", "firing"), ARRIVES)
    post(datetime.now(UTC))
    eventually(lambda: missing("RESOLVED", "resolved"), ARRIVES)
