"""Which lines of Keycloak's log still count, and which failure modes they tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ops.keycloak.failures import patterns_data, patterns_start, patterns_use
from ops.keycloak.failures.facts import Facts, LogLine
from ops.keycloak.failures.log import ACCESS
from ops.keycloak.failures.pattern import START, Pattern

RECENT_SECONDS = 600.0
"""A running Keycloak's complaint is believed this long."""
UNREADY = "SRHCK01001: Reporting health down status"
"""What it writes whenever it is asked for its health and is not well."""
ASKED_SECONDS = 45.0
"""It is asked every 30 s at least: so long after it was last found unwell, its complaints may be of what is over."""
STILL_SECONDS = 60.0
"""One that has lost its database goes on serving what it needs no database for: the form, from its caches."""
QUIET = frozenset({"INFO", "DEBUG", "TRACE"})


PATTERNS = (*patterns_data.PATTERNS, *patterns_start.PATTERNS, *patterns_use.PATTERNS)


def said(facts: Facts) -> Mapping[str, tuple[str, ...]]:
    """Failure mode -> the last lines of the log that tell it, and that still count."""
    found: dict[str, tuple[str, ...]] = {}
    for pattern in PATTERNS:
        lines = list(_matching(pattern, facts))
        if len(lines) >= pattern.times:
            found[pattern.mode] = (*found.get(pattern.mode, ()), shortened(lines[-1].text))
    return found


def _matching(pattern: Pattern, facts: Facts) -> Iterable[LogLine]:
    if pattern.when == START and facts.ready:
        return
    since = _since(facts)
    for line in facts.log:
        if line.at < since or (line.level in QUIET and not pattern.also_quiet):
            continue
        if pattern.compiled.search(line.text):
            yield line


def _since(facts: Facts) -> float:
    """From when on complaints count: those of an outage that is over, and of starts before it served again, do not."""
    if facts.ready:
        unready = (line.at + ASKED_SECONDS for line in facts.log if line.text.startswith(UNREADY))
        return max(facts.now - RECENT_SECONDS, *unready, float("-inf"))
    return max((line.at - STILL_SECONDS for line in facts.log if line.logger == ACCESS), default=float("-inf"))


def shortened(text: str, limit: int = 220) -> str:
    """One line of at most `limit` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
