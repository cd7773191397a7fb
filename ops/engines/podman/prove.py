"""Proof that a container does what its users need: it stays up, answers its own check, and answers through nginx."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ops.core.errors import NeedsPerson, OpsError
from ops.core.process import until
from ops.engines.engine import Line, Proof
from ops.engines.podman.host import Host
from ops.engines.podman.logs import read
from ops.engines.podman.observe import run_healthcheck
from ops.engines.podman.supervisor.health import Target, assess, network_of
from ops.engines.podman.supervisor.metrics import epoch
from ops.stack.contract import PAGE, Steady

SLOT_PORT = 8082
"""Where nginx, on its own loopback, passes a request to one container alone (config/nginx/slots.conf)."""
SMOKE_SECONDS = 5.0
LAST_LINES = 8
LINE_LENGTH = 200
LOG_BYTES = 1 << 16


class Ended(OpsError):
    """A container that must not end has ended, or answers what waiting does not change."""


class Prover:
    """Answers, again and again, why a container is not good yet. Podman is asked only when the main process is another one."""

    def __init__(self, host: Host, proof: Proof, target: Target, edge: str) -> None:
        self.host, self.proof, self.target, self.edge = host, proof, target, edge
        self.check = run_healthcheck(host)
        self.known: Mapping[str, Any] = {}
        self.edge_pid = 0
        self.good_since = 0.0
        self.began = time.time()
        self.blamed = ""
        """The last error that it told of, once `said` has looked."""
        self.holder: Mapping[str, Any] = {}
        self.steady = Steady()

    def __call__(self) -> str:
        self._look()
        if self.proof.once:
            self._refuse_an_end()
        reason = assess(self.target, self.known or None, self.check, self.holder)
        if not reason and self.proof.smoke:
            reason = self._through_nginx(self.proof.smoke)
        if reason:
            self.good_since = 0.0
            return reason
        self.good_since = self.good_since or time.monotonic()
        left = self.proof.settle - (time.monotonic() - self.good_since)
        return f"it is good, and is watched for {left:.0f} s more" if left > 0 else ""

    def said(self) -> list[str]:
        """Its last lines of this start; of one that logs JSON, what it called an error, which a restart has left behind."""
        lines = list(read(self.host.state.logs, lambda log: log == self.proof.slot, LOG_BYTES))
        since = str(self.known.get("State", {}).get("StartedAt", ""))
        found = self.proof.errors(lines, self.began)
        self.blamed = found[-1][:LINE_LENGTH] if found else ""
        return [line[:LINE_LENGTH] for line in (found or said_since(lines, since))[-LAST_LINES:]]

    def _look(self) -> None:
        if not _exists(self.known.get("State", {}).get("Pid")):
            self.known = _inspect(self.host, self.target.container)
        if self.target.holder and not _exists(self.holder.get("State", {}).get("Pid")):
            self.holder = _inspect(self.host, self.target.holder)

    def _refuse_an_end(self) -> None:
        state = self.known.get("State", {})
        restarts = int(self.known.get("RestartCount", 0))
        if restarts or state.get("Status") in ("exited", "stopped", "dead"):
            code = state.get("ExitCode", "?")
            how = (
                "killed for lack of memory" if state.get("OOMKilled") else f"exit code {code}" if not restarts else "restarted"
            )
            raise Ended(f"{self.proof.slot} did not stay up", f"its process ended ({how})", "")

    def _through_nginx(self, path: str) -> str:
        if not _exists(self.edge_pid):
            self.edge_pid = int(_inspect(self.host, self.edge).get("State", {}).get("Pid") or 0)
        status, reason = ask_through_nginx(self.edge_pid, self.proof.slot, path)
        if self.steady.refuses(status):
            raise Ended(
                f"{self.proof.slot} does not fulfil the row `smoke` of {PAGE}", reason,
                "prober.get in config/stack.yaml names a path of the backend that answers 2xx without a token; "
                "inv app.check DIR tries every row",
            )  # fmt: skip
        return reason


def ask_through_nginx(edge_pid: int, slot: str, path: str) -> tuple[int, str]:
    """Ask one container through nginx: the status, 0 where there is none, and why that failed, or nothing.

    edge_pid: a process of nginx.
    """
    connection = http.client.HTTPConnection("127.0.0.1", SLOT_PORT, timeout=SMOKE_SECONDS)
    try:
        with network_of(edge_pid):
            connection.connect()
        connection.request("GET", f"/{slot}{path}", headers={"User-Agent": "cc03-smoke"})
        answer = connection.getresponse()
        body = " ".join(answer.read(300).decode(errors="replace").split())
    except (OSError, http.client.HTTPException) as problem:
        return 0, f"through nginx, {path}: {str(problem) or type(problem).__name__}"
    finally:
        connection.close()
    good = 200 <= answer.status < 300
    return answer.status, "" if good else f"through nginx, {path}: HTTP {answer.status} {body}"[:240]


def _exists(pid: object) -> bool:
    return bool(pid) and Path(f"/proc/{pid}").exists()


def _inspect(host: Host, name: str) -> Mapping[str, Any]:
    answer = host.run(("podman", "container", "inspect", name), ok=None)
    return dict(json.loads(answer.stdout)[0]) if answer.returncode == 0 else {}


def prove(host: Host, proof: Proof, target: Target, edge: str, report: Callable[[str], None]) -> None:
    """Wait until a container is good.

    edge: name of nginx' container. report: told what is still missing.
    Raises NeedsPerson once the deadline is over, or at once where the container has ended and must not.
    """
    prover = Prover(host, proof, target, edge)

    def ask() -> str:
        reason = prover()
        report(reason)
        return reason

    next_step = f"inv logs {target.service} --since 10m; then inv deploy, which continues from here"
    try:
        # A question over the network costs next to nothing; a health check that is executed costs 143 ms of CPU.
        reason = until(ask, proof.deadline, longest_pause=0.3 if target.probe else 1.0)
    except Ended as ended:
        said = prover.said()
        why = f"{ended.why}: {prover.blamed}" if prover.blamed else ended.why
        raise NeedsPerson(ended.what, why, ended.next_step or next_step, said) from None
    if reason:
        raise NeedsPerson(f"{proof.slot} is not healthy after {proof.deadline} s", reason, next_step, prover.said())


def heals(host: Host, slot: str, target: Target, patience: int) -> bool:
    """Whether a container becomes healthy by itself within so many seconds, as what it lacked is there by now."""
    prover = Prover(host, Proof(slot), target, "")
    return not until(prover, patience, longest_pause=0.3 if target.probe else 1.0)


def said_since(lines: Iterable[Line], since: str) -> list[str]:
    """What a container has said since then.

    since: time as Podman writes it; whole seconds are compared.
    """
    return [line.text for line in lines if _second(line.at) >= _second(since)]


def _second(stamp: str) -> float:
    try:
        return epoch(stamp)
    except ValueError:
        return 0.0
