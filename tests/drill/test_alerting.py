"""Alerts leave the host: to the declared receivers, by SMTP and HTTP, firing and resolved; and nothing else does."""

from __future__ import annotations

import json
import os
import signal
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ops.core.process import alongside, run
from ops.engines.podman.supervise import stop_supervisor
from ops.engines.podman.supervisor import firewall
from ops.stack.applied_settings import ALERTING
from ops.stack.firewall_rules import table_name
from ops.stack.render import network_name
from tests.drill.clone import Clone
from tests.drill.conftest import Record
from tests.drill.stack import Drill, inv
from tests.smoke.live import Live, eventually
from tests.smoke.receivers import hook_server, mail_server, own_address, reached, serving

ALERTS = "/alertmanager/api/v2/alerts"
ARRIVES = 60.0
"""Seconds. The clone's route waits 1 s for a group, and 5 s for a change of it."""
LOOKED_UP = 120.0
"""Seconds until the health ticker has looked the names up anew, and Alertmanager has tried again."""
UNDECLARED = "203.0.113.9 . 443"
MOVED = "198.51.100.7"
"""Nobody's (RFC 5737); for the length of a test the host's own."""


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
    own = ("--filter", f"label=cc03.project={stack.project.name}")
    return stack.project.host.run(("podman", "network", "ls", *own, "--format", "{{.Name}}")).stdout.split()


@contextmanager
def deployed(stack: Drill, folder: Path, mail: str, hook: str, *more: str) -> Iterator[Clone]:
    """The stack with these receivers, for the length of the block."""
    clone = Clone.make(folder)
    settings = (clone.root / "config" / "stack.yaml").read_text(encoding="utf-8")
    clone.put("config/stack.yaml", f"{settings}\nalerts: {{destinations: {json.dumps([mail, hook, *more])}}}\n")
    clone.put("config/alertmanager/alertmanager.yml", config(mail, hook))
    leads_out = network_name(stack.project.name, ALERTING)
    assert leads_out not in networks(stack)
    try:
        clone.deploy()
        assert leads_out in networks(stack)
        yield clone
    finally:
        stack.deploy()
    assert leads_out not in networks(stack)
    stack.assert_as_wanted()


def test_declared_receivers_are_notified_and_nothing_else_is_reached(stack: Drill, tmp_path: Path, record: Record) -> None:
    received: list[str] = []
    others: list[str] = []
    with (
        serving(mail_server(own_address(), received)) as mail,
        serving(hook_server(own_address(), received)) as hook,
        serving(hook_server(own_address(), others)) as undeclared,
        deployed(stack, tmp_path / "clone", mail, hook) as clone,
    ):
        fresh = Live(stack.project)
        began = time.monotonic()
        notified(fresh, "DrillAlert", received)
        record("alert by SMTP and HTTP, firing and resolved", time.monotonic() - began)

        assert reached(fresh, mail)
        assert not reached(fresh, undeclared)
        assert not reached(fresh, f"{own_address()}:{fresh.ports['https']}")
        assert others == []

        assert failures(clone) == []
        ticker = stack.ticker_pid()
        os.kill(ticker, signal.SIGSTOP)  # it would remove at once what is added by hand
        try:
            run(("nft", f"add element ip {table_name(stack.project.name)} receivers {{ {UNDECLARED} }}"), timeout=10)
            (found,) = failures(clone)
            assert found.startswith("4.10") and UNDECLARED in found
        finally:
            os.kill(ticker, signal.SIGCONT)
        eventually(lambda: firewall.intruders(stack.project.state.root), LOOKED_UP)


def failures(clone: Clone) -> list[str]:
    """Number and finding of each control of the audit that is not passed."""
    answer = clone.inv("audit", "--no-advisories", "--json")
    controls = json.loads(answer.stdout[answer.stdout.index("{") :])["controls"]
    unread = [
        f"{one['number']} {one['why']}" for one in controls
        if one["outcome"] == "not checked" and one["why"] != "left out by this call"
    ]  # fmt: skip
    return unread + [f"{one['number']} {found['what']}" for one in controls for found in one["findings"]]


