"""A command of the checkout that renews certificates, run for the health ticker, and how that went. Standard library only: the
ticker runs a copy of this file."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ops.certificates.renewal import pause_after
from ops.core.errors import LockHeld, OpsError
from ops.core.process import run

COMMAND = "command.json"
"""In the ticker's folder: Python and checkout of the last command that changed something."""


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
    state: the project's folder. say: writes a line into the ticker's log. kept: file in the ticker's folder that remembers.
    timeout: seconds that the command may take.
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
        write(self.kept, json.dumps(asdict(renewal)))
        return renewal


def run_command(state: Path, words: tuple[str, ...], timeout: float) -> None:
    """Run a command of the checkout that worked on this project last. Raises LockHeld where another one is under way, OpsError
    with its last words where it fails."""
    command = read(state / "ticker" / COMMAND)
    if "repository" not in command:
        raise OpsError(f"inv {words[0]} cannot be run", f"there is no {COMMAND} beside {__name__}", "inv deploy writes it")
    repository = str(command["repository"])
    argv = (str(command["python"]), "-P", "-m", "invoke", "--search-root", repository, *words)
    env = {"PYTHONPATH": repository, "CC03_PROJECT": state.name, "CC03_STATE": str(state.parent)}
    answer = run(argv, timeout=timeout, ok=None, env=env)
    if answer.returncode == LockHeld.exit_code:
        raise LockHeld("another operation is under way", answer.last_words(), "wait")
    if answer.returncode:
        raise OpsError(f"inv {words[0]} failed", answer.last_words(), f"inv {' '.join(words)}")


def read(path: Path) -> dict[str, Any]:
    """The content of a JSON file; empty where there is none that can be read."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def write(path: Path, content: str) -> None:
    """Whole, or not at all; readable by the exporter."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(content)
    fresh.chmod(0o644)
    fresh.replace(path)
