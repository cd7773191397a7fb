"""The long-running process: looks at the repository once a minute, runs what is due, answers over HTTP."""

import signal
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime

from . import jobs, journal, repository
from .log import log
from .schedule import next_job
from .server import make_server
from .settings import Settings
from .state import State

TICK = 5
LOOK_EVERY = 60


class Scheduler:
    def __init__(self, settings: Settings) -> None:
        now = datetime.now(UTC)
        self._settings = settings
        self._look_lock = threading.Lock()
        self._state = State(now, now, repository.observe(), journal.read(), None)

    def view(self) -> State:
        return self._state

    def look(self) -> None:
        with self._look_lock:
            seen = repository.observe()
            self._state = replace(self._state, seen=datetime.now(UTC), repository=seen, journal=journal.read())

    def look_forever(self) -> None:
        stop = threading.Event()
        while not stop.wait(LOOK_EVERY):
            try:
                self.look()
            except Exception as error:  # a view that grows stale turns /health red: the thread must go on
                log("ERROR", "looking at the repository failed", error=repr(error))

    def work_forever(self) -> None:
        idle = threading.Event()
        while True:
            state = self._state
            job = next_job(self._settings, state.done, state.journal, datetime.now(UTC))
            if job and jobs.reachable(job):
                self._state = replace(state, running=job)
                jobs.run(job, self._settings)
                self._state = replace(self._state, running=None)
                self.look()
            elif journal.read() != state.journal:
                self.look()  # somebody ran a job by hand
            else:
                idle.wait(TICK)


def serve(settings: Settings) -> None:
    # As an exception it passes through a running job, which then stops its child.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    scheduler = Scheduler(settings)
    server = make_server(scheduler.view, settings)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    threading.Thread(target=scheduler.look_forever, daemon=True).start()
    log("INFO", "scheduler started")
    scheduler.work_forever()
