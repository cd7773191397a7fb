"""The one executor: runs a plan's steps side by side as far as their order allows, journals each, stops at a failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Protocol

from ops.errors import HostLacks, OpsError
from ops.machine.journal import Journal
from ops.machine.run import stop_all
from ops.machine.wait import interrupted
from ops.model import Plan, Step

WORKERS = 16
"""Steps mostly wait for containers; builds limit themselves (machine/images.py)."""


class Progress(Protocol):
    """Who shows what is going on: a live table on a terminal, plain lines elsewhere."""

    def started(self, step: Step) -> None: ...

    def finished(self, step: Step, seconds: float) -> None: ...

    def failed(self, step: Step, problem: BaseException) -> None: ...


def apply(plan: Plan, perform: Callable[[Step], None], journal: Journal, progress: Progress) -> None:
    """Do every step of a plan.

    Parameters
    ----------
    perform: does one step, raising OpsError where it fails. It is called from several threads.

    Raises the error of the first step that failed, after the steps then under way have ended.
    """
    journal.write("begin", verb=plan.verb, steps=[step.key for step in plan.steps])
    execution = _Execution(plan, perform, journal, progress)
    problem = execution.run()
    journal.write("end", verb=plan.verb, outcome="failed" if problem else "done", why=str(problem) if problem else "")
    if problem:
        raise problem


def _words(problem: OSError) -> str:
    return f"{problem.strerror}: {problem.filename}" if problem.filename else str(problem)


class _Execution:
    def __init__(self, plan: Plan, perform: Callable[[Step], None], journal: Journal, progress: Progress) -> None:
        self.waiting = {step.key: step for step in plan.steps}
        self.done: set[str] = set()
        self.perform, self.journal, self.progress = perform, journal, progress
        self.running: dict[Future[None], Step] = {}
        self.problem: BaseException | None = None

    def run(self) -> BaseException | None:
        with ThreadPoolExecutor(max_workers=WORKERS) as pool:
            try:
                self._submit_ready(pool)
                while self.running:
                    finished, _ = wait(self.running, return_when=FIRST_COMPLETED)
                    for future in finished:
                        self._collect(future)
                    if self.problem is None:
                        self._submit_ready(pool)
            except KeyboardInterrupt as interrupt:
                self.problem = interrupt
                interrupted.set()
                stop_all()
        # What is put back after an interrupt is waited for.
        interrupted.clear()
        if self.problem is None and self.waiting:
            self.problem = OpsError(
                f"the plan cannot go on: {', '.join(sorted(self.waiting))}", "each of these steps waits for another of them",
                "this is a defect of the plan; report it with the output of inv deploy --plan",
            )  # fmt: skip
        return self.problem

    def _submit_ready(self, pool: ThreadPoolExecutor) -> None:
        ready = [step for step in self.waiting.values() if self.done.issuperset(step.after)]
        for step in ready:
            del self.waiting[step.key]
            self.running[pool.submit(self._do, step)] = step

    def _do(self, step: Step) -> None:
        threading.current_thread().name = step.key
        self.journal.write("step", step=step.key, title=step.title)
        self.progress.started(step)
        began = time.monotonic()
        try:
            self.perform(step)
        except OSError as problem:
            raise HostLacks(f"cannot {step.title}", _words(problem), "inv doctor looks at space and permissions") from problem
        self.progress.finished(step, time.monotonic() - began)
        self.journal.write("done", step=step.key, seconds=round(time.monotonic() - began, 3))

    def _collect(self, future: Future[None]) -> None:
        step = self.running.pop(future)
        problem = future.exception()
        if problem is None:
            self.done.add(step.key)
            return
        self.progress.failed(step, problem)
        self.journal.write("failed", step=step.key, why=str(problem))
        if self.problem is None:
            self.problem = problem
