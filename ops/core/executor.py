"""The executor of plans: runs steps side by side as far as their order allows, journals each, stops at a failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Protocol

from ops.core.errors import HostLacks, OpsError
from ops.core.journal import Journal
from ops.core.plan import Plan, Step
from ops.core.process import stop_all, stopping

WORKERS = 16
"""Steps mostly wait for containers; builds limit themselves (engines/podman/images.py)."""


class Progress(Protocol):
    """Who shows what is going on: a live table on a terminal, plain lines elsewhere."""

    def started(self, step: Step) -> None: ...

    def finished(self, step: Step, seconds: float) -> None: ...

    def failed(self, step: Step, problem: BaseException) -> None:
        """problem: `ops.core.process.Ended` where the step was ended because another one failed, or by the operator."""


def run_plan(plan: Plan, perform: Callable[[Step], None], journal: Journal, progress: Progress) -> None:
    """Do every step of a plan.

    perform: does one step, raising OpsError where it fails. It is called from several threads.
    Raises the error of the first step that failed, or the operator's interrupt. No step begins after that; programs of those
    under way are ended side by side, waits end, and none of it goes on when this returns.
    """
    journal.write("begin", verb=plan.verb, steps=[step.key for step in plan.steps])
    execution = _Execution(plan, perform, journal, progress)
    problem = execution.run()
    if problem:
        # Nothing hides what has failed, a full disk least of all.
        with suppress(OSError):
            journal.write("end", verb=plan.verb, outcome="failed", why=str(problem))
        raise problem
    journal.write("end", verb=plan.verb, outcome="done", why="")


def _words(problem: OSError) -> str:
    return f"{problem.strerror}: {problem.filename}" if problem.filename else str(problem)


class _Execution:
    def __init__(self, plan: Plan, perform: Callable[[Step], None], journal: Journal, progress: Progress) -> None:
        self.waiting = {step.key: step for step in plan.steps}
        self.done: set[str] = set()
        self.perform, self.journal, self.progress = perform, journal, progress
        self.running: dict[Future[bool], Step] = {}
        self.problem: BaseException | None = None
        self.guard = threading.Lock()
        self.under_way = 0
        """Steps that have begun and not ended, whatever the pool has said of them."""

    def run(self) -> BaseException | None:
        try:
            self._through(ThreadPoolExecutor(max_workers=WORKERS))
        finally:
            # What is reverted now may run programs and wait for them.
            stopping.clear()
        if self.problem is None and self.waiting:
            self.problem = OpsError(
                f"the plan cannot go on: {', '.join(sorted(self.waiting))}", "each of these steps waits for another of them",
                "this is a defect of the plan; report it with the output of inv deploy --plan",
            )  # fmt: skip
        return self.problem

    def _through(self, pool: ThreadPoolExecutor) -> None:
        """Until every step that was begun has ended, one way or the other."""
        interrupts, ended = 0, False
        while not ended:
            try:
                if self.problem is None:
                    self._go(pool)
                if self.problem is not None:
                    stop_all(at_once=interrupts > 1)
                # Not by futures or by joining threads: an interrupt may come before the pool has returned the future of a step
                # that runs, and a join that is interrupted forgets its thread (Python 3.11). Nor by a lock that steps take:
                # an interrupt could leave it locked.
                while self.under_way:
                    time.sleep(0.05)
                pool.shutdown()
                ended = True
            except BaseException as problem:
                # The operator may interrupt this more than once. Whatever it is, the steps under way are waited for.
                interrupts += isinstance(problem, KeyboardInterrupt)
                self.problem = self.problem or problem

    def _go(self, pool: ThreadPoolExecutor) -> None:
        """Until all is done, or something has failed."""
        self._submit_ready(pool)
        while self.running:
            finished, _ = wait(self.running, return_when=FIRST_COMPLETED)
            for future in finished:
                step = self.running.pop(future)
                if future.result():
                    self.done.add(step.key)
            if self.problem is not None:
                return
            self._submit_ready(pool)

    def _submit_ready(self, pool: ThreadPoolExecutor) -> None:
        ready = [step for step in self.waiting.values() if self.done.issuperset(step.after_keys)]
        for step in ready:
            del self.waiting[step.key]
            self.running[pool.submit(self._do, step)] = step

    def _do(self, step: Step) -> bool:
        """Whether it was done."""
        threading.current_thread().name = step.key
        with self.guard:
            # More steps may be ready than there are threads: one that had to wait for a thread may come too late.
            if self.problem is not None:
                return False
            self.under_way += 1
        try:
            return self._done(step)
        finally:
            with self.guard:
                self.under_way -= 1

    def _done(self, step: Step) -> bool:
        began = time.monotonic()
        try:
            self.journal.write("step", step=step.key, title=step.title)
            self.progress.started(step)
            self.perform(step)
            self.progress.finished(step, time.monotonic() - began)
            self.journal.write("done", step=step.key, seconds=round(time.monotonic() - began, 3))
        except OSError as problem:
            refusal = HostLacks(f"cannot {step.title}", _words(problem), "inv doctor checks space and permissions")
            refusal.__cause__ = problem
            self._failed(step, refusal)
        except BaseException as problem:
            self._failed(step, problem)
        else:
            return True
        return False

    def _failed(self, step: Step, problem: BaseException) -> None:
        """Called from the step's thread: before that is free for another one, it is clear that none is to begin."""
        with self.guard:
            self.problem = self.problem or problem
            stopping.set()
        with suppress(OSError):
            self.journal.write("failed", step=step.key, why=str(problem))
        self.progress.failed(step, problem)
