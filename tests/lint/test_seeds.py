"""Every seeded misconfiguration of compose.yaml is found by the policy that it breaks, and the file as it is by none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from ops.core.machine import REPOSITORY
from ops.policies import POLICIES, problems
from tests.drill.walls.seeds import LEAKED, OVERLAYS, SOCKET, Overlay, filled, laid_over

COMPOSE: Mapping[str, Any] = yaml.safe_load((REPOSITORY / "compose" / "compose.yaml").read_text())
NUMBERED = {policy.number: policy.name for policy in POLICIES.values()}
EXAMPLES = {SOCKET: "/run/podman/podman.sock", LEAKED: "Zk3v9PqL7wXb2Rt5Yh8N"}


def test_there_are_forty_and_each_has_a_name_of_its_own() -> None:
    assert len({overlay.name for overlay in OVERLAYS}) == len(OVERLAYS) >= 40


def test_policies_are_numbered_without_gaps() -> None:
    assert sorted(NUMBERED, key=lambda number: int(number[2:])) == [f"1.{number}" for number in range(1, len(POLICIES) + 1)]


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda overlay: overlay.name)
def test_misconfiguration_is_found(overlay: Overlay) -> None:
    found = {problem.policy for problem in problems(filled(laid_over(COMPOSE, overlay), EXAMPLES))}

    assert NUMBERED[overlay.policy] in found
