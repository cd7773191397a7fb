"""The long-running process: looks at the repository once a minute, runs what is due, answers over HTTP."""

import contextlib
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from . import jobs, journal, observe
from .errors import JobError
from .journal import Entry
from .log import log
from .paths import CIPHER, HOST
from .repositories import LOCAL, Repository
from .schedule import after_absence, due, next_job, offset, settled
from .server import make_server
from .sets import HOST_ARCHIVE
from .settings import Settings
from .state import State

TICK = 5
LOOK_EVERY = 60


class Scheduler:
    def __init__(self, settings: Settings, repositories: Sequence[Repository]) -> None:
        now = datetime.now(UTC)
        self._settings = settings
        self._repositories = repositories
        self._late = offset(CIPHER.read_text(), settings.sets.jitter)
        self._look_lock = threading.Lock()
        # Nothing is known yet, and it may take a minute to ask a server that does not answer: /health must answer before.
        self._state = State(now, now, observe.Seen(), journal.read(), None)
        self._looked = False

    def view(self) -> State:
        """`running` also tells of a job that somebody runs by hand."""
        state = self._state
        return replace(state, running="by hand") if not state.running and jobs.busy() else state

    def look(self, *, everywhere: bool) -> None:
        with self._look_lock:
            known = journal.read()
            # Whoever comes first after a job looks at what that has changed, beyond this host as well.
            anew = everywhere or known != self._state.journal
            seen = observe.look(self._repositories, self._state.seen if self._looked else None, everywhere=anew)
            self._state = replace(self._state, seen_at=datetime.now(UTC), seen=seen, journal=known)
            self._looked = True

    def look_forever(self) -> None:
        stop = threading.Event()
        while not stop.wait(LOOK_EVERY):
            try:
                self.look(everywhere=False)
            except Exception as error:  # a view that grows stale turns /health red: the thread must go on
                log("ERROR", "looking at the repository failed", error=repr(error))

    def _next(self) -> str | None:
        state, now = self._state, datetime.now(UTC)
        further = [place for place in state.seen.places.values() if place.name != LOCAL]
        remote = any(place.snapshots for place in further)
        read = state.journal.get("verify-remote", Entry())
        done = after_absence(state.done(now), read, away=any(place.away for place in further))
        ready = settled(self._settings, state.started, now, handed_over=(HOST / HOST_ARCHIVE).exists())
        wanted = due(self._settings, done, now, self._late, remote=remote, ready=ready)
        return next_job(wanted, state.journal, now)

    def work_forever(self) -> None:
        idle = threading.Event()
        self.look(everywhere=True)
        while True:
            job = self._next()
            if job and jobs.reachable(job):
                self._state = replace(self._state, running=job)
                jobs.run(job, jobs.scheduled(job, self._repositories))
                self._state = replace(self._state, running=None)
                self.look(everywhere=True)
            elif journal.read() != self._state.journal:
                self.look(everywhere=True)  # somebody ran a job by hand
            else:
                idle.wait(TICK)


def serve(settings: Settings, repositories: Sequence[Repository]) -> None:
    # As an exception it passes through a running job, which then stops its child.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # Unless a job runs that was started by hand.
    try:
        with contextlib.suppress(JobError), jobs.job_lock(0):
            jobs.clean()
    except OSError as error:
        # The next job tries again, and fails where it cannot either.
        log("ERROR", "what a killed job has left stays, and holds data in the clear", error=str(error))
    scheduler = Scheduler(settings, repositories)
    server = make_server(scheduler.view, settings)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    log("INFO", "scheduler started", repositories=[one.name for one in repositories])
    threading.Thread(target=scheduler.look_forever, daemon=True).start()
    scheduler.work_forever()
