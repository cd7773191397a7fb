"""What a control is: a numbered check of the facts, which results in findings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ops.security_audit.facts import Facts


class Finding(NamedTuple):
    """What violates a control. `where`: container, service or file. `subject`: the identifier that an exception names."""

    where: str
    subject: str
    what: str


@dataclass(frozen=True)
class Control:
    """One check.

    `number`: section, and place in it; a number is never reused. `why`: the risk where the control does not hold. `advice`: how
    to correct a finding. `part`: the field of Facts that must have been read.
    """

    number: str
    title: str
    find: Callable[[Facts], Iterator[Finding]]
    why: str
    advice: str
    part: str = ""


SECTIONS = {
    "1": "Declaration",
    "2": "Running containers",
    "3": "Secrets",
    "4": "Networks",
    "5": "Encryption",
    "6": "Responses of the site",
    "7": "Logins",
    "8": "Known vulnerabilities of packages",
    "9": "Host",
}
