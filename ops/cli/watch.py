"""Progress that also writes down what each step took, and what it had to say."""

from __future__ import annotations

from typing import Any

from ops.cli import show
from ops.core.plan import Step


class Watch:
    """shown: who else is told; None: nobody. steps: filled with title, seconds and lines of each step that ended."""

    def __init__(self, shown: show.LiveProgress | show.PlainProgress | None, steps: list[dict[str, Any]]) -> None:
        self.shown, self.steps = shown, steps
        self.said: dict[str, list[str]] = {}

    def report(self, key: str, text: str) -> None:
        """A line that ends in seconds is a result, and stays on the screen; every other one is a state."""
        if text.endswith(" s)"):
            self.said.setdefault(key, []).append(text)
            show.out.print(f"  {text}")
        elif self.shown:
            self.shown.report(key, text)

    def started(self, step: Step) -> None:
        if self.shown:
            self.shown.started(step)

    def finished(self, step: Step, seconds: float) -> None:
        entry: dict[str, Any] = {"title": step.title, "seconds": round(seconds, 2)}
        self.steps.append({**entry, "said": self.said[step.key]} if step.key in self.said else entry)
        if self.shown:
            self.shown.finished(step, seconds)

    def failed(self, step: Step, problem: BaseException) -> None:
        if self.shown:
            self.shown.failed(step, problem)
