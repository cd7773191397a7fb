"""Why a job of the backup container failed, in the operator's terms, and what mends it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

ELSE = "inv logs backup --since 1h; inv backup.list"


@dataclass(frozen=True)
class Advice:
    """What a failure means. why: empty where the tool's own words say it best."""

    why: str
    next: str


KNOWN = (
    ("the repository's disk is full", Advice("", "inv backup.prune, or a larger disk")),
    (
        "the key is not the one of|wrong password or no key found",
        Advice("the key is not the one of this repository", "inv backup.key --import FILE, then inv deploy"),
    ),
    (
        "for greeting key 'version'",
        Advice("pgBackRest has another version in postgres than in backup", "inv deploy builds both from this checkout"),
    ),
    (
        "ahead of the clock",
        Advice("a clock is wrong or was wrong", "if it is right now: inv backup.prune --ahead; else set it"),
    ),
    ("is damaged", Advice("", "docs/runbooks/BackupDamaged.md")),
)  # fmt: skip


def advice(error: str) -> Advice:
    """For what a job said. What is not known is passed on as it is."""
    for pattern, found in KNOWN:
        if re.search(pattern, error):
            return Advice(f"{found.why}: {error}" if found.why else error, found.next)
    return Advice(error, ELSE)
