"""When a repair believes what was seen: the log alone, beside a database that did not answer, is looked at again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops.keycloak import fix as keycloak_fix
from ops.keycloak.failures.failure import Diagnosis
from ops.project import Project
from tests.unit.keycloak_repairs import facts_of, finding

UNREAD = ("database content: no answer within 4.5 s",)
LOGGED = finding("option-unknown")
CERTAIN = finding("role-cannot-login", facts_of("role-cannot-login"))


def diagnosis(*findings: Any, unread: tuple[str, ...] = ()) -> Diagnosis:
    return cast(Diagnosis, SimpleNamespace(findings=findings, unread=unread))


@pytest.mark.parametrize(
    ("seen", "looks"),
    [
        ([diagnosis(LOGGED, unread=UNREAD), diagnosis(CERTAIN)], 2),
        ([diagnosis(LOGGED)], 1),
        ([diagnosis(CERTAIN, LOGGED, unread=UNREAD)], 1),
        ([diagnosis(LOGGED, unread=UNREAD)] * (keycloak_fix.LOOKS + 1), keycloak_fix.LOOKS),
    ],
    ids=["read in the end", "all was read", "a fact shows it", "never read"],
)
def test_looks(seen: list[Diagnosis], looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not LOGGED.certain and CERTAIN.certain
    situation = SimpleNamespace(facts=SimpleNamespace(starting=False))
    rest = list(seen)
    monkeypatch.setattr(keycloak_fix, "PAUSE", 0.0)
    monkeypatch.setattr(keycloak_fix._Run, "look", lambda _: (situation, rest.pop(0)))

    found = keycloak_fix._Run(cast(Project, None), yes=True, quiet=True).settled(None)

    assert len(seen) - len(rest) == looks
    assert found[1] is seen[looks - 1]
