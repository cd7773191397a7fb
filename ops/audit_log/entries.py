"""The audit log as text: how an entry is chained to the previous one, and what a log that was tampered with shows.

Each entry contains the SHA-256 of the whole previous line and of its own content: no line can be altered, removed or inserted
without a finding in a later one. `audit.head` contains number and hash of the last line.

The chain continues from one part of the log to the next. The first entry of a part names the previous part and its length, and
the parts that are removed because of their age, each with number and hash of its last line.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import PurePath
from typing import Any, NamedTuple

from ops.core.plan import Plan

GENESIS = "0" * 64
"""The previous hash of the first entry."""
SECRET_WORDS = {"password", "passphrase", "passwd", "pass", "secret", "token", "key", "credential", "credentials"}
HIDDEN = "[REDACTED]"
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^@\s/]+@")


def sha(data: bytes) -> str:
    return sha256(data).hexdigest()


def plan_digest(plan: Plan) -> str:
    """SHA-256 of the keys and titles of a plan's steps, in order: equal for two plans that do the same."""
    return sha(json.dumps([[step.key, step.title] for step in plan.steps]).encode())


def without_secrets(text: str) -> str:
    """Replace passwords within URLs."""
    return _URL_PASSWORD.sub(rf"\1{HIDDEN}@", text)


def typed(argv: Sequence[str]) -> str:
    """The command line as it was typed, without the values of options that name a secret. Invoke is shown as `inv`."""
    program = PurePath(argv[0]).name if argv else ""
    words = ["inv" if program in ("inv", "invoke", "__main__.py") else program]
    hide = False
    for word in argv[1:]:
        name, equals, _ = word.partition("=")
        secret = word.startswith("-") and bool(SECRET_WORDS & set(re.split(r"[-_]", name.lower())))
        if hide:
            words.append(HIDDEN)
        elif secret and equals:
            words.append(f"{name}={HIDDEN}")
        else:
            words.append(without_secrets(word))
        hide = secret and not equals and not hide
    return " ".join(word if word.endswith(HIDDEN) else shlex.quote(word) for word in words)


@dataclass(frozen=True)
class Head:
    """Number and hash of the last whole line; 0 and GENESIS of none."""

    count: int = 0
    hash: str = GENESIS


@dataclass(frozen=True)
class Tip:
    """What the next entry is chained to: the last line, and the bytes that a crash left incomplete after it."""

    head: Head = Head()
    cut_off: bytes = b""
    unended: bool = False
    """Whether the file ends within a line."""
    head_missing: bool = False


