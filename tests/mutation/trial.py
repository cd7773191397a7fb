"""The tests of a file, collected once; for each fault, a process of its own runs those that reach the changed statement."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import random
import shutil
import signal
import sys
import tempfile
import time
import types
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.mutation.faults import Fault, faults, put_in
from tests.own_processes import guarded

ROOT = Path(__file__).parents[2]
SURVIVED, KILLED, NOT_PUT_IN = 0, 1, 3
OUTCOMES = {SURVIVED: "survived", KILLED: "killed", NOT_PUT_IN: "not put in", -signal.SIGPROF: "timeout"}
"""Of the process that tries a fault, by its exit code; one that ends in another way has noticed as well."""
PROCESSES = 2
SLOW = 1.0
"""Seconds; a test that takes longer is left out."""
PATIENCE = 10.0
"""Seconds that the tests of one fault may wait besides five times what they wait for without it."""
PR_SET_PDEATHSIG = 1


@dataclass
class Reached:
    """What the tests do without a fault. Tests are numbers in the order of their collection. Seconds of CPU, and of waiting."""

    failed: dict[int, str] = field(default_factory=dict)
    cpu: dict[int, float] = field(default_factory=dict)
    waits: dict[int, float] = field(default_factory=dict)
    by_line: dict[tuple[str, int], set[int]] = field(default_factory=lambda: defaultdict(set))

    def tests(self, file: str, lines: Iterable[int]) -> list[int]:
        """Those that reach one of these lines, the quick ones first."""
        reaching = set().union(*(self.by_line.get((file, line), set()) for line in lines))
        quick = (one for one in reaching if self.cpu[one] + self.waits[one] <= SLOW and one not in self.failed)
        return sorted(quick, key=lambda one: self.cpu[one] + self.waits[one])


class Trial:
    """A plugin of pytest that runs the collected tests once for each fault, in place of running them once.

    files: file -> names of the test files that are to notice its faults. most: no more faults than that in each file.
    report: told of each fault with its outcome and its text. ended: told of each file with the number of its faults.
    """

    def __init__(
        self, files: Mapping[str, Collection[str]], most: int, report: Callable[[Fault, str, str], None],
        ended: Callable[[str, int], None],
    ) -> None:  # fmt: skip
        self.files, self.most, self.report, self.ended = files, most, report, ended
        self.reached: Reached | None = None

    def pytest_runtestloop(self, session: Any) -> bool:
        self.reached = self._reached(session)
        gc.freeze()  # what a child never looks at, it need not copy
        gc.disable()
        for file in self.files:
            self._file(session, file, self.reached)
        return True

    def _file(self, session: Any, file: str, reached: Reached) -> None:
        modules = [one for one in list(sys.modules.values()) if getattr(one, "__file__", None) == str(ROOT / file)]
        own = {number for number, item in enumerate(session.items) if any(item.path.match(name) for name in self.files[file])}
        every = list(faults((ROOT / file).read_text(encoding="utf-8")))
        waiting = sorted(random.Random(0).sample(range(len(every)), min(self.most, len(every))))  # noqa: S311
        running: dict[int, Running] = {}
        while waiting or running:
            while waiting and len(running) < PROCESSES:
                fault = every[waiting.pop(0)]
                text = fault.render()
                tests = [one for one in reached.tests(file, fault.lines) if one in own]
                if tests:
                    running.update([_begin(fault, text, modules[0], session, tests, reached)])
                else:
                    self.report(fault, "no tests", text)
            signal.sigtimedwait([signal.SIGCHLD], 1.0)
            for number, one in list(running.items()):
                if outcome := one.outcome(number):
                    del running[number]
                    self.report(one.fault, outcome, one.text)
        self.ended(file, len(every))

    def _reached(self, session: Any) -> Reached:
        from coverage import Coverage

        def watch() -> int:
            said = Reached()
            cover = Coverage(include=[str(ROOT / file) for file in self.files], data_file=None, config_file=False)
            cover.start()
            for number, item in enumerate(session.items):
                cover.switch_context(str(number))
                began, cpu, busy = time.monotonic(), time.process_time(), _busy()
                if not _passes(item, session.items[number + 1] if number + 1 < len(session.items) else None):
                    said.failed[number] = item.nodeid
                said.cpu[number] = time.process_time() - cpu
                said.waits[number] = max(0.0, time.monotonic() - began - (_busy() - busy))
            cover.stop()
            for file in self.files:
                for line, contexts in cover.get_data().contexts_by_lineno(str(ROOT / file)).items():
                    said.by_line[file, line] = {int(one) for one in contexts if one}
            (place / "reached").write_bytes(pickle.dumps(said))
            return 0

        with tempfile.TemporaryDirectory(prefix="reached-") as folder:
            place = Path(folder)

            def child() -> int:
                _own(session, place)
                return watch()

            os.waitpid(_child(child), 0)
            found: Reached = pickle.loads((place / "reached").read_bytes())  # noqa: S301 - our own child's
            return found


@dataclass(frozen=True)
class Running:
    """A process that tries a fault. `place`: for the temporary files of the tests. `until`: when it has waited for too long."""

    fault: Fault
    text: str
    place: Path
    until: float

    def outcome(self, number: int) -> str:
        """Empty while it is under way."""
        done, status = os.waitpid(number, os.WNOHANG)
        late = not done and time.monotonic() > self.until and not _computes(number)
        if late:
            os.killpg(number, signal.SIGKILL)
            os.waitpid(number, 0)
        if not (done or late):
            return ""
        shutil.rmtree(self.place, ignore_errors=True)
        return "timeout" if late else OUTCOMES.get(os.waitstatus_to_exitcode(status), "killed")


def _begin(
    fault: Fault, text: str, module: types.ModuleType, session: Any, tests: list[int], reached: Reached
) -> tuple[int, Running]:
    place = Path(tempfile.mkdtemp(prefix="fault-"))
    until = time.monotonic() + PATIENCE + 5 * sum(reached.waits[one] for one in tests)

    def child() -> int:
        try:
            put_in(fault, text, module)
        except Exception:
            return NOT_PUT_IN
        _own(session, place)
        for index, number in enumerate(tests):
            signal.setitimer(signal.ITIMER_PROF, 0.5 + 10 * reached.cpu[number])  # ends it; a fault may make it loop for ever
            if not _passes(session.items[number], session.items[tests[index + 1]] if index + 1 < len(tests) else None):
                return KILLED
        return SURVIVED

    return _child(child), Running(fault, text, place, until)


def _busy() -> float:
    """Seconds that this thread has run or waited for a processor (proc(5), schedstat)."""
    ran, queued, _ = Path("/proc/thread-self/schedstat").read_text().split()
    return (int(ran) + int(queued)) / 1e9


def _computes(number: int) -> bool:
    """Whether one of its threads runs, or would if it had a processor."""
    with suppress(OSError):
        return any(
            stat.read_text().rpartition(")")[2].split()[0] == "R" for stat in Path(f"/proc/{number}/task").glob("*/stat")
        )
    return False


def _child(do: Callable[[], int]) -> int:
    """Its number. It ends with what `do` returns."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    number = os.fork()
    if number:
        return number
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
    os.setpgid(0, 0)
    end_with_parent()
    # A fault may aim a signal at every process of the machine. It counts as noticed then, and reaches none.
    real_exit = os._exit
    os.kill, os.killpg = (guarded(send, lambda: real_exit(KILLED)) for send in (os.kill, os.killpg))
    code = KILLED
    try:
        quiet = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(quiet, descriptor)
        code = do()
    finally:
        os._exit(code)


def end_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _own(session: Any, place: Path) -> None:
    """Temporary files of the tests lie here."""
    session.config._tmp_path_factory._basetemp = place


def _passes(item: Any, following: Any) -> bool:
    from _pytest.runner import runtestprotocol

    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=following))
