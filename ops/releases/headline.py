"""The first lines of `inv status`: what serves since when, the last operation, and what is in the way. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ops.stack.release import GOOD, Activation


class Line(NamedTuple):
    """style: of rich; empty for an ordinary line."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Situation:
    """release: number of the current one. activations: oldest first. operations: entries of the audit log, oldest first.

    stopped: whether the stack was stopped on purpose. broken_off: the command that was killed, and where; empty: none.
    """

    release: int | None = None
    activations: Sequence[Activation] = ()
    operations: Sequence[Mapping[str, Any]] = ()
    stopped: bool = False
    broken_off: str = ""


def headline(situation: Situation) -> tuple[Line, ...]:
    """What an operator has to know before the table."""
    lines = [Line(_release(situation))]
    if last := _ended(situation.operations):
        lines.append(_operation(last))
    if situation.stopped:
        lines.append(Line(f"stopped {stopped_by(situation.operations)}: inv start starts it", "yellow"))
    if _rolled_back(situation):
        who = _by(_ended(situation.operations, "rollback"))
        lines.append(Line(f"rolled back{who}: the next inv deploy applies the checkout again", "yellow"))
    if situation.broken_off:
        lines.append(Line(f"interrupted: {situation.broken_off}; the same command continues from there", "red"))
    return tuple(lines)


def stopped_by(operations: Iterable[Mapping[str, Any]]) -> str:
    """Who stopped the stack and when, as far as the audit log says."""
    last = _ended(operations, "stop")
    return f"by {last['who']} at {_at(last['at'])} (inv stop)" if last else "on purpose (inv stop)"


def _release(situation: Situation) -> str:
    if situation.release is None:
        return "no release yet: inv deploy"
    good = [one for one in situation.activations if one.release == situation.release and one.outcome == GOOD]
    since = f" since {_at(good[-1].at)} ({good[-1].verb})" if good else ", which has never served: inv releases"
    return f"release {situation.release}{since}"


def _operation(entry: Mapping[str, Any]) -> Line:
    outcome = str(entry["outcome"])
    why = "" if outcome == "done" or not entry.get("why") else f": {entry['why']}"
    return Line(
        f"last operation: inv {entry['verb']}{_by(entry)} at {_at(entry['at'])}, {outcome}{why}"[:240],
        "" if outcome == "done" else "yellow",
    )


def _rolled_back(situation: Situation) -> bool:
    good = [one for one in situation.activations if one.outcome == GOOD]
    return bool(good) and good[-1].verb == "rollback" and good[-1].release == situation.release


def _ended(operations: Iterable[Mapping[str, Any]], verb: str = "") -> Mapping[str, Any] | None:
    """The newest operation that has ended; of one verb, where that is given."""
    ended = [one for one in operations if one.get("event") == "end" and verb in ("", one.get("verb"))]
    return ended[-1] if ended else None


def _by(entry: Mapping[str, Any] | None) -> str:
    return f" by {entry['who']}" if entry and entry.get("who") else ""


def _at(stamp: str) -> str:
    """2026-01-31T12:00:00+0000 -> 2026-01-31 12:00, in the zone in which it was written."""
    return stamp[:16].replace("T", " ")
