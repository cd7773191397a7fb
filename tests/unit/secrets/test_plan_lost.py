"""New secrets are never generated over old data; a first deploy that was killed goes on."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest

from ops.core.errors import HostLacks
from ops.deploy.plan import plan_deploy
from ops.deploy.steps import CreateVolume
from ops.secrets.plan import lost_secrets, refuse_lost_secrets
from ops.secrets.steps import GenerateSecret
from ops.stack.model import Seen
from tests.unit.builders import before, deployed, done, keys, stack, step, wanted

ALL = ("postgres-app", "postgres-superuser")
STATE = Path("/state/cc03")


def test_state_folder_that_was_lost_is_told_by_its_volumes() -> None:
    running = deployed(wanted())
    lost = replace(running, secret_versions={}, certificates={}, release=None, config_current={}, config_loaded={})

    assert lost_secrets(stack(), lost) == ALL
    assert lost_secrets(stack(), Seen(volumes=lost.volumes)) == ALL, "nothing is left but the data"


def test_single_secret_that_was_lost_is_told_by_podmans_copy() -> None:
    running = deployed(wanted())

    assert lost_secrets(stack(), replace(running, secret_versions={"postgres-app": 1})) == ("postgres-superuser",)


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param(Seen(), id="first deploy"),
        pytest.param(deployed(wanted()), id="all is there"),
        pytest.param(Seen(secret_versions={"postgres-app": 1, "postgres-superuser": 1}), id="destroyed, without volumes"),
        pytest.param(Seen(volumes=frozenset({"other-postgres-data"})), id="volume of another project"),
        pytest.param(
            replace(deployed(wanted()), secret_versions={"postgres-app": 1}, podman_secrets=frozenset({"cc03-postgres-app-1"})),
            id="secret that is new in the stack",
        ),
        pytest.param(
            replace(deployed(wanted()), podman_secrets=frozenset()), id="destroyed with the data kept: Podman's copies are gone"
        ),
    ],
)
def test_nothing_is_lost(seen: Seen) -> None:
    assert lost_secrets(stack(), seen) == ()
    refuse_lost_secrets(stack(), seen, STATE)


def test_first_deploy_that_was_killed_after_any_step_goes_on() -> None:
    release = wanted()
    steps = plan_deploy(release, Seen()).steps
    for seen in accumulate(steps, lambda so_far, one: done([one], so_far, release), initial=Seen()):
        assert lost_secrets(stack(), seen) == ()


def test_volumes_are_made_after_every_secret() -> None:
    plan = plan_deploy(wanted(), Seen())
    generated = {one.key for one in plan.steps if isinstance(one, GenerateSecret)}

    assert generated == {f"generate {name}" for name in ALL}
    for key in keys(plan):
        if isinstance(step(plan, key), CreateVolume):
            assert generated <= before(plan, key)


def test_refusal_says_what_is_missing_and_both_ways_out() -> None:
    with pytest.raises(HostLacks) as caught:
        refuse_lost_secrets(stack(), Seen(volumes=frozenset({"cc03-postgres-data"})), STATE)

    assert caught.value.exit_code == 3
    assert caught.value.what == "volumes of project cc03 exist, but /state/cc03 holds no secrets"
    assert "bring /state/cc03 back" in caught.value.next_step
    assert "inv destroy --no-keep-data, then inv deploy" in caught.value.next_step


def test_refusal_names_the_single_secret_that_is_missing() -> None:
    with pytest.raises(HostLacks, match="does not hold postgres-superuser"):
        refuse_lost_secrets(stack(), replace(deployed(wanted()), secret_versions={"postgres-app": 1}), STATE)
