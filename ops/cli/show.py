"""What the operator sees: one calm screen on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ops.core.errors import OpsError
from ops.core.plan import Plan, Step

WIDE = 160
"""Columns where no terminal says how many there are: nothing may be cut off in a pipe or a log."""
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDE)
err = Console(stderr=True, highlight=False, soft_wrap=True, width=None if sys.stderr.isatty() else WIDE)


def plan(plan: Plan) -> None:
    """The steps of a plan, in an order in which they could run."""
    for note in plan.notes:
        out.print(f"[dim]note: {escape(note)}[/dim]")
    if not plan.steps:
        out.print("nothing to do")
        return
    if plan.changes:
        out.print(_changes(plan))
    for number, step in enumerate(plan.steps, 1):
        out.print(f"{number:3}. {escape(step.title)}")
        for line in step.details():
            out.print(f"       {escape(line)}")
    loosened(plan)
    for loss in plan.destroys:
        out.print(f"[bold red]destroys:[/bold red] {escape(loss)}")


def loosened(plan: Plan) -> None:
    """Policies that the wanted release violates, and its new exemptions from them."""
    for violation in plan.violations:
        out.print(f"[bold red]violates a policy:[/bold red] {escape(violation)}")
    for exemption in plan.exemptions:
        out.print(f"[bold yellow]new exemption:[/bold yellow] {escape(exemption)}")


def _changes(plan: Plan) -> Table:
    """What the plan means for each service, and for those who use it."""
    drawn = table("SERVICE", "WHAT", "INTERRUPTION", "WHY")
    for change in plan.changes:
        gap = "none"
        if change.gap_seconds:
            gap = f"about {change.gap_seconds:.0f} s" + (f": {change.whom}" if change.whom else "")
        drawn.add_row(change.service, change.action, escape(gap), escape(change.why))
    return drawn


def table(*columns: str, **options: Any) -> Table:
    """An empty table in the form of all commands. options: of rich's Table."""
    return Table(*columns, box=None, pad_edge=False, **options)


def aside(text: str) -> None:
    """A line that is not of the command itself, but of a program of the operator's that it runs."""
    out.print(f"    [dim]{escape(text)}[/dim]")


def problem(error: OpsError) -> None:
    """The three lines of a failure."""
    for line in error.details:
        err.print(f"[dim]  | {escape(line)}[/dim]")
    what, why, next_step = error.lines()
    err.print(f"[bold red]{escape(what)}[/bold red]")
    err.print(escape(why))
    err.print(escape(next_step))


def _in_one_line(problem: BaseException) -> str:
    return f"{problem.what}: {problem.why}" if isinstance(problem, OpsError) else f"{type(problem).__name__}: {problem}"


@dataclass
class _Line:
    step: Step
    began: float
    text: str = ""


class Progress(AbstractContextManager["Progress"]):
    """Receives the steps of a plan as they run; this one shows nothing."""

    def __exit__(self, *details: object) -> None:
        return None

    def report(self, key: str, text: str) -> None:
        """How far a step is."""

    def started(self, step: Step) -> None:
        """Called as a step begins."""

    def finished(self, step: Step, seconds: float) -> None:
        """Called as a step ends."""

    def failed(self, step: Step, problem: BaseException) -> None:
        """problem: `ops.core.process.Ended` where the step was ended because another one failed, or by the operator."""


class LiveProgress(Progress):
    """Steps under way with their time and last word, redrawn in place; what is finished is counted, failures stay."""

    def __init__(self, total: int) -> None:
        self.total, self.finished_count = total, 0
        self.lines: dict[str, _Line] = {}
        self.guard = threading.Lock()
        self.began = time.monotonic()
        self.live = Live(get_renderable=self._draw, console=out, refresh_per_second=6, transient=True)

    def __enter__(self) -> LiveProgress:
        self.live.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self.live.__exit__(None, None, None)

    def _draw(self) -> Group:
        with self.guard:
            lines = list(self.lines.values())
        now = time.monotonic()
        head = Spinner("dots", Text(f" {self.finished_count} of {self.total} steps, {now - self.began:.0f} s"))
        table = Table.grid(padding=(0, 2))
        for line in lines[: max(4, out.height - 4)]:
            table.add_row(
                "  " + escape(line.step.title), f"[dim]{now - line.began:.0f} s[/dim]", f"[dim]{escape(line.text)}[/dim]"
            )
        return Group(head, table)

    def report(self, key: str, text: str) -> None:
        with self.guard:
            if key in self.lines:
                self.lines[key].text = text

    def started(self, step: Step) -> None:
        with self.guard:
            self.lines[step.key] = _Line(step, time.monotonic())

    def finished(self, step: Step, seconds: float) -> None:
        with self.guard:
            self.lines.pop(step.key, None)
            self.finished_count += 1

    def failed(self, step: Step, problem: BaseException) -> None:
        with self.guard:
            line = self.lines.pop(step.key, None)
        after = f" after {time.monotonic() - line.began:.0f} s" if line else ""
        # Above the table, which is gone with the command: what has failed stays to be read while it is reverted.
        if isinstance(problem, KeyboardInterrupt):
            out.print(f"[dim]ended{after}: {escape(step.title)}[/dim]")
        else:
            out.print(f"[bold red]failed[/bold red]{after}: {escape(step.title)}: {escape(_in_one_line(problem))}")


class PlainProgress(Progress):
    """One line for each step that ends."""

    def __init__(self, total: int) -> None:
        self.total, self.count = total, 0
        self.guard = threading.Lock()

    def finished(self, step: Step, seconds: float) -> None:
        with self.guard:
            self.count += 1
            print(f"[{self.count}/{self.total}] {step.title} ({seconds:.1f} s)", flush=True)

    def failed(self, step: Step, problem: BaseException) -> None:
        ended = isinstance(problem, KeyboardInterrupt)
        with self.guard:
            print(f"[ended] {step.title}" if ended else f"[failed] {step.title}: {_in_one_line(problem)}", flush=True)


class Watch(Progress):
    """Progress that also writes down what each step took, and what it had to say.

    shown: receives them as well. steps: filled with title, seconds and lines of each step that ended.
    """

    def __init__(self, shown: Progress, steps: list[dict[str, Any]]) -> None:
        self.shown, self.steps = shown, steps
        self.said: dict[str, list[str]] = {}

    def report(self, key: str, text: str) -> None:
        """A line that ends in seconds is a result, and stays on the screen; every other one is a state."""
        if text.endswith(" s)"):
            self.said.setdefault(key, []).append(text)
            out.print(f"  {text}")
        else:
            self.shown.report(key, text)

    def started(self, step: Step) -> None:
        self.shown.started(step)

    def finished(self, step: Step, seconds: float) -> None:
        entry: dict[str, Any] = {"title": step.title, "seconds": round(seconds, 2)}
        self.steps.append({**entry, "said": self.said[step.key]} if step.key in self.said else entry)
        self.shown.finished(step, seconds)

    def failed(self, step: Step, problem: BaseException) -> None:
        self.shown.failed(step, problem)


def progress(total: int) -> Progress:
    return LiveProgress(total) if out.is_terminal else PlainProgress(total)


def ask(question: str, expected: str) -> bool:
    """Ask on a terminal for a word that confirms; without a terminal the answer is no."""
    if not sys.stdin.isatty():
        return False
    out.print(escape(question))
    try:
        return input("> ").strip() == expected
    except EOFError:
        return False