def _text(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()


def seal(content: Mapping[str, Any], tip: Tip) -> bytes:
    """The line, without its end, that appends `content` after `tip`."""
    entry = {**content, "number": tip.head.count + 1, "previous": tip.head.hash}
    if tip.cut_off:
        entry["cut_off"] = sha(tip.cut_off)
    if tip.head_missing:
        entry["head_missing"] = True
    return _text({**entry, "hash": sha(_text(entry))})


def read(line: bytes) -> dict[str, Any] | None:
    """The entry of a line; None where it differs in any byte from what was sealed."""
    try:
        entry = json.loads(line)
        content = {key: value for key, value in entry.items() if key != "hash"}
        whole = entry["hash"] == sha(_text(content)) and line == _text(entry)
        return entry if whole and isinstance(entry["number"], int) and isinstance(entry["previous"], str) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _lines(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def entries(data: bytes) -> Iterator[dict[str, Any]]:
    """Every unaltered entry; `check` reports the other lines."""
    return (entry for entry in map(read, _lines(data)) if entry)


def last(data: bytes) -> tuple[Head, dict[str, Any]] | None:
    """Number and hash of the last unaltered line, and its entry; None where there is none."""
    for line in reversed(_lines(data)):
        if entry := read(line):
            return Head(entry["number"], sha(line)), entry
    return None


def tip(data: bytes, head: Head | None) -> Tip:
    """What the next entry continues.

    data: the file as it is. head: what audit.head says; None where there is none. Where they differ, the head counts: the next
    entry then does not fit its neighbour, so the finding stays in a log that was truncated.
    """
    lines = _lines(data)
    unended = bool(data) and not data.endswith(b"\n")
    cut_off = lines[-1] if unended and not read(lines[-1]) else b""
    found, entry = last(data) or (Head(), {"previous": GENESIS})
    if head is None:
        return Tip(found, cut_off, unended, head_missing=found.count > 1)
    # One entry further than the head: the crash came after the line and before the head.
    ahead = found.count == head.count + 1 and entry["previous"] == head.hash
    return Tip(found if ahead else head, cut_off, unended)


class Place(NamedTuple):
    """Number of the part, number of the line in it from 1, name of the part (empty for the last one)."""

    part: int
    line: int
    file: str = ""

    def __str__(self) -> str:
        return f"line {self.line}" + (f" of {self.file}" if self.file else "")


@dataclass(frozen=True)
class Verdict:
    """`findings`: (place, what is wrong there), in order. `notes`: irregularities with a harmless cause."""

    entries: int
    since: str
    findings: tuple[tuple[Place, str], ...]
    notes: tuple[str, ...]


def check(parts: Sequence[tuple[str, bytes]], head: Head | None) -> Verdict:
    """Verify a log line by line.

    parts: (name, content) of its files, oldest first. head: what audit.head says; None where there is none.
    """
    lines = [
        (Place(number, at, name if number + 1 < len(parts) else ""), line, read(line))
        for number, (name, data) in enumerate(parts) for at, line in enumerate(_lines(data), 1)
    ]  # fmt: skip
    found = [entry for _, _, entry in lines if entry]
    walk = _Walk(frozenset(entry["number"] for entry in found), [(name, len(data)) for name, data in parts])
    walk.begin(found)
    for place, line, entry in lines:
        walk.take(place, line, entry)
    walk.end(head, ended=not parts or not parts[-1][1] or parts[-1][1].endswith(b"\n"))
    since = str(found[0].get("at", "")) if found else ""
    return Verdict(len(found), since, tuple(sorted(walk.findings, key=lambda one: one[0])), tuple(walk.notes))


def _removed(entry: Mapping[str, Any]) -> Iterator[Head]:
    """The last entry of each part that was removed once this entry was written."""
    return (Head(int(one["count"]), str(one["hash"])) for one in entry.get("removed", ()))


@dataclass
class _Walk:
    """Walks down the lines with what the next one is expected to be."""

    numbers: frozenset[int]
    parts: Sequence[tuple[str, int]]
    """(name, bytes)."""
    last: Head = field(default_factory=Head)
    place: Place | None = None
    """Where `last` is."""
    previous: str = GENESIS
    unread: list[tuple[Place, bytes]] = field(default_factory=list)
    """Lines since `last` that are no entries."""
    findings: list[tuple[Place, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def begin(self, found: Sequence[Mapping[str, Any]]) -> None:
        """Continue from the last entry that was removed because of its age. An interrupted removal has left some of them."""
        known = [gone for entry in found for gone in _removed(entry) if gone.count < found[0]["number"]]
        if known:
            self.last = max(known, key=lambda gone: gone.count)
            self.notes.append(f"entries 1 to {self.last.count} were removed because of their age, as a later entry says")

    def take(self, place: Place, line: bytes, entry: Mapping[str, Any] | None) -> None:
        if entry is None:
            self.unread.append((place, line))
            return
        altered = self._settle(place, entry.get("cut_off"))
        if entry.get("head_missing"):
            self.findings.append((place, "was written while audit.head was missing: lines may be gone before it"))
        self._continues(place, entry)
        if self._fits(place, entry, altered):
            self.last, self.place, self.previous = Head(entry["number"], sha(line)), place, entry["previous"]

    def _settle(self, place: Place, cut_off: str | None) -> int:
        """Lines before this entry that are no entries: `cut_off` excuses one. Returns the number of the others."""
        altered = 0
        for at, line in self.unread:
            if sha(line) == cut_off:
                self.notes.append(f"{at} was cut off by a crash, as the entry after it noted at once")
                cut_off = None
            else:
                self.findings.append((at, "is not what was written: it was altered or put in"))
                altered += 1
        if cut_off:
            self.findings.append((place, "notes that a line before it was cut off by a crash, and that line is gone"))
        self.unread = []
        return altered

    def _continues(self, place: Place, entry: Mapping[str, Any]) -> None:
        """Report where the previous part is not the one that the entry names, or has another length."""
        said = entry.get("continues")
        if not said:
            return
        before = self.parts[place.part - 1] if place.part else ("", 0)
        if before[0] != said["file"]:
            if place.part or entry["number"] != self.last.count + 1:
                self.findings.append((place, f"continues {said['file']}, which is gone"))
        elif before[1] != said["bytes"]:
            what = f"continues {said['file']} of {said['bytes']} bytes, which has {before[1]}: it was altered"
            self.findings.append((place, what))

    def _fits(self, place: Place, entry: Mapping[str, Any], altered: int) -> bool:
        """Whether to continue from this entry; reports what does not fit."""
        number, expected = entry["number"], self.last.count + 1
        if altered and expected <= number <= expected + altered:
            return True
        if number < expected:
            self.findings.append((place, f"is out of order or put in: entry {number} stands after entry {self.last.count}"))
            return False
        if number > expected and expected in self.numbers:
            self.findings.append((place, f"is out of order: it is entry {number}, and entry {expected} stands elsewhere"))
        elif number > expected:
            missing = f"entry {expected} is" if number == expected + 1 else f"entries {expected} to {number - 1} are"
            self.findings.append((place, f"has a gap before it: {missing} missing"))
        elif entry["previous"] != self.last.hash:
            # The later entry contains the hash of the earlier, so the earlier was altered.
            what = f"is not the line that {place} was written after: it was altered or put in"
            unlike = (place, "does not follow the line with which the removed entries ended")
            self.findings.append((self.place, what) if self.place else unlike)
        return True

    def end(self, head: Head | None, *, ended: bool) -> None:
        cut_off = self.unread[-1] if self.unread and not ended and (head or Head()).count <= self.last.count else None
        if cut_off:
            self.unread.pop()
            self.notes.append(f"{cut_off[0]} is cut off by a crash; the next entry will note it")
        last_line = max([self.place or Place(0, 1), *(at for at, _ in self.unread)])
        altered = self._settle(last_line, None)
        if head is None:
            if self.last.count > 1:
                self.findings.append((last_line, "cannot be told to be the last: audit.head is missing"))
        elif head == self.last:
            pass
        elif head.count > self.last.count:
            if not altered:
                gone = head.count - self.last.count
                self.findings.append((last_line, f"is the last, and audit.head counts {gone} more after it: removed"))
        elif head.count == self.last.count:
            self.findings.append((last_line, "is the last, and not the one that audit.head names: it was altered"))
        elif head.count == self.last.count - 1 and head.hash == self.previous:
            self.notes.append("audit.head is one entry behind: a crash came between the two, and the next entry mends it")
        else:
            self.findings.append((last_line, "is the last, and audit.head is of an earlier one: lines or the head were put in"))


def changes(found: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One mapping a change, in the order of beginning: its `end` entry, or `begin` where it has none."""
    by_number: dict[int, dict[str, Any]] = {}
    for entry in found:
        by_number[entry.get("of", entry["number"])] = dict(entry)
    return list(by_number.values())
