"""Every failure that the diagnosis knows, in the order of cause: what stands first brings down what stands below.

To add one, describe it in table.yaml, and give it excerpts in tests/unit/keycloak_excerpts. Where facts show it, evidence.py
says how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ops.keycloak.failures.facts import Facts
from ops.keycloak.failures.failure import Failure, Line, Remedy, Way, admin_api, by_hand, released, statements
from ops.keycloak.repair import sql
from ops.stack.yaml_model import load_yaml

DOCUMENT = load_yaml(Path(__file__).with_name("table.yaml").read_text(encoding="utf-8"))
GROUPS: Mapping[str, list[str]] = DOCUMENT["groups"]
REMEDIES: Mapping[str, Callable[..., Remedy]] = {
    "released": released, "statements": statements, "admin_api": admin_api, "by_hand": by_hand, "remedy": Remedy,
}  # fmt: skip


def _remedy(row: dict[str, Any]) -> Remedy:
    (kind,) = REMEDIES.keys() & row.keys()
    given = row.pop(kind)
    if "ways" in given:
        given["ways"] = tuple(Way[way.upper().replace("-", "_")] for way in given["ways"])
    if "sql" in given:
        given["sql"] = getattr(sql, given["sql"])
    if advice := given.get("advice"):
        given["advice"] = tuple(DOCUMENT["advice"][advice] if isinstance(advice, str) else advice)
    return REMEDIES[kind](**given)


def _line(row: Mapping[str, Any], source: str) -> Line:
    regex = row["regex"]
    return Line(**{"source": source, **row, "regex": regex if isinstance(regex, str) else "|".join(regex)})


def _failure(row: dict[str, Any]) -> Failure:
    lines = tuple(_line(one, row["source"]) for one in row.pop("log", ()))
    denied, explains = row.pop("denied", ""), row.pop("explains", ())
    return Failure(
        remedy=_remedy(row), lines=lines, denied=getattr(Facts, denied) if denied else None,
        explains=tuple(name for one in explains for name in GROUPS.get(one, [one])), **row,
    )  # fmt: skip


FAILURES: tuple[Failure, ...] = tuple(map(_failure, DOCUMENT["failures"]))
BY_ID = {failure.id: failure for failure in FAILURES}


def consequences(failure: str, seen: Iterable[str] = BY_ID) -> frozenset[str]:
    """Ids of the failures that follow from one, directly or through others.

    seen: those that there are; nothing follows through one that is not.
    """
    there = frozenset(seen)
    found: set[str] = set()
    waiting = [failure]
    while waiting:
        new = (set(BY_ID[waiting.pop()].explains) & there) - found
        found |= new
        waiting += new
    return frozenset(found - {failure})
