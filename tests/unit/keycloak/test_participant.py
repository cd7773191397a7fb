"""The realm in a deploy: applied once Keycloak and nginx are healthy, before who needs it; nothing where nothing differs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.deploy.plan import plan_deploy
from ops.keycloak.participant import ONLY
from ops.keycloak.realm.steps import ApplyRealm
from ops.secrets.steps import GenerateSecret, StoreSecret
from ops.stack.model import Seen
from ops.stack.release import manifest_of, release_files, same
from ops.stack.wanted import Wanted, with_one_service, with_realm
from tests.unit.builders import LEFT_OUT, before, defects, deployed, done, keys, step, wanted

REALM = """
realm: cc03
accessTokenLifespan: {lifespan}
roles: {{realm: [{{name: viewer}}]}}
clients: [{{clientId: cc03-keeper, secret: "@secret:keycloak-keeper@"}}]
"""
SECRET = "keycloak-keeper"


def text(lifespan: int = 300, more: str = "") -> str:
    return REALM.format(lifespan=lifespan) + more


def release(realm: str = text(), **changes: Any) -> Wanted:
    """The small stack with a realm, whose secret no container mounts."""
    plain = wanted(**changes)
    keycloak = replace(plain.stack.services["keycloak"], api_secrets=(SECRET,))
    stack = replace(
        plain.stack, services={**plain.stack.services, "keycloak": keycloak}, secrets=(*plain.stack.secrets, SECRET)
    )
    return replace(plain, stack=stack, versions={**plain.versions, SECRET: 1}, realm=realm)


def test_first_deploy_makes_the_realm_before_those_who_need_it_start() -> None:
    plan = plan_deploy(release(), Seen())

    assert defects(plan) == []
    realm = step(plan, "realm")
    assert isinstance(realm, ApplyRealm)
    assert realm.title == "apply realm cc03 once Keycloak is healthy"
    assert (realm.realm, realm.changes, realm.deletions) == (text(), (), False)
    assert {"healthy keycloak", "healthy nginx", f"generate {SECRET}"} <= before(plan, "realm")
    assert "realm" in before(plan, "start backend-1")
    assert "realm" not in before(plan, "start nginx")
    assert keys(plan).index("realm") < keys(plan).index("start backend-1")


def test_secret_that_only_the_realm_has_is_made_and_not_given_to_podman() -> None:
    plan = plan_deploy(release(), Seen())

    assert SECRET in {one.name for one in plan.steps if isinstance(one, GenerateSecret)}
    assert SECRET not in {one.name for one in plan.steps if isinstance(one, StoreSecret)}


def test_realm_as_declared_takes_no_step() -> None:
    assert plan_deploy(release(), deployed(release())).steps == ()


def test_other_declaration_is_another_release_and_restarts_nothing() -> None:
    now, new = release(), release(text(600))
    plan = plan_deploy(new, deployed(now))

    assert keys(plan) == ["release", "realm"]
    assert step(plan, "realm").details() == ("realm cc03: accessTokenLifespan 300 -> 600",)
    assert [(one.service, one.action, one.gap_seconds) for one in plan.changes] == [("keycloak", "apply", 0.0)]
    assert plan_deploy(new, done(plan.steps, deployed(now), new)).steps == ()
    assert not same(manifest_of(now, ()), manifest_of(new, ()))
    assert release_files(new)["realm.yaml"] == text(600)


def drifted(seen: Seen, **values: Any) -> Seen:
    live = {**copy.deepcopy(dict(seen.realm or {})), **values}
    return replace(seen, realm=live)


def test_drift_is_put_right_without_a_new_release() -> None:
    plan = plan_deploy(release(), drifted(deployed(release()), accessTokenLifespan=9))

    assert keys(plan) == ["realm"]
    assert step(plan, "realm").title == "apply realm cc03: 1 change"


@pytest.mark.parametrize(
    ("only", "steps"), [(None, ["realm"]), ("keycloak", ["realm"]), (ONLY, ["realm"]), ("backend", []), ("nginx", [])]
)
def test_realm_belongs_to_keycloak_alone(only: str | None, steps: list[str]) -> None:
    seen = drifted(deployed(release()), accessTokenLifespan=9)

    assert keys(plan_deploy(release(), seen, only=only)) == steps


def test_realm_that_cannot_be_seen_is_looked_at_when_it_can() -> None:
    plan = plan_deploy(release(), replace(deployed(release()), realm=None))

    assert keys(plan) == ["realm"]
    assert step(plan, "realm").changes == ()


def test_deletions_are_told_before_they_are_done() -> None:
    pruning = release(text(more="prune: {clients: [old]}\n"))
    seen = deployed(pruning)
    assert plan_deploy(pruning, seen).destroys == ()

    old = drifted(seen, clients=[*(seen.realm or {})["clients"], {"clientId": "old"}])
    plan = plan_deploy(pruning, old)
    assert plan.destroys == ("client old of realm cc03",)
    assert step(plan, "realm").deletions
    unknown = plan_deploy(pruning, replace(seen, realm=None))
    assert unknown.destroys == ("whatever realm cc03 has of the kinds under `prune` (clients)",)
    assert plan_deploy(pruning, Seen()).destroys == (), "nobody can have made anything in a realm that is not there yet"


def test_release_without_a_declaration_leaves_the_realm_alone() -> None:
    assert plan_deploy(release(""), replace(deployed(release("")), realm=None)).steps == ()


def test_realm_alone_makes_a_release_of_the_last_one_with_another_realm() -> None:
    last = replace(release(), number=4)
    mixed = with_realm(release(text(600), tags={"backend": "2"}), last)

    assert (mixed.number, mixed.realm, mixed.images["backend"].tag) == (None, text(600), "localhost/cc03/backend:1")
    seen = replace(deployed(last), unavailable=LEFT_OUT)
    plan = plan_deploy(mixed, seen, only=ONLY)
    assert keys(plan) == ["release", "realm"]
    assert step(plan, "release").manifest == {**manifest_of(last, LEFT_OUT), "realm": manifest_of(mixed, ())["realm"]}


def test_realm_of_the_last_release_stays_where_one_service_is_deployed() -> None:
    last = replace(release(), number=4)

    assert with_one_service(release(text(600)), last, "backend").realm == text()
    assert with_one_service(release(text(600)), last, "keycloak").realm == text(600)


releases = st.builds(
    lambda tags, lifespan, more: release(text(lifespan, more), tags=tags),
    tags=st.dictionaries(st.sampled_from(["keycloak", "backend", "nginx", "edge"]), st.sampled_from(["1", "2"])),
    lifespan=st.sampled_from([300, 600]), more=st.sampled_from(["", "rememberMe: true\n", "prune: {clients: ['*']}\n"]),
)  # fmt: skip


@given(old=releases, new=releases, unseen=st.booleans(), drift=st.sampled_from([{}, {"accessTokenLifespan": 1}]))
@settings(max_examples=25, deadline=None)
def test_plan_leads_from_any_realm_to_the_wanted_one(old: Wanted, new: Wanted, unseen: bool, drift: Mapping[str, Any]) -> None:
    seen = drifted(deployed(old), **drift)
    plan = plan_deploy(new, replace(seen, realm=None) if unseen else seen)

    assert defects(plan) == []
    assert plan_deploy(new, done(plan.steps, seen, new)).steps == ()
