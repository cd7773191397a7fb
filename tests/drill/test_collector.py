"""A log collector elsewhere: what it sends is stored once the name on its certificate is declared, and from nobody else."""

from __future__ import annotations

import datetime as dt
import http.client
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops.certificates import pki
from ops.certificates.authority import new_leaf
from ops.core.machine import REPOSITORY
from ops.core.process import alongside
from ops.engines.podman import argv as podman
from ops.engines.podman.supervisor.health import NamedConnection
from ops.stack.certificates import TLS
from ops.stack.render import address
from tests.drill.stack import Drill
from tests.smoke.live import Live, eventually

NAME = "collector"
DEPLOYED, DECLARED = 9428, 9430
"""Ports of the log store's proxy: as it is deployed, and of a second one that has the line of another collector."""
LAST = r"""        "~^SUCCESS CN=logs,O=CC03 /health\z"                           1;
"""
MORE = rf"""        "~^SUCCESS CN={NAME},O=CC03 /insert/jsonline\z" 1;
"""
INSERT = "/insert/jsonline?_stream_fields=service,level&_time_field=_time&_msg_field=_msg"
QUERY = "/select/logsql/query?query=*&limit=1"
FOLDER = "/tmp/elsewhere"
LONG = 100_000
"""Characters: more than a page of queries may send, less than where the collector cuts a line."""
ARRIVES, LONGEST = 60.0, 200


def foreign(names: list[str]) -> bytes:
    """A certificate for the same name, of another authority."""
    now = dt.datetime.now(dt.UTC)
    intermediate = pki.make_intermediate(pki.make_root("elsewhere", now), "elsewhere", now)
    leaf = pki.issue(intermediate, NAME, names, now)
    return leaf.key + leaf.certificate + intermediate.certificate