class Names(socketserver.ThreadingUDPServer):
    """A resolver (RFC 1035) that knows the IPv4 addresses of these names, and that there are no others."""

    daemon_threads = True

    def __init__(self, address: str, known: dict[str, str]) -> None:
        class Question(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                asked, answer_to = self.request
                labels, at = [], 12
                while length := asked[at]:
                    labels.append(asked[at + 1 : at + 1 + length].decode())
                    at += 1 + length
                found = known.get(".".join(labels).lower())
                is_a = asked[at + 1 : at + 3] == b"\0\1"
                # An answer that is authoritative: 3 is "no such name". The name is a pointer to the question, the lifetime 1 s.
                record = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + socket.inet_aton(found) if found and is_a else b""
                header = asked[:2] + (b"\x85\x80" if found else b"\x85\x83")
                header += b"\0\1" + (b"\0\1" if record else b"\0\0") + b"\0\0\0\0"
                answer_to.sendto(header + asked[12 : at + 5] + record, self.client_address)

        super().__init__((address, 53), Question)


@contextmanager
def resolving(stack: Drill, known: dict[str, str], folder: Path) -> Iterator[tuple[str, ...]]:
    """A resolver of the test in place of the host's: for the health ticker, for Alertmanager, and for commands under what the
    block is given. Nothing else on the host notices.
    """
    text = f"nameserver {own_address()}\n"
    file = folder / "resolv.conf"
    file.write_text(text)
    under = ("unshare", "--mount", "sh", "-c", f'mount --bind {file} /etc/resolv.conf && exec "$@"', "sh")
    stop_supervisor(stack.project.state)
    state = stack.project.state
    ticker = (*under, "/usr/bin/python3", "-P", "-m", "ops.engines.podman.supervisor", str(state.root))
    env = {**stack.project.host.environment, "PYTHONPATH": str(state.ticker / "code")}
    # What Podman has written from the host's for the container.
    Path(stack.containers()["alertmanager"]["ResolvConfPath"]).write_text(text)
    with Names(own_address(), known) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with alongside(ticker, log=folder / "ticker.log", env=env):
                yield under
        finally:
            server.shutdown()


MAIL, HOOK, GONE = "mail.drill.example", "hooks.drill.example", "gone.drill.example"


def test_receivers_by_name_are_found_and_followed_to_another_address(stack: Drill, tmp_path: Path, record: Record) -> None:
    received: list[str] = []
    known = {MAIL: own_address(), HOOK: own_address()}
    with serving(mail_server(own_address(), received)) as mail, additional_address(MOVED):
        mail_port = int(mail.rpartition(":")[2])
        first = serving(hook_server(own_address(), received))
        hook_port = int(first.__enter__().rpartition(":")[2])
        names = (f"{MAIL}:{mail_port}", f"{HOOK}:{hook_port}", f"{GONE}:443")
        with deployed(stack, tmp_path / "clone", *names) as clone, resolving(stack, known, tmp_path) as under:
            fresh = Live(stack.project)
            eventually(lambda: "" if reached(fresh, f"{own_address()}:{hook_port}") else "not looked up yet", LOOKED_UP)
            notified(fresh, "DrillByName", received)

            said = inv("doctor", root=clone.root, under=under).stdout
            assert f"the receiver {GONE} of alerts has no address" in said
            assert f"the receiver {HOOK} of alerts has an address" in said
            fresh.measures(f'cc03_alert_receiver_known{{receiver="{GONE}"}} == bool 0')
            fresh.measures('count(ALERTS{alertname="AlertReceiverUnknown"})')

            first.__exit__(None, None, None)
            known[HOOK] = MOVED
            began = time.monotonic()
            with serving(hook_server(MOVED, received, hook_port)):
                notified(fresh, "DrillMoved", received)
            record("alert to a webhook that has moved to another address, firing and resolved", time.monotonic() - began)
            assert failures(clone) == []


@contextmanager
def additional_address(address: str) -> Iterator[None]:
    run(("ip", "address", "add", f"{address}/32", "dev", "lo"), timeout=10)
    try:
        yield
    finally:
        run(("ip", "address", "delete", f"{address}/32", "dev", "lo"), timeout=10)


def notified(live: Live, name: str, received: list[str]) -> None:
    """Post an alert, end it, and wait for both notices on both ways."""
    now = datetime.now(UTC)
    alert = {"labels": {"alertname": name, "severity": "critical", "service": "alertmanager"}, "startsAt": now.isoformat()}

    def post(ends: datetime) -> None:
        assert live.ops("POST", ALERTS, json=[{**alert, "endsAt": ends.isoformat()}]).status_code == 200

    def missing(status: str) -> str:
        mailed = any(f"[{status.upper()}" in one and name in one for one in received)
        return "" if mailed and f"/ {status} {name}" in received else f"no {status} of {name} among {received}"

    eventually(lambda: "" if live.ops.get("/alertmanager/-/ready").status_code == 200 else "Alertmanager is not ready", 30)
    post(now + timedelta(minutes=10))
    eventually(lambda: missing("firing"), LOOKED_UP)
    post(datetime.now(UTC))
    eventually(lambda: missing("resolved"), ARRIVES)
