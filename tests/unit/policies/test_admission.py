"""What a release loosens is shown in the plan, and refused where nobody accepts it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from ops.core.errors import OpsError
from ops.core.plan import Described, Plan
from ops.policies.admission import FLAG, new_exemptions, refuse_violations, violations
from ops.stack.model import Stack
from ops.stack.release import release_files
from ops.stack.wanted import Wanted, pack, unpack
from tests.drill.walls.seeds import OVERLAYS, Overlay, laid_over
from tests.unit.builders import REPOSITORY, stack, wanted

COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "compose" / "compose.yaml").read_text(encoding="utf-8"))
STEP = Described("start", "start redis")


def exempt(own: Stack, service: str, **reasons: str) -> Stack:
    declared = own.services[service]
    own_keys = {**declared.definition["x-cc03"], "exempt": reasons}
    changed = replace(declared, definition={**declared.definition, "x-cc03": own_keys})
    return replace(own, services={**own.services, service: changed})


def test_the_stack_as_it_is_delivered_violates_nothing() -> None:
    assert violations(COMPOSE) == ()


@pytest.mark.parametrize("overlay", OVERLAYS, ids=lambda overlay: overlay.name)
def test_every_loosened_protection_is_a_violation(overlay: Overlay) -> None:
    assert violations(laid_over(COMPOSE, overlay))


def test_violations_are_refused_with_what_to_type_and_pass_where_they_are_accepted() -> None:
    plan = Plan("deploy", (STEP,), violations=("redis: is privileged", "redis: runs as root"))

    with pytest.raises(OpsError) as refused:
        refuse_violations(plan, accepted=False)

    what, why, next_step = refused.value.lines()
    assert "2 policy violations" in what
    assert "redis: is privileged" in why
    assert refused.value.details == ("redis: runs as root",)
    assert f"inv deploy … {FLAG}" in next_step
    assert refused.value.exit_code == 1
    refuse_violations(plan, accepted=True)
    refuse_violations(Plan("deploy", (STEP,)), accepted=False)


def test_exemption_is_new_where_the_running_release_does_not_have_it() -> None:
    before = exempt(stack(), "nginx", root="it binds a low port")
    after = exempt(before, "postgres", capabilities="CHOWN, for its data")

    assert new_exemptions(after, before) == ("postgres: capabilities: CHOWN, for its data",)
    assert new_exemptions(before, after) == ()
    assert new_exemptions(after, None) == ()


def test_sealed_release_keeps_its_violations_and_one_without_reads_as_before() -> None:
    clean, loosened = wanted(), replace(wanted(), violations=("redis: is privileged",))

    assert "violations" not in pack(clean)
    assert _read_again(loosened).violations == loosened.violations
    assert _read_again(clean).violations == ()
    assert release_files(clean) != release_files(loosened)


def _read_again(release: Wanted) -> Wanted:
    return unpack(pack(release), release.compose, release.config_files, "", 1)
