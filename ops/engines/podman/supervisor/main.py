"""The health supervisor: asks every container of one project how it is and repairs what Podman's restart policy does not.

Podman runs health checks by systemd timers only, so without systemd nothing would ever notice a container that runs and
does not serve (podman#19326); with it, nothing would act. One process does both on every host. It asks over the network where
a service declares a probe, restarts what stays unhealthy, and waits longer after each attempt. It takes the project's lock for
each repair, and does not wait for it: while a command is at work, nothing is repaired.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from ops.core import files, lock, machine
from ops.core.errors import LockHeld, OpsError
from ops.core.process import Result, run
from ops.engines.podman.supervisor import firewall
from ops.engines.podman.supervisor.command import run_command
from ops.engines.podman.supervisor.health import Target, assess, is_live, recover, state_of
from ops.engines.podman.supervisor.judge import Watch, due, judge, pause_after
from ops.engines.podman.supervisor.metrics import (
    CONTAINERS,
    Crashes,
    command_metrics,
    container_list,
    container_metrics,
    read_history,
    running_seconds,
)

CALM_SECONDS = 30.0
"""Between two rounds while all is well."""
ALERT_SECONDS = 5.0
"""Between two rounds while something is not."""
EXEC_SECONDS = 60.0
"""Between two health checks that have to be executed inside a container."""
LIVE_SECONDS = 15.0
MISSING: Mapping[str, Any] = {"State": {"Status": "missing"}}
UNLOCK, UNLOCK_SECONDS = ("secrets.unlock",), 120.0
"""The command that decrypts secrets into memory, and how long it may take."""


class Check(Protocol):
    """What a feature looks at beside the health of containers. It may take minutes and is not waited for."""

    def round(self, wanted: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]], *, busy: bool) -> None:
        """Look once.

        wanted: content of supervise.json; empty while the stack is stopped on purpose. found: container -> what Podman says of
        it. busy: whether a command holds the project's lock.
        """


Say = Callable[[str], None]
"""Writes a line into the supervisor's log."""


class Supervisor:
    """`state`: the project's folder. `checks`: make the checks of features."""

    def __init__(self, state: Path, checks: Sequence[Callable[[Path, Say], Check]] = ()) -> None:
        self.state = state
        self.watches: dict[str, Watch] = {}
        self.targets: tuple[Target, ...] = ()
        self.wanted: Mapping[str, Any] = {}
        self.checks = [check(state, self.say) for check in checks]
        self.crashes = Crashes(state / "ticker" / "crashes.json")
        self.version = ""
        self.waiting = False
        """Whether all that is down is to be started at once, as soon as that can be."""
        self.stop = threading.Event()
        self.beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checks")
        self.receivers = firewall.Receivers(state, self.say)
        self.checking: Future[None] | None = None

    def podman(self, *arguments: str, timeout: float = 60.0) -> Result:
        return run(("podman", *arguments), timeout=timeout, ok=None)

    def load(self) -> None:
        """Take up the list as it is now; while the stack is stopped on purpose, nothing is watched."""
        content = json.loads((self.state / "ticker" / "supervise.json").read_text())
        self.version = content["version"]
        self.wanted = {} if (self.state / "ticker" / "stopped").exists() else content
        self.targets = tuple(Target.from_json(item) for item in self.wanted["targets"]) if self.wanted else ()

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
        down = [t.container for t in self.targets if t.container in found and running_seconds(found[t.container]) is None]
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
        asked = [
            target for target in self.targets
            if self._worth_asking(target, now) or state_of(found.get(target.container, MISSING)) != "running"
        ]  # fmt: skip
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
        self._run_checks(found)

    def _run_checks(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        """In a thread beside the health checks, one run at a time."""
        if self.checking is not None:
            if not self.checking.done():
                return
            if problem := self.checking.exception():
                self.say(f"a check failed: {type(problem).__name__}: {problem}")
        busy = lock.busy(self.state / "lock")
        self.checking = self.beside.submit(self._check_all, self.wanted, found, busy)

    def _check_all(self, wanted: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]], busy: bool) -> None:
        for check in self.checks:
            check.round(wanted, found, busy=busy)

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
        running = running_seconds(item) if item else None
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
        print(json.dumps({"at": machine.now(), "level": "warning", "message": text}), flush=True)

    def _write(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        health = {
            target.slot: {"reason": watch.reason, "since": watch.since, "mended": watch.mended}
            for target in self.targets
            for watch in (self.watches[target.slot],)
        }
        content = {"version": self.version, "at": time.time(), "pid": os.getpid(), "health": health}
        files.write(self.state / "ticker" / "health.json", json.dumps(content), durable=False)
        self.crashes.keep([target.slot for target in self.targets])
        self.crashes.write()
        # For cAdvisor: Podman's own files say the same to root only, and hold far more than that.
        files.write(self.state / "metrics" / CONTAINERS, container_list(found.values()), durable=False)
        beside = command_metrics(read_history(self.state), time.time()) + self.receivers.exposition()
        metrics = container_metrics(self.targets, self.watches, found, self.crashes) + beside
        files.write(self.state / "metrics" / "stack.prom", metrics, durable=False)

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


def main(state: Path, *, boot: bool, checks: Sequence[Callable[[Path, Say], Check]] = ()) -> None:
    """Watch until a signal ends it. `boot`: run by systemd; wait for another supervisor to end, and start what is down."""
    supervisor = Supervisor(state, checks)
    for number in (signal.SIGTERM, signal.SIGINT):
        # A handler, not a blocked mask: containers that the supervisor starts would inherit a mask.
        signal.signal(number, lambda *_: supervisor.stop.set())
    with lock.hold(state / "ticker" / "lock", "ticker", patiently=boot):
        if boot:
            supervisor.boot()
        supervisor.run()
