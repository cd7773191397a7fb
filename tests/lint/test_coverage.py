"""Every alert says which kind of fault it is about, for inv coverage."""

from __future__ import annotations

import yaml

from ops.core.machine import REPOSITORY
from ops.monitoring.coverage.matrix import KINDS

from .test_alerts import ALERTS, ALWAYS_FIRES

LISTED: dict[str, list[str]] = yaml.safe_load((REPOSITORY / "config" / "coverage.yaml").read_text())


def test_every_alert_is_listed_once_and_nothing_else_is() -> None:
    names = [name for listed in LISTED.values() for name in listed]

    assert sorted(names) == sorted(set(ALERTS) - ALWAYS_FIRES)


def test_kinds_are_those_of_the_matrix() -> None:
    assert set(LISTED) == {*KINDS, "other"}
