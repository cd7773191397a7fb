"""Alertmanager notifies by SMTP and HTTP when an alert fires and when it ends, by the routes that are deployed.

A second process of Alertmanager runs beside the live one for the length of the test, in its container: the same program and the
deployed routes, with receivers of the test under the names of the deployed ones, on that container's loopback. Nobody else is
notified, and nothing is left behind. That the live process delivers to a declared receiver across the packet filter is shown by
tests/drill/test_alerting.py, which deploys one: where none is declared, the live process has no way out to deliver by.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from ops.core.process import alongside
from ops.engines.podman import argv as podman
from tests.smoke.live import Live, eventually
from tests.smoke.receivers import hook_server, mail_server, own_address, reached, serving

LIVE = "/etc/cc03/current/alertmanager.yml"
ARRIVES, LONGEST = 30.0, 120


def routed(live: Live, *labels: str) -> str:
    """The receiver that the deployed routes choose."""
    return live.exec("alertmanager", "amtool", "config", "routes", "test", f"--config.file={LIVE}", *labels).stdout.strip()


def at_once(route: dict[str, Any]) -> dict[str, Any]:
    """The same routes, without their waits and hours."""
    kept = {key: value for key, value in route.items() if key not in ("mute_time_intervals", "active_time_intervals")}
    inner = [at_once(one) for one in route.get("routes", ())]
    return {**kept, "group_wait": "1s", "group_interval": "1s", "routes": inner}


def configuration(live: Live, mail: str, hook: str) -> str:
    """The deployed one, with receivers of the test under the names of the deployed ones."""
    deployed = yaml.safe_load(live.exec("alertmanager", "cat", LIVE).stdout)
    receivers = [
        {
            "name": one["name"],
            "email_configs": [{"to": f"{one['name']}@example.com", "send_resolved": True}],
            "webhook_configs": [{"url": f"http://{hook}/{one['name']}", "send_resolved": True}],
        }
        for one in deployed["receivers"]
    ]
    smtp = {"smtp_from": "test@example.com", "smtp_smarthost": mail, "smtp_require_tls": False, "smtp_hello": "test"}
    return yaml.safe_dump({**deployed, "global": smtp, "route": at_once(deployed["route"]), "receivers": receivers})


@contextmanager
def second_process(live: Live, config: str, log: Path) -> Iterator[str]:
    """Runs during the block; yields where it takes alerts, on the container's loopback."""
    folder = f"/tmp/smoke-{secrets.token_hex(4)}"
    name = str(live.container("alertmanager")["Name"])
    put = ("sh", "-c", f"mkdir {folder}; cat > {folder}/alertmanager.yml")
    live.project.host.run(podman.exec_with_input(name, put), stdin=config)
    with live.network("alertmanager"), socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = (
        f"echo $$ > {folder}/pid; exec timeout {LONGEST} prometheus-alertmanager --config.file={folder}/alertmanager.yml "
        f"--storage.path={folder}/data --cluster.listen-address= --web.listen-address=127.0.0.1:{port}"
    )
    try:
        with alongside(podman.exec_in(name, ("sh", "-c", started)), log=log, env=live.project.host.environment):
            where = f"http://127.0.0.1:{port}"
            eventually(lambda: "" if asked(live, "GET", f"{where}/-/ready") == 200 else log.read_text()[-1000:], ARRIVES)
            yield where
    finally:
        live.exec("alertmanager", "sh", "-c", f"kill $(cat {folder}/pid); rm -rf {folder}", ok=None)


def asked(live: Live, method: str, url: str, **options: Any) -> int:
    with requests.Session() as session, live.network("alertmanager"):
        session.trust_env = False
        try:
            return session.request(method, url, timeout=5, **options).status_code
        except requests.ConnectionError:
            return 0


@pytest.fixture
def receivers(live: Live) -> Iterator[tuple[str, str, list[str]]]:
    """(SMTP server, webhook, what they have received), on the loopback of Alertmanager's container."""
    received: list[str] = []
    with live.network("alertmanager"):
        mail_socket, hook_socket = mail_server("127.0.0.1", received), hook_server("127.0.0.1", received)
    with serving(mail_socket) as mail, serving(hook_socket) as hook:
        yield mail, hook, received


def test_alert_that_fires_and_ends_is_notified_by_mail_and_webhook(
    live: Live, receivers: tuple[str, str, list[str]], tmp_path: Path
) -> None:
    mail, hook, received = receivers
    name = f"SmokeTest{secrets.token_hex(4)}"
    labels = {"alertname": name, "severity": "critical", "service": "alertmanager"}
    with second_process(live, configuration(live, mail, hook), tmp_path / "alertmanager.log") as where:

        def post(lasts: timedelta, **alert: str) -> None:
            now = datetime.now(UTC)
            times = {"startsAt": (now - timedelta(seconds=1)).isoformat(), "endsAt": (now + lasts).isoformat()}
            assert asked(live, "POST", f"{where}/api/v2/alerts", json=[{"labels": alert, **times}]) == 200

        def missing(alert: str, receiver: str, status: str) -> str:
            mails = [one for one in received if one.startswith(f"{receiver}@example.com: [{status.upper()}") and alert in one]
            return "" if mails and f"/{receiver} {status} {alert}" in received else f"no {status} of {alert} among {received}"

        operator = routed(live, *(f"{key}={value}" for key, value in labels.items()))
        watchdog = routed(live, "alertname=Watchdog", "severity=none")
        post(timedelta(minutes=5), **labels)
        post(timedelta(minutes=5), alertname="Watchdog", severity="none")
        eventually(lambda: missing(name, operator, "firing") or missing("Watchdog", watchdog, "firing"), ARRIVES)
        post(timedelta(0), **labels)
        eventually(lambda: missing(name, operator, "resolved"), ARRIVES)
        addressed = {one.split()[0] for one in received if name in one}
        assert addressed == {f"{operator}@example.com:", f"/{operator}"}, "notices of it went elsewhere"


def test_declared_receivers_are_reached_and_nothing_else(live: Live) -> None:
    with serving(hook_server(own_address(), [])) as undeclared:
        host, _, port = undeclared.rpartition(":")
        socket.create_connection((host, int(port)), 5).close()
        assert not reached(live, undeclared)
    assert [where for where in live.project.stack.destinations if not reached(live, where)] == []
