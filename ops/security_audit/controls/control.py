"""What a control is: a numbered question to what was seen, and the answer in findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ops.security_audit.facts import Facts, Unread


class Found(NamedTuple):
    """What a control objects to. `where`: container, service or file. `subject`: what exactly, as an exception names it."""

    where: str
    subject: str
    what: str


Question = Callable[[Facts], Iterator[Found]]


@dataclass(frozen=True)
class Control:
    """`number`: section and place in it, never given to another control. `part`: field of Facts that it needs to be read."""

    number: str
    title: str
    why: str
    cure: str
    part: str
    ask: Question

    def unread(self, facts: Facts) -> str:
        """Why it cannot be answered; empty where it can."""
        value = getattr(facts, self.part) if self.part else None
        return value.why if isinstance(value, Unread) else ""


CONTROLS: dict[str, Control] = {}


def control(number: str, title: str, *, why: str, cure: str, part: str = "") -> Callable[[Question], Question]:
    """Register a question. `why`: what goes wrong where it is not kept. `cure`: what to do about a finding."""

    def register(ask: Question) -> Question:
        if number in CONTROLS:
            raise ValueError(f"two controls have the number {number}")
        CONTROLS[number] = Control(number, title, why, cure, part, ask)
        return ask

    return register


SECTIONS = {
    "1": "The declaration",
    "2": "Containers as they run",
    "3": "Secrets",
    "4": "Networks",
    "5": "Encryption",
    "6": "The site's answers",
    "7": "Logins",
    "8": "Known weaknesses of packages",
    "9": "The host",
}
