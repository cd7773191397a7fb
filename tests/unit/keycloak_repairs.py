"""Situations that a repair is decided from, and ways to read what was decided."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

from ops.core.plan import Plan, Step
from ops.keycloak.failures.diagnose import diagnose
from ops.keycloak.failures.facts import Facts, Session
from ops.keycloak.failures.failure import Finding
from ops.keycloak.failures.table import BY_ID
from ops.keycloak.repair.plan import next_way
from ops.keycloak.repair.situation import Repair, Situation
from ops.keycloak.repair.sql import SET_HERE
from tests.unit import builders
from tests.unit.keycloak.test_failures import CASES
from tests.unit.keycloak_facts import (
    failing,
    postgres,
)

RELEASE = replace(builders.wanted(without=["grafana"]), number=4)
EARLIER = replace(builders.wanted(without=["grafana"], tags={"keycloak": "0"}, config={"keycloak": "kc-0"}), number=3)
SEEN = replace(
    builders.deployed(replace(RELEASE, number=None)), release={"number": 4},
    images=frozenset(one.tag for one in RELEASE.images.values()),
)  # fmt: skip
DRIFT = ("variable KC_PROXY is set",)
FOREIGN = Session(99, "", 45.0, "psql")


def situation(facts: Facts, **changes: object) -> Situation:
    return replace(Situation(facts, SEEN, RELEASE, next_number=5), **changes)  # type: ignore[arg-type]


def finding(mode: str, facts: Facts | None = None) -> Finding:
    """The finding of these facts, or one that the log alone would tell."""
    for one in diagnose(facts).findings if facts else ():
        if one.id == mode:
            return one
    return Finding.of(BY_ID[mode])


def facts_of(mode: str) -> Facts:
    """Facts that show a mode; those of a crash loop where only the log would."""
    if mode == "role-connections-full":
        return postgres(sessions=(replace(FOREIGN, application="psql"),))
    if mode == "postgres-read-only":
        return postgres(read_only=SET_HERE)
    if mode == "second-keycloak":
        facts = CASES[mode][0]
        return replace(facts, neighbours={"10.64.6.40": "other-keycloak"}, other_keycloaks=frozenset({"other-keycloak"}))
    return CASES[mode][0] if mode in CASES else failing()


def broken(mode: str, **changes: object) -> Situation:
    facts, seen = facts_of(mode), SEEN
    if mode in ("postgres-down", "nginx-down"):
        seen = builders.with_state(SEEN, "exited", mode.partition("-")[0])
    return situation(facts, **{"drift": DRIFT, "seen": seen, **changes})


def way(mode: str, tried: Iterable[tuple[str, str]] = (), **changes: object) -> Repair:
    found = broken(mode, **changes)
    repair = next_way(found, finding(mode, found.facts), frozenset(tried))
    assert repair is not None, mode
    return repair


def kinds(repair: Repair | None) -> list[type[Step]]:
    assert repair is not None
    return [type(step) for step in repair.steps]


def order(repair: Repair, *wanted: type[Step]) -> bool:
    """Whether steps of these kinds come in this order, each waiting for the one before."""
    plan = Plan("keycloak.fix", repair.steps)
    places = [next(step for step in repair.steps if isinstance(step, kind)) for kind in wanted]
    pairs = pairwise(places)
    return all(first.key in builders.before(plan, second.key) for first, second in pairs)
