"""Facts in, diagnosis out: what facts and log show, causes first, and what follows from a cause told with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from ops.keycloak.failures.evidence import DEPRECATED_VARIABLES, shown
from ops.keycloak.failures.facts import Facts, LogLine
from ops.keycloak.failures.failure import SEVERITIES, Diagnosis, Failure, Finding, Line
from ops.keycloak.failures.log import ACCESS, last_words
from ops.keycloak.failures.table import BY_ID, FAILURES, consequences

RECENT_SECONDS = 600.0
"""A running Keycloak's complaint is believed this long."""
UNREADY = "SRHCK01001: Reporting health down status"
"""What it writes whenever it is asked for its health and is not well."""
ASKED_SECONDS = 45.0
"""It is asked every 30 s at least: so long after it was last found unwell, its complaints may be of what is over."""
STILL_SECONDS = 60.0
"""One that has lost its database goes on serving what it needs no database for: the form, from its caches."""
QUIET = frozenset({"INFO", "DEBUG", "TRACE"})
RANKS = list(SEVERITIES)
FEW_ERRORS = 20
"""Failed logins in an hour from which on they are worth a note."""
STRANGE = {
    'error="cookie_not_found"': "logins came without Keycloak's cookie: old login pages, or not the public address",
    'error="invalid_redirect_uri"': "logins asked to be sent to an address that their client does not list",
}
UNKNOWN = frozenset({"crash-loop", "exited", "not-ready"})
"""Findings that name no cause: they quote what Keycloak says."""
LAST_WORDS = 3
FEW_STRANGE = 5
"""Of these, in ten minutes. Any stranger can cause them, so they are no finding: the facts behind them are looked at."""


def diagnose(facts: Facts) -> Diagnosis:
    """What is wrong, gravest cause first. A sound Keycloak has no finding, nor has one that is still within its start."""
    by_facts = {name: words for name, words in shown(facts).items() if words}
    # Of which the log is not believed, unless the facts show them.
    doubtful = {one.id for one in FAILURES if one.denied and one.denied(facts)}
    by_log = {name: lines for name, lines in said(facts).items() if name in by_facts or name not in doubtful}
    seen = {failure.id for failure in FAILURES if failure.id in by_facts or failure.id in by_log}
    causes = _causes(seen)
    words = tuple(f"it says: {shortened(text)}" for text in last_words(facts.log)[-LAST_WORDS:])
    findings = [
        _finding(failure, by_facts.get(failure.id, ""), by_log.get(failure.id, words if failure.id in UNKNOWN else ()), seen)
        for failure in FAILURES if failure.id in causes
    ]  # fmt: skip
    return Diagnosis(
        tuple(sorted(findings, key=lambda finding: (RANKS.index(finding.severity), not finding.certain))),
        tuple(_notes(facts)),
        tuple(f"{what}: {why}" for what, why in sorted(_unread(facts).items())),
    )


def _unread(facts: Facts) -> Mapping[str, str]:
    """What could not be read, also where nobody has noticed: a Keycloak that serves has tables."""
    postgres = facts.postgres
    blind = facts.ready and postgres.answers and postgres.database is not None and postgres.content is None
    if not blind or any(what.startswith("database") for what in facts.unread):
        return facts.unread
    return {**facts.unread, "database content": "Keycloak serves, and its tables are not in schema public of its database"}


def _causes(seen: set[str]) -> set[str]:
    """Those that no other one explains. Of two that explain each other, the one that stands first remains."""
    explained: set[str] = set()
    for name in (one for one in BY_ID if one in seen):
        if name not in explained:
            explained |= consequences(name, seen)
    # What is explained by something that is itself explained is so all the more.
    return seen - explained


def _finding(failure: Failure, by_facts: str, by_log: tuple[str, ...], seen: set[str]) -> Finding:
    """A cause is as grave as the gravest of what follows from it."""
    following = consequences(failure.id, seen)
    follows = [other for other in FAILURES if other.id in following]
    gravest = min((failure.severity, *(other.severity for other in follows)), key=RANKS.index)
    return Finding.of(failure, gravest, by_facts, by_log, tuple(other.id for other in follows))


def _notes(facts: Facts) -> Iterator[str]:
    if facts.under_way:
        yield f"{facts.under_way}: what is seen now may be on its way"
    if facts.starting:
        yield (
            f"it has been starting for {facts.container.running_seconds or 0:.0f} s and is judged after "
            f"{facts.container.start_seconds:.0f} s: a migration may take minutes, and must not be broken off"
        )
    for name in sorted(DEPRECATED_VARIABLES.keys() & facts.server.environment.keys()):
        yield f"the variable {name} is deprecated and still acts: {DEPRECATED_VARIABLES[name]} takes its place"
    content = facts.postgres.content
    if content and content.login_errors >= FEW_ERRORS:
        yield f"{content.login_errors} logins failed in the last hour"
    recent = [line.text for line in facts.log if line.at >= facts.now - RECENT_SECONDS]
    for words, meaning in STRANGE.items():
        number = sum(words in text for text in recent)
        if number >= FEW_STRANGE:
            yield f"{number} {meaning}"
    if facts.container.restarts and facts.ready:
        yield f"it was restarted {facts.container.restarts} times since it was made, and serves now"


def as_json(diagnosis: Diagnosis, seconds: float) -> dict[str, Any]:
    """The diagnosis for other programs. seconds: how long it took."""
    return {"healthy": not (diagnosis.findings or diagnosis.unread), "seconds": round(seconds, 2), **asdict(diagnosis)}


def said(facts: Facts) -> Mapping[str, tuple[str, ...]]:
    """Failure -> the last lines of the log that show it, and that still count."""
    found: dict[str, tuple[str, ...]] = {}
    for failure in FAILURES:
        for wanted in failure.lines:
            lines = list(_matching(wanted, facts))
            if len(lines) >= wanted.times:
                found[failure.id] = (*found.get(failure.id, ()), shortened(lines[-1].text))
    return found


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
