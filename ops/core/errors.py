"""The one family of errors that an operator sees: what happened, why, and what to type next."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class OpsError(Exception):
    """A failure told in three lines. Each kind has the exit code that scripts may rely on.

    what: what did not work, in the operator's terms.
    why: the cause, as far as it is known (the last words of the failed command, for example).
    next_step: what to type or change now.
    details: lines that show it, such as the last ones of a log.
    """

    exit_code = 1
    """Failed; nothing changed, or everything was put back."""

    def __init__(self, what: str, why: str, next_step: str, details: Iterable[str] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.next_step = next_step
        self.details = tuple(details)

    def lines(self) -> tuple[str, str, str]:
        return (f"failed: {self.what}", f"   why: {self.why}", f"  next: {self.next_step}")


class UsageProblem(OpsError):
    """The command line or a settings file says something that cannot be meant."""

    exit_code = 2


class HostLacks(OpsError):
    """The host lacks something: a program, space, a port, permission."""

    exit_code = 3


class LockHeld(OpsError):
    """Another operation on the same project is under way."""

    exit_code = 4


class NeedsPerson(OpsError):
    """Failed half way in a state that a person has to look at; the message says which."""

    exit_code = 5


ALIKE = 0.7
"""Least similarity of a suggestion, from 0 to 1 (difflib): below it, a suggestion is more often wrong than right."""
MOST_NAMES = 25
"""Names that fit into one line of a message."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A suggestion for a mistyped name, or the whole list of what is known."""
    choices = sorted(known)
    close = get_close_matches(given, choices, n=1, cutoff=ALIKE)
    if close:
        return f'did you mean "{close[0]}"?'
    if not choices:
        return "there is none yet"
    return "known: " + ", ".join(choices) if len(choices) <= MOST_NAMES else "no name is similar"