def status(live: Live, port: int, certificate: Path | None, path: str = INSERT, message: str = "") -> int:
    """What the log store answers a POST from Prometheus' network."""
    where = address(live.project.deployed.allocation, "monitoring", "logs")
    row = json.dumps({"_time": dt.datetime.now(dt.UTC).isoformat(), "_msg": message, "service": NAME, "level": "info"})
    connection = NamedConnection(where, port, "logs", str(live.ca), timeout=5, certificate=str(certificate or ""))
    try:
        with live.network("prometheus"):
            connection.connect()
        connection.request("POST", path, f"{row}\n", {"Content-Type": "application/stream+json"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def put(stack: Drill, path: str, content: str) -> None:
    """Write a file in the container of the log store, and let no reader see a part of it."""
    argv = ("sh", "-c", f"mkdir -p $(dirname {path}) && cat > {path}.new && mv {path}.new {path}")
    stack.project.host.run(podman.exec_with_input(stack.name("logs"), argv), stdin=content)


@contextmanager
def running(stack: Drill, program: str, log: Path) -> Iterator[None]:
    """A program runs in the container of the log store during the block; what it has written below FOLDER is removed."""
    pid = f"{FOLDER}/{log.stem}.pid"
    started = ("sh", "-c", f"mkdir -p {FOLDER} && echo $$ > {pid} && exec timeout {LONGEST} {program}")
    try:
        with alongside(podman.exec_in(stack.name("logs"), started), log=log, env=stack.project.host.environment):
            yield
    finally:
        stack.exec("logs", "sh", "-c", f"kill $(cat {pid})", ok=None)


@contextmanager
def second_proxy(stack: Drill, folder: Path) -> Iterator[None]:
    """The proxy of the checkout with one line more, beside the one that is deployed."""
    text = (REPOSITORY / "compose" / "logs" / "proxy.conf").read_text()
    assert text.count(LAST) == 1
    text = text.replace(LAST, LAST + MORE).replace(f"listen {DEPLOYED} ssl", f"listen {DECLARED} ssl")
    put(stack, f"{FOLDER}/proxy.conf", text.replace("/tmp/", "/tmp/second-"))
    program = f"s6-setuidgid logs /usr/sbin/nginx -e stderr -c {FOLDER}/proxy.conf"
    try:
        with running(stack, program, folder / "proxy.log"):
            yield
    finally:
        stack.exec("logs", "sh", "-c", f"rm -rf {FOLDER} /tmp/second-*", ok=None)


@contextmanager
def collecting(stack: Drill, certificate: str, lines: list[str], log: Path) -> Iterator[None]:
    """The collector of the image runs during the block as one elsewhere would: over the network, with this certificate."""
    now = dt.datetime.now(dt.UTC).isoformat()
    put(stack, f"{FOLDER}/tls/tls.pem", certificate)
    put(stack, f"{FOLDER}/tls/ca.pem", (stack.project.state.ca / "root.pem").read_text())
    put(stack, f"{FOLDER}/logs/{NAME}.log", "".join(f"{now} stdout F {line}\n" for line in lines))
    put(stack, f"{FOLDER}/state/.keep", "")
    settings = {"URL": f"https://logs:{DECLARED}/insert/jsonline", "METRICS": "127.0.0.1:9499"}
    settings |= {name: f"{FOLDER}/{name.lower()}" for name in ("LOGS", "STATE", "TLS")}
    variables = " ".join(f"COLLECTOR_{name}={value}" for name, value in settings.items())
    with running(stack, f"env {variables} /usr/local/bin/collector", log):
        yield


def stored(live: Live, mark: str) -> list[str]:
    return sorted({line["_msg"] for line in live.log_lines(f'_time:10m service:{NAME} "{mark}"')})


@pytest.fixture
def own(stack: Drill, tmp_path: Path) -> Path:
    """A certificate of the project's authority for the name of a collector."""
    path = tmp_path / "own.pem"
    path.write_bytes(new_leaf(stack.project.state, stack.project.name, NAME, [NAME]))
    return path


@pytest.fixture
def others(stack: Drill, tmp_path: Path) -> list[Path | None]:
    """No certificate, one of another authority, and those of neighbours."""
    path = tmp_path / "other.pem"
    path.write_bytes(foreign([NAME]))
    return [None, path, *(stack.project.state.certs / name / TLS for name in ("prometheus", "nginx", "logs"))]


def test_as_delivered_nobody_writes_from_the_network(live: Live, own: Path, others: list[Path | None]) -> None:
    assert [status(live, DEPLOYED, one) for one in (own, *others)] == [403] * 6


def test_declared_collector_writes_with_its_certificate_and_nobody_else_does(
    stack: Drill, live: Live, own: Path, others: list[Path | None], tmp_path: Path
) -> None:
    mark, log = secrets.token_hex(8), tmp_path / "collector.log"
    with second_proxy(stack, tmp_path):
        eventually(lambda: "" if status(live, DECLARED, own, message=f"{mark} by hand") == 200 else "not taken", ARRIVES)
        assert [status(live, DECLARED, one, message=f"{mark} refused") for one in others] == [403] * 5
        assert status(live, DECLARED, own, path=QUERY) == 403, "it may write, and read nothing"
        eventually(lambda: "" if stored(live, mark) == [f"{mark} by hand"] else stored(live, mark), ARRIVES)

        lines = [f"{mark} short", f"{mark} {'x' * LONG}"]
        assert others[1] is not None
        with collecting(stack, others[1].read_text(), lines, log):
            # Lines that are refused for the certificate's sake wait for another one.
            eventually(lambda: "" if "not accepted, will retry" in log.read_text() else f"it said {log.read_text()}", ARRIVES)
            assert stored(live, mark) == [f"{mark} by hand"]
            put(stack, f"{FOLDER}/tls/tls.pem", own.read_text())
            wanted = sorted([f"{mark} by hand", *lines])
            eventually(lambda: "" if stored(live, mark) == wanted else f"it said {log.read_text()[-2000:]}", ARRIVES)
    assert status(live, DECLARED, own) == 0
