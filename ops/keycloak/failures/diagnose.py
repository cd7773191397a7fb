"""Facts in, diagnosis out: causes first, and what follows from a cause told with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from ops.keycloak.failures import rules_data, rules_start, rules_use
from ops.keycloak.failures.facts import Facts
from ops.keycloak.failures.failure import SEVERITIES, Diagnosis, Finding, Mode
from ops.keycloak.failures.log import last_words
from ops.keycloak.failures.patterns import RECENT_SECONDS, said, shortened
from ops.keycloak.failures.refuted import refuted
from ops.keycloak.failures.registry import MODES, consequences
from ops.keycloak.failures.rules_start import DEPRECATED_VARIABLES, Rule

RULES: Mapping[str, Rule] = {**rules_data.RULES, **rules_start.RULES, **rules_use.RULES}
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
    shown = {mode: what for mode, rule in RULES.items() if (what := rule(facts))}
    denied = refuted(facts)
    told = {mode: lines for mode, lines in said(facts).items() if mode in shown or mode not in denied}
    seen = {mode.id for mode in MODES if mode.id in shown or mode.id in told}
    causes = _causes(seen)
    words = tuple(f"it says: {shortened(text)}" for text in last_words(facts.log)[-LAST_WORDS:])
    findings = [
        _finding(mode, shown.get(mode.id, ""), told.get(mode.id, words if mode.id in UNKNOWN else ()), seen)
        for mode in MODES if mode.id in causes
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
    order = {mode.id: number for number, mode in enumerate(MODES)}
    explained: set[str] = set()
    for mode in sorted(seen, key=order.__getitem__):
        if mode not in explained:
            explained |= consequences(mode, seen)
    # What is explained by something that is itself explained is so all the more.
    return seen - explained


def _finding(mode: Mode, shown: str, told: tuple[str, ...], seen: set[str]) -> Finding:
    """A cause is as grave as the gravest of what follows from it."""
    follows = [other for other in MODES if other.id in consequences(mode.id, seen)]
    gravest = min((mode.severity, *(other.severity for other in follows)), key=RANKS.index)
    return Finding(
        id=mode.id, severity=gravest, certain=bool(shown), title=mode.title,
        saw=tuple(text for text in (shown, *told) if text), means=mode.means, repair=mode.repair, untouched=mode.untouched,
        notice=mode.notice, dump_first=mode.dump_first, repairable=mode.repairable, source=mode.source,
        consequences=tuple(other.id for other in follows),
    )  # fmt: skip


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
