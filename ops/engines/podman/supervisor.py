"""The health ticker: watches every container of one project and mends what Podman's restart policy does not.

    python3 -m ops.engines.podman.supervisor STATE

Podman runs health checks by systemd timers only, so without systemd nothing would ever notice a container that runs and
does not serve (podman#19326); with it, nothing would act. One process does both on every host. It asks over the network where
a service declares a probe, restarts what stays unhealthy, and waits longer after each attempt. It takes the project's lock for
each repair, and does not wait for it: while a command is at work, nothing is repaired.
Standard library only; it runs from a copy in the state folder.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ops.certificates.renewing import run_command
from ops.certificates.watch import CertificateWatch
from ops.certificates.wire import Listener
from ops.core import lock
from ops.core.errors import LockHeld, OpsError
from ops.core.process import Result, run
from ops.engines.podman import firewall, history
from ops.engines.podman.crashes import Crashes
from ops.engines.podman.dead_monitor import recover
from ops.engines.podman.health import Target, assess, is_live, state_of

CALM_SECONDS = 30.0
"""Between two rounds while all is well."""
ALERT_SECONDS = 5.0
"""Between two rounds while something is not."""
EXEC_SECONDS = 60.0
"""Between two health checks that have to be executed inside a container."""
FAILURES = 3
"""Rounds in a row that a container may fail before it is restarted."""
BUSY_SECONDS, RECOVERY_SECONDS = 300.0, 1800.0
"""How long a container that answers its liveness probe may be not ready before it is restarted all the same; the second for one
that has a program for it, a database that recovers."""
LIVE_SECONDS = 15.0
LONGEST_PAUSE = 600.0
"""Seconds that repeated restarts of one container are kept apart at most."""
UNLOCK, UNLOCK_SECONDS = ("secrets.unlock",), 120.0
"""The command that decrypts secrets into memory, and how long it may take."""
CONTAINERS = "containers.json"
"""Name of the list of containers among the metrics."""


@dataclass
class Watch:
    """What is known of one container from round to round. Times are seconds of the monotonic clock, `since` of the epoch."""

    reason: str = "not yet asked"
    since: float = 0.0
    failures: int = 0
    not_ready_since: float | None = None
    asked: float = float("-inf")
    mended: int = 0
    next_mend: float = 0.0
    told_podman: str = ""


def pause_after(attempts: int) -> float:
    """Seconds to leave a container alone after that many restarts: 30, 60, 120 … at most ten minutes."""
    return float(min(LONGEST_PAUSE, 30.0 * 2 ** max(0, attempts - 1)))


def judge(watch: Watch, reason: str, now: float, wall: float, *, live: bool = False) -> None:
    """Take up one answer: empty means healthy. `live`: a container that is not ready answers its liveness probe."""
    if bool(reason) != bool(watch.reason) or not watch.since:
        watch.since = wall
    watch.reason = reason
    watch.failures = watch.failures + 1 if reason and not live else 0
    if not reason:
        watch.not_ready_since = None
    elif watch.not_ready_since is None:
        watch.not_ready_since = now
    if not reason and now > watch.next_mend + LONGEST_PAUSE:
        watch.mended = 0


def due(watch: Watch, target: Target, running_seconds: float | None, now: float, ill: Collection[str] = ()) -> str:
    """What to do about a container now: `start`, `restart` or nothing.

    Parameters
    ----------
    running_seconds: how long its main process has been running; None when it does not run. ill: services that do not do what
    their users need. Who needs one of them is not restarted: it cannot get better by that, and may still be of some use.
    """
    patience = RECOVERY_SECONDS if target.live.startswith("/") else BUSY_SECONDS
    not_ready = 0.0 if watch.not_ready_since is None else now - watch.not_ready_since
    if not watch.reason or now < watch.next_mend or (watch.failures < FAILURES and not_ready < patience):
        return ""
    if running_seconds is None:
        return "start"
    return "restart" if running_seconds > target.start_seconds and not set(target.needs).intersection(ill) else ""


class Ticker:
    def __init__(self, state: Path) -> None:
        self.state = state
        self.watches: dict[str, Watch] = {}
        self.targets: tuple[Target, ...] = ()
        self.listeners: tuple[Listener, ...] = ()
        self.certificates = CertificateWatch(state, self.say)
        self.crashes = Crashes(state / "ticker" / "crashes.json")
        self.version = ""
        self.waiting = False
        """Whether all that is down is to be started at once, as soon as that can be."""
        self.stop = threading.Event()
        self.beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="certificates")
        self.receivers = firewall.Receivers(state, self.say)
        self.renewal: Future[None] | None = None

    def podman(self, *arguments: str, timeout: float = 60.0) -> Result:
        return run(("podman", *arguments), timeout=timeout, ok=None)

    def load(self) -> None:
        """Take up the list as it is now; while the stack is stopped on purpose, nothing is watched."""
        content = json.loads((self.state / "ticker" / "supervise.json").read_text())
        self.version = content["version"]
        stopped = (self.state / "ticker" / "stopped").exists()
        self.targets = () if stopped else tuple(Target.from_json(item) for item in content["targets"])
        # A release of before there were any has none.
        self.listeners = () if stopped else tuple(Listener.from_json(item) for item in content.get("listeners", ()))

    def boot(self) -> None:
        """After a boot nothing runs: start everything at once, in the list's order, instead of noticing one by one."""
        self.load()
        self.waiting = True
        self.keep_filter()
        self.ready()

    def keep_filter(self) -> None:
        """Load the packet filter again where the kernel has lost it; not while a command, which does so itself, is at work."""
        try:
            if not lock.busy(self.state / "lock") and firewall.ensure(self.state):
                self.say("the packet filter of the published network was gone or altered, and has been loaded again")
        except OpsError as problem:
            self.say(f"{problem.what}: {problem.why}")

    def ready(self) -> bool:
        """Whether containers can be started. Where secrets are encrypted at rest, a boot has emptied the memory that has them:
        the checkout decrypts them, if their key is there, and then everything is started that waited for it."""
        if self.targets and _locked(self.state / "secrets"):
            self.waiting = True
            if not self._unlock():
                return False
        if self.waiting:
            try:
                with lock.hold(self.state / "lock", lock.SUPERVISOR):
                    self._start_all()
                self.waiting = False
            except LockHeld:
                # A command starts what it needs; the rest is looked at in the next round.
                return True
        return True

    def _unlock(self) -> bool:
        try:
            run_command(self.state, UNLOCK, UNLOCK_SECONDS)
        except (OpsError, OSError, KeyError) as problem:
            self.say(f"nothing can start: {getattr(problem, 'why', '') or problem}")
            return False
        return True

    def _start_all(self) -> None:
        found = self.inspect()
        down = [t.container for t in self.targets if t.container in found and _running_seconds(found[t.container]) is None]
        if down:
            for name in down:
                recover(name, self.podman)
            self.say(f"starting after boot: {', '.join(down)}")
            self.podman("start", *down, timeout=300.0)

    def inspect(self) -> dict[str, Mapping[str, Any]]:
        if not self.targets:
            return {}
        answer = self.podman("container", "inspect", *(target.container for target in self.targets))
        found = json.loads(answer.stdout or "[]")
        return {item["Name"]: item for item in found}

    def check(self, container: str) -> str:
        answer = self.podman("healthcheck", "run", container)
        return "" if answer.returncode == 0 else "its health check fails"

    def round(self) -> None:
        """Ask every container once, mend what is due, write down what was found."""
        found = self.inspect()
        for target in self.targets:
            if target.container in found:
                self.crashes.observe(target.slot, found[target.container])
        now = time.monotonic()
        asked = [target for target in self.targets if self._worth_asking(target, now)]
        with ThreadPoolExecutor(max_workers=4) as pool:
            answers = list(pool.map(lambda target: self._assess(target, found), asked))
        for target, (reason, live) in zip(asked, answers, strict=True):
            watch = self.watches.setdefault(target.slot, Watch())
            watch.asked = now
            judge(watch, reason, now, time.time(), live=live)
            self._tell_podman(target, watch)
        ill = {target.service for target in self.targets if self.watches[target.slot].reason}
        for target in self.targets:
            self._mend(target, found.get(target.container), now, ill)
        self._write(found)
        self._watch_certificates(found)

    def _watch_certificates(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        """Beside the health checks: a renewal may take minutes, and an issuer may not answer."""
        if self.renewal is not None:
            if not self.renewal.done():
                return
            if problem := self.renewal.exception():
                self.say(f"the watch of certificates failed: {type(problem).__name__}: {problem}")
        busy = lock.busy(self.state / "lock")
        self.renewal = self.beside.submit(self.certificates.round, self.listeners, found, busy=busy)

    def _assess(self, target: Target, found: Mapping[str, Mapping[str, Any]]) -> tuple[str, bool]:
        """Why a container is not healthy, and whether it is live nevertheless."""
        container = found.get(target.container)
        reason = assess(target, container, self.check, found.get(target.holder))
        return reason, bool(reason) and is_live(target, container, self._succeeds)

    def _succeeds(self, container: str, program: str) -> bool:
        return self.podman("exec", container, program, timeout=LIVE_SECONDS).returncode == 0

    def _worth_asking(self, target: Target, now: float) -> bool:
        watch = self.watches.setdefault(target.slot, Watch())
        return target.probe is not None or bool(watch.reason) or now - watch.asked >= EXEC_SECONDS - 1

    def _tell_podman(self, target: Target, watch: Watch) -> None:
        """Where the verdict came over the network, Podman's own status is brought up to date once per change."""
        verdict = "unhealthy" if watch.reason else "healthy"
        if target.probe is not None and watch.told_podman != verdict:
            self.podman("healthcheck", "run", target.container)
            watch.told_podman = verdict

    def _mend(self, target: Target, item: Mapping[str, Any] | None, now: float, ill: Collection[str]) -> None:
        watch = self.watches[target.slot]
        running = _running_seconds(item) if item else None
        if set(target.needs).intersection(ill):
            # It becomes ready some time after what it needs, not at once.
            watch.not_ready_since = now
        action = due(watch, target, running, now, ill) if item else ""
        if not item or not action:
            return
        try:
            with lock.hold(self.state / "lock", lock.SUPERVISOR):
                if self._still_ill(target):
                    if action == "start":
                        self.crashes.ended(target.slot, item)
                    self._act(target, watch, action, now)
        except LockHeld:
            # A command has begun since this round did: the container is its business.
            return

    def _still_ill(self, target: Target) -> bool:
        """Whether it is, now that nobody else can mend it: a command may have done so since it was asked."""
        found = self.inspect()
        return target.container in found and bool(self._assess(target, found)[0])

    def _act(self, target: Target, watch: Watch, action: str, now: float) -> None:
        watch.mended += 1
        watch.next_mend = now + pause_after(watch.mended)
        watch.failures, watch.not_ready_since = 0, None
        self.say(f"{action} {target.slot}, attempt {watch.mended}: {watch.reason}")
        recover(target.container, self.podman)
        grace = ("--time", str(target.grace)) if action == "restart" else ()
        answer = self.podman(action, *grace, target.container, timeout=target.grace + 60.0)
        if answer.returncode:
            self.say(f"{action} {target.slot} failed: {answer.last_words()}")

    def say(self, text: str) -> None:
        print(json.dumps({"at": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "level": "warning", "message": text}), flush=True)

    def _write(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        health = {
            target.slot: {"reason": watch.reason, "since": watch.since, "mended": watch.mended}
            for target in self.targets
            for watch in (self.watches[target.slot],)
        }
        content = {"version": self.version, "at": time.time(), "pid": os.getpid(), "health": health}
        _replace(self.state / "ticker" / "health.json", json.dumps(content))
        self.crashes.keep([target.slot for target in self.targets])
        self.crashes.write()
        # For cAdvisor: Podman's own files say the same to root only, and hold far more than that.
        _replace(self.state / "metrics" / CONTAINERS, container_list(found.values()))
        beside = history.exposition(history.read(self.state), time.time()) + self.receivers.exposition()
        _replace(self.state / "metrics" / "stack.prom", exposition(self.targets, self.watches, found, self.crashes) + beside)

    def run(self) -> None:
        """Until stopped by a signal, or replaced: a new list under another version makes this process read it again."""
        while not self.stop.is_set():
            began = time.monotonic()
            try:
                self.load()
                self.keep_filter()
                self.receivers.round()
                if self.ready():
                    self.round()
            except (OpsError, OSError, ValueError, KeyError) as problem:
                self.say(f"this round failed: {type(problem).__name__}: {problem}")
            troubled = any(watch.reason for watch in self.watches.values())
            self._wait(began + (ALERT_SECONDS if troubled else CALM_SECONDS))

    def _wait(self, until: float) -> None:
        self.stop.wait(max(0.0, until - time.monotonic()))


def _locked(secrets: Path) -> bool:
    """Whether secrets are in memory, and not there. What another account has put in their place does not count."""
    if not secrets.is_symlink():
        return False
    place = secrets.readlink().parent.parent
    return not secrets.exists() or place.is_symlink() or place.stat().st_uid != os.geteuid()


def _running_seconds(item: Mapping[str, Any]) -> float | None:
    if state_of(item) != "running":
        return None
    return time.time() - epoch(str(item["State"]["StartedAt"]))


def epoch(stamp: str) -> float:
    """Podman writes 2026-01-31T12:00:00.123456789Z or with an offset; whole seconds are enough here."""
    return datetime.fromisoformat(re.sub(r"\.\d+", "", stamp)).timestamp()


def _replace(path: Path, content: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(content)
    fresh.chmod(0o644)
    fresh.replace(path)


def container_list(items: Iterable[Mapping[str, Any]]) -> str:
    """What cAdvisor reads of what `podman container inspect` says."""
    return json.dumps(list(map(measured, items)))


def measured(item: Mapping[str, Any]) -> dict[str, Any]:
    """What cAdvisor needs to know of a container: compose/cadvisor/src/libpod.go reads it."""
    state = item["State"]
    return {
        "id": item["Id"], "name": item["Name"], "image": item["ImageName"],
        "pid": int(state.get("Pid") or 0), "started": int(epoch(str(state["StartedAt"]))),
    }  # fmt: skip


def exposition(
    targets: tuple[Target, ...], watches: Mapping[str, Watch], found: Mapping[str, Mapping[str, Any]], crashes: Crashes
) -> str:  # fmt: skip
    """What was found, in Prometheus' text format, for node_exporter's textfile collector."""
    lines = [
        "# HELP cc03_container_healthy Whether the container does what its users need.",
        "# TYPE cc03_container_healthy gauge",
        "# HELP cc03_container_crashes_total Ends of its main process that nobody ordered.",
        "# TYPE cc03_container_crashes_total counter",
        "# HELP cc03_container_info Maps a container's id, as its cgroup is named, to its service.",
        "# TYPE cc03_container_info gauge",
        "# HELP cc03_ticker_last_round_timestamp_seconds When the health ticker last asked.",
        "# TYPE cc03_ticker_last_round_timestamp_seconds gauge",
        f"cc03_ticker_last_round_timestamp_seconds {time.time():.0f}",
    ]
    for target in targets:
        labels = f'service="{target.service}",replica="{target.slot}",name="{target.container}"'
        watch = watches[target.slot]
        item = found.get(target.container)
        lines.append(f"cc03_container_healthy{{{labels}}} {int(not watch.reason)}")
        lines.append(f"cc03_container_crashes_total{{{labels}}} {crashes.total(target.slot)}")
        if item:
            lines.append(f'cc03_container_info{{{labels},container_id="{item["Id"]}"}} 1')
    return "\n".join(lines) + "\n"


def main(state: Path, *, boot: bool) -> None:
    """Watch until told to stop. `boot`: run by systemd, which waits for another ticker to end and starts what is down."""
    ticker = Ticker(state)
    for number in (signal.SIGTERM, signal.SIGINT):
        # A handler, not a blocked mask: containers that the ticker starts would inherit a mask.
        signal.signal(number, lambda *_: ticker.stop.set())
    with lock.hold(state / "ticker" / "lock", "ticker", patiently=boot):
        if boot:
            ticker.boot()
        ticker.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), boot="--boot" in sys.argv[2:])
