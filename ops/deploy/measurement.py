"""The prober beside a deploy: started, read, ended. What goes wrong with it is noted, and never stops the deploy."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.core import files
from ops.core.errors import OpsError
from ops.core.machine import REPOSITORY
from ops.core.process import alongside, tail, until
from ops.core.state import State
from ops.deploy.measure import Sample, parse
from ops.stack.compose import placeholders
from ops.stack.settings import Settings

LOOPBACK = "127.0.0.1"
START_SECONDS = 10.0
"""A loaded host takes seconds to start Python; after this long the deploy goes on unmeasured."""
PATHS = ("get", "post", "websocket", "download")


@dataclass
class Measurement:
    """What the prober has seen so far."""

    out: Path
    note: str = ""
    """Why there is nothing, or not everything; empty when all is well."""
    _ended: Callable[[], int | None] | None = None
    _log: Path | None = None

    @property
    def samples(self) -> tuple[Sample, ...]:
        """Every request that has ended, oldest first; may be read at any time."""
        if self._ended is None:
            return ()
        try:
            return parse(self.out.read_text(encoding="utf-8"))
        except OSError:
            return ()

    def baseline(self, seconds: float) -> None:
        """Wait until it has asked for that many seconds, so that there is something to compare with; returns at once
        where nothing is measured, and gives up START_SECONDS later."""

        def missing() -> str:
            if self._ended is None or self._ended() is not None:
                return ""
            first = min((sample.at for sample in self.samples), default=time.time())
            return "" if time.time() - first >= seconds else "not long enough yet"

        until(missing, seconds + START_SECONDS, longest_pause=0.3)

    def _look(self) -> None:
        """Note what is missing, before the prober is ended."""
        if self._ended is None or self._log is None:
            return
        code = self._ended()
        if code == 0:
            self.note = "measured in part: the prober reached its time limit before the deploy ended"
        elif code is not None:
            self.note = f"measured in part: the prober ended with exit code {code}: {_words(self._log)}"


def _words(log: Path) -> str:
    try:
        return tail(log)
    except OSError as problem:
        return str(problem)


def prober_config(settings: Settings, ports: Mapping[str, int], state: State, seconds: float) -> dict[str, Any]:
    """The prober's configuration (ops/deploy/prober.py, Config): the site as its users reach it, on this host.

    seconds: after which it ends by itself.
    """
    return {
        "base_url": placeholders(settings, ports)["CC03_PUBLIC_URL"],
        "address": LOOPBACK,
        "ca": str(state.site_roots),
        "rate": settings.prober.rate,
        **{name: getattr(settings.prober, name) for name in PATHS},
        "out": str(state.prober / "samples.jsonl"),
        "seconds": seconds,
    }


@contextmanager
def measured(settings: Settings, ports: Mapping[str, int], state: State, seconds: float) -> Iterator[Measurement]:
    """Have the prober ask while the block runs.

    seconds: the longest that the block may take; the prober ends by itself then.
    Raises only what the block raises. `note` says why nothing was measured; after the block, `samples` has everything.
    """
    config = prober_config(settings, ports, state, seconds)
    found = Measurement(Path(config["out"]))
    with ExitStack() as stack:
        if not config["rate"] or not any(config[name] for name in PATHS):
            found.note = "not measured: the settings of the prober leave no request to send"
        else:
            try:
                _start(found, config, state, stack)
            except (OpsError, OSError) as problem:
                found.note = f"not measured: {getattr(problem, 'why', problem)}"
        try:
            yield found
        finally:
            found._look()
    if not found.note and not found.samples:
        found.note = "not measured: no request of the prober has ended"


def _start(found: Measurement, config: Mapping[str, Any], state: State, stack: ExitStack) -> None:
    state.prober.mkdir(exist_ok=True, mode=0o700)
    found._log = state.prober / "prober.log"
    for stale in (found.out, found._log):
        stale.unlink(missing_ok=True)
    files.write(state.prober / "config.json", json.dumps(config))
    argv = (sys.executable, "-P", "-m", "ops.deploy.prober", str(state.prober / "config.json"))
    found._ended = stack.enter_context(alongside(argv, log=found._log, env={"PYTHONPATH": str(REPOSITORY)}))
