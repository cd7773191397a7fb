"""A client that verifies strictly, of every listener, each second."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509

from ops.certificates import facts
from ops.certificates.served.handshake import look
from ops.stack.certificates import listeners
from ops.stack.listener import Listener
from tests.drill.stack import Drill

EVERY_SECONDS = 1.0
PGBACKREST, AGAIN_SECONDS = 8432, 0.5
"""pgBackRest's server closes its port and opens it again when it reads new certificates: 0.1 s later, if a connection comes in
at that moment. Its own clients allow for that and try again to connect until a time-out."""


@dataclass
class Handshakes:
    """`made`: handshakes, `refused`: why one failed, and how often, `serials`: listener -> what it has shown, in order."""

    made: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    serials: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


def listening(stack: Drill) -> tuple[Listener, ...]:
    project = stack.project
    return listeners(project.state.root, project.stack, project.deployed.allocation, facts.leaves_of(project))


def shown(stack: Drill) -> dict[str, int]:
    """Listener -> serial that it shows to a client that verifies. Fails where one is refused."""
    found = {}
    for listener in listening(stack):
        served = look(listener, stack.pid(listener.slot))
        assert not served.refused, f"{named(listener)}: {served.refused}"
        found[named(listener)] = x509.load_der_x509_certificate(served.certificate).serial_number
    return found


def named(listener: Listener) -> str:
    return f"{listener.name} at {listener.slot}:{listener.port}"


@contextmanager
def strict_clients(stack: Drill, trusting: Sequence[Path] = ()) -> Iterator[Handshakes]:
    """Within the block, each listener is asked each second, by a client for each of these files of trusted roots."""
    result, ended, guard = Handshakes(), threading.Event(), threading.Lock()
    at, pids = listening(stack), {slot: int(item["State"]["Pid"]) for slot, item in stack.containers().items()}

    def one(listener: Listener, ca: str) -> None:
        served = look(listener, pids[listener.slot], ca)
        if listener.port == PGBACKREST and served.refused.startswith("no handshake"):
            time.sleep(AGAIN_SECONDS)
            served = look(listener, pids[listener.slot], ca)
        with guard:
            result.made += 1
            if served.refused:
                result.refused[f"{named(listener)}, trusting {Path(ca).name or 'its own'}: {served.refused}"] += 1
                return
            serial = x509.load_der_x509_certificate(served.certificate).serial_number
            if result.serials[named(listener)][-1:] != [serial]:
                result.serials[named(listener)].append(serial)

    def run() -> None:
        with ThreadPoolExecutor(max_workers=8) as pool:
            while not ended.is_set():
                began = time.monotonic()
                for listener in at:
                    for ca in map(str, trusting or [Path()]):
                        pool.submit(one, listener, "" if ca == "." else ca)
                ended.wait(max(0.05, began + EVERY_SECONDS - time.monotonic()))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield result
    finally:
        ended.set()
        thread.join()
