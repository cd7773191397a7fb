"""What Keycloak's log shows: which of its lines still count, for which failure, and as far as the facts allow it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ops.keycloak.failures.facts import Facts, LogLine
from ops.keycloak.failures.failure import Line
from ops.keycloak.failures.log import ACCESS
from ops.keycloak.failures.registry import FAILURES

RECENT_SECONDS = 600.0
"""A running Keycloak's complaint is believed this long."""
UNREADY = "SRHCK01001: Reporting health down status"
"""What it writes whenever it is asked for its health and is not well."""
ASKED_SECONDS = 45.0
"""It is asked every 30 s at least: so long after it was last found unwell, its complaints may be of what is over."""
STILL_SECONDS = 60.0
"""One that has lost its database goes on serving what it needs no database for: the form, from its caches."""
QUIET = frozenset({"INFO", "DEBUG", "TRACE"})


def shown(facts: Facts) -> Mapping[str, str]:
    """Failure -> what the facts show of it."""
    return {one.id: what for one in FAILURES if one.shown and (what := one.shown(facts))}


def said(facts: Facts) -> Mapping[str, tuple[str, ...]]:
    """Failure -> the last lines of the log that show it, and that still count."""
    found: dict[str, tuple[str, ...]] = {}
    for failure in FAILURES:
        for wanted in failure.lines:
            lines = list(_matching(wanted, facts))
            if len(lines) >= wanted.times:
                found[failure.id] = (*found.get(failure.id, ()), shortened(lines[-1].text))
    return found


def denied(facts: Facts) -> frozenset[str]:
    """Failures of which the log is not believed, unless the facts show them."""
    return frozenset(one.id for one in FAILURES if one.denied and one.denied(facts))


def _matching(wanted: Line, facts: Facts) -> Iterable[LogLine]:
    if facts.ready and not wanted.serving:
        return
    since = _since(facts)
    for line in facts.log:
        if line.at < since or (line.level in QUIET and not wanted.also_quiet):
            continue
        if wanted.compiled.search(line.text):
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
