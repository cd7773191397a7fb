"""What users meet while the backend is replaced: a change is watched from a while before it until a while after."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ops.core.errors import OpsError
from ops.core.machine import REPOSITORY
from ops.core.process import tail
from ops.deploy.measure import Sample, summarise
from tests.drill.clone import Clone, Load

BEFORE_SECONDS = 8.0
"""Of rest before each change: with 200 requests/s, the slowest hundredth is then 16 requests."""
AFTER_SECONDS = 3.0
MAIN = "compose/backend/app/server.py"
START = "def main() -> int:\n"


@dataclass(frozen=True)
class Cost:
    """What one change took, and what users paid for it."""

    seconds: float
    before_ms: float
    """p99 of answered requests."""
    during_ms: float
    failed: int
    """Requests that failed meanwhile or in the seconds after."""
    after_failed: int
    """Those that were due when the change was done already."""

    @property
    def ratio(self) -> float:
        return self.during_ms / self.before_ms


def watched(users: Load, change: Callable[[], object]) -> Cost:
    """Rest, change, rest a little. Raises OpsError where the load has nothing to tell: it has ended, or nobody is answered."""
    time.sleep(BEFORE_SECONDS)
    began = time.time()
    change()
    ended = time.time()
    time.sleep(AFTER_SECONDS)
    seen = [sample for sample in users.samples if sample.at >= began - BEFORE_SECONDS]
    summary = summarise(seen, began, ended)
    p99 = summary["p99_ms"]
    if not p99["before"] or not p99["during"]:
        words = tail(users.out.with_suffix(".log"))
        raise OpsError("the load of the bench", f"none of its requests was answered: {words}", "inv status")
    after = sum(bool(sample.failed) and sample.at > ended for sample in seen)
    return Cost(ended - began, p99["before"], p99["during"], summary["failed"], after)


def told(values: Sequence[float], unit: str = "s") -> str:
    """For a note: of how many values the median is, and how far apart they were."""
    if len(values) == 1:
        return "once"
    return f"median of {len(values)}, {min(values):.3g} to {max(values):.3g} {unit}".rstrip()


def failed(users: Load) -> list[Sample]:
    """Every failed request of the whole load; to be asked once it has ended."""
    return [sample for sample in users.samples if sample.failed]


def kinds_of(samples: Sequence[Sample], most: int = 3) -> str:
    """How often failed what, and how: the most frequent ones."""
    counted = Counter(f"{sample.kind}: {sample.failed}" for sample in samples)
    return "; ".join(f"{number:,} {what}" for what, number in counted.most_common(most))


def load_average() -> float:
    """Of the last minute: with the stack, the users and whatever else the machine does."""
    return os.getloadavg()[0]


@dataclass(frozen=True)
class Version:
    """A version of the product: a clone of the checkout, and a stack.yaml of its own."""

    clone: Clone
    stack: Path

    @classmethod
    def make(cls, root: Path, name: str, edit: Callable[[Clone], None] = lambda clone: None) -> Version:
        """With its images built. It allows any number of failed requests: they are counted here, and a deploy that was put
        back for them would not be measured to its end."""
        root.mkdir()
        version = cls(Clone.make(root / "clone"), root / "stack.yaml")
        settings = yaml.safe_load(Path(os.environ.get("CC03_STACK") or REPOSITORY / "config" / "stack.yaml").read_text()) or {}
        settings["deploy"] = {**(settings.get("deploy") or {}), "failed_requests": 1_000_000}
        version.stack.write_text(yaml.safe_dump(settings))
        version.clone.version(name)
        edit(version.clone)
        version.inv("build")
        return version

    def inv(self, *arguments: str, code: int = 0) -> tuple[float, str]:
        """(seconds, what it said) of a command as it is typed. Raises OpsError where it ends with another exit code."""
        answer = self.clone.inv(*arguments, env={"CC03_STACK": str(self.stack)})
        if answer.returncode != code:
            why = f"exit code {answer.returncode}, not {code}: {answer.last_words()}"
            raise OpsError(f"inv {' '.join(arguments)}", why, "inv doctor")
        return answer.seconds, answer.stdout + answer.stderr

    def deploy(self) -> None:
        self.inv("deploy", "--yes")


def ends_by_itself(clone: Clone) -> None:
    """Make this a release that is no good: it is ready, answers, and its process ends after 5 s."""
    clone.edit(MAIN, START, f"{START}    import os, threading\n\n    threading.Timer(5, os._exit, (3,)).start()\n")
