"""A command of the checkout that renews certificates, run for the health supervisor, and how that went."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from ops.certificates.served.renewal import pause_after
from ops.core import files
from ops.core.errors import LockHeld, OpsError
from ops.engines.podman.supervisor.command import read, run_command


@dataclass(frozen=True)
class Renewal:
    """How renewals have gone. Times are seconds of the epoch; 0: never. `failures`: in a row."""

    failures: int = 0
    tried: float = 0.0
    succeeded: float = 0.0
    why: str = ""

    def ready(self, now: float) -> bool:
        """Whether the pause after the last failure is over."""
        return not self.failures or now >= self.tried + pause_after(self.failures)


class Renewer:
    """Runs one command, such as `certs.rotate --due`.

    Parameters
    ----------
    state: the project's folder. say: writes a line into the supervisor's log. kept: file in the supervisor's folder that
    remembers. timeout: seconds that the command may take.
    """

    def __init__(self, state: Path, say: Callable[[str], None], kept: str, command: tuple[str, ...], timeout: float) -> None:
        self.state, self.say, self.kept = state, say, state / "ticker" / kept
        self.command, self.timeout = command, timeout

    def went(self) -> Renewal:
        return Renewal(**read(self.kept))

    def attempt(self, why: str) -> Renewal:
        """Run it once. That another command holds the lock is no failure: that one may be renewing, and the next look tells."""
        before = self.went()
        self.say(f"inv {' '.join(self.command)}: {why}")
        try:
            run_command(self.state, self.command, self.timeout)
            after = Renewal(succeeded=time.time(), tried=time.time())
        except LockHeld:
            return before
        except (OpsError, OSError, KeyError) as problem:
            said = getattr(problem, "why", "") or f"{type(problem).__name__}: {problem}"
            self.say(f"inv {' '.join(self.command)} failed: {said}")
            after = Renewal(before.failures + 1, time.time(), before.succeeded, said)
        return self.note(after)

    def forget(self) -> Renewal:
        """A person has done it meanwhile."""
        return self.note(Renewal(succeeded=self.went().succeeded))

    def note(self, renewal: Renewal) -> Renewal:
        files.write(self.kept, json.dumps(asdict(renewal)))
        return renewal
