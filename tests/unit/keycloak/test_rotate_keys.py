"""Rotation of the realm's keys: new ones sign, old ones verify for as long as they must, and go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops.core.errors import NeedsPerson, OpsError
from ops.core.plan import Step
from ops.core.state import State
from ops.keycloak.admin import Api
from ops.keycloak.rotate import commands
from ops.keycloak.rotate.keys import (
    INTERNAL,
    MARGIN,
    PUBLIC,
    Provider,
    not_rotated,
    parse,
    plan_back,
    plan_keys,
    providers,
    stamp,
    unfinished,
    valid_until,
)
from ops.keycloak.rotate.steps import CreateKey, RemoveKey, RetireKey
from ops.project import Project
from tests.unit.builders import before, keys, step

NOW = parse("20260102T030405Z")
THIS, UNTIL = stamp(NOW), NOW + 36060
BOTH = PUBLIC | INTERNAL
RSA = Provider("r1", "rsa-generated", "RS256", "rsa-generated", 100)
HMAC = Provider("h1", "hmac-generated", "HS512", "hmac-generated-hs512", 100)
NEW_RSA = replace(RSA, identity="r2", name=f"rsa-generated RS256 {THIS}", priority=101)
NEW_HMAC = replace(HMAC, identity="h2", name=f"hmac-generated HS512 {THIS}", priority=102)
OLD_RSA = replace(RSA, active=False, name=f"rsa-generated until {stamp(UNTIL)}")


def component(**changed: Any) -> dict[str, Any]:
    return {"id": "r1", "name": "rsa-generated", "providerId": "rsa-generated", "config": {"priority": ["100"]}, **changed}


def test_first_rotation_creates_verifies_and_then_retires() -> None:
    plan = plan_keys((RSA, HMAC), NOW, THIS, UNTIL)

    assert keys(plan) == ["create RS256", "verify keys", "retire r1"]
    create, retire = step(plan, "create RS256"), step(plan, "retire r1")
    assert isinstance(create, CreateKey) and (create.priority, create.like, create.name) == (101, "r1", NEW_RSA.name)
    assert isinstance(retire, RetireKey) and retire.name == f"rsa-generated until {stamp(UNTIL)}"
    # Nothing stops signing before the new key is seen to sign.
    assert {"create RS256", "verify keys"} <= before(plan, "retire r1")
    assert "no user is logged out" in plan.notes[0] and len(plan.notes) == 1


def test_internal_keys_are_rotated_on_request_and_the_price_is_told() -> None:
    plan = plan_keys((RSA, HMAC), NOW, THIS, UNTIL, BOTH)

    assert keys(plan) == ["create RS256", "create HS512", "verify keys", "retire r1", "retire h1"]
    assert "type the password again" in plan.notes[1]


@pytest.mark.parametrize(
    ("found", "left"),
    [
        ((RSA, NEW_RSA, HMAC), ["verify keys", "retire r1"]),
        ((OLD_RSA, NEW_RSA, HMAC), []),
        ((OLD_RSA, NEW_RSA, HMAC, NEW_HMAC), ["verify keys", "retire h1"]),
    ],
    ids=["created", "done", "two internal ones sign"],
)
def test_rotation_goes_on_from_where_it_was_broken_off(found: tuple[Provider, ...], left: list[str]) -> None:
    assert keys(plan_keys(found, NOW, THIS, UNTIL)) == left
    assert unfinished(found) == (THIS if left else "")


def test_broken_off_rotation_of_both_kinds_goes_on_with_the_second() -> None:
    found = (RSA, NEW_RSA, HMAC)

    assert unfinished(found) == THIS
    assert keys(plan_keys(found, NOW, THIS, UNTIL, BOTH)) == ["create HS512", "verify keys", "retire r1", "retire h1"]


def test_rotation_of_one_kind_is_whole_and_the_next_one_of_both_rotates_both() -> None:
    found, later = (OLD_RSA, NEW_RSA, HMAC), stamp(NOW + 3600)

    assert unfinished(found) == unfinished((RSA, HMAC)) == ""
    assert keys(plan_keys(found, NOW + 3600, later, UNTIL, BOTH)) == [
        "create RS256", "create HS512", "verify keys", "retire r2", "retire h1",
    ]  # fmt: skip


def test_second_rotation_removes_what_has_expired_and_keeps_what_has_not() -> None:
    later = UNTIL + 1
    kept = replace(RSA, identity="r0", active=False, name=f"rsa-generated until {stamp(later + 10)}")
    plan = plan_keys((OLD_RSA, kept, NEW_RSA), later, stamp(later), later + 36060)

    assert keys(plan) == ["create RS256", "verify keys", "retire r2", "remove r1"]
    assert isinstance(step(plan, "remove r1"), RemoveKey)
    retire = step(plan, "retire r2")
    assert isinstance(retire, RetireKey) and retire.name == f"{NEW_RSA.name} until {stamp(later + 36060)}"


def test_finish_alone_removes_and_creates_nothing() -> None:
    assert keys(plan_keys((OLD_RSA, NEW_RSA, HMAC), UNTIL + 1, "", UNTIL)) == ["remove r1"]
    assert plan_keys((OLD_RSA, NEW_RSA, HMAC), UNTIL - 1, "", UNTIL).steps == ()
    # What was made passive by hand says no time, and stays.
    by_hand = replace(RSA, active=False)
    assert plan_keys((by_hand, NEW_RSA), UNTIL + 1, "", UNTIL).steps == ()


def test_providers_are_read_as_keycloak_lists_them() -> None:
    listed = [
        component(), component(id="e", providerId="rsa-enc-generated"),
        component(id="h", providerId="hmac-generated", config={"algorithm": ["HS256"], "active": ["false"]}),
        component(id="d", config={"enabled": ["false"], "priority": ["7"]}),
    ]  # fmt: skip
    first, hmac, off = providers(listed)

    assert first == RSA
    assert (hmac.algorithm, hmac.priority, hmac.signs) == ("HS256", 0, False)
    assert (off.priority, off.signs) == (7, False)


def test_made_and_until_are_told_apart() -> None:
    both = replace(RSA, name=f"{NEW_RSA.name} until {stamp(UNTIL)}")

    assert (RSA.made, RSA.until) == ("", None)
    assert (NEW_RSA.made, NEW_RSA.until) == (THIS, None)
    assert (both.made, both.until) == (THIS, UNTIL)
    assert (OLD_RSA.made, OLD_RSA.until) == ("", UNTIL)


def test_old_keys_are_needed_as_long_as_the_longest_session_and_offline_tokens_longer() -> None:
    realm = {"accessTokenLifespan": 300, "ssoSessionMaxLifespan": 36000, "offlineSessionIdleTimeout": 2592000}

    assert valid_until(realm, 1000.2, offline=False) == 1001 + 36000 + MARGIN
    assert valid_until(realm, 1000.0, offline=True) == 1000 + 2592000 + MARGIN
    admin = {**realm, "actionTokenGeneratedByAdminLifespan": 43200}
    assert valid_until(admin, 1000.0, offline=False) == 1000 + 43200 + MARGIN


# Kinds of keys beside RSA, and those that are not made by Keycloak.


def test_elliptic_keys_are_rotated_by_their_own_algorithm() -> None:
    found = providers([
        component(id="e1", providerId="ecdsa-generated", config={"priority": ["9"], "ecdsaEllipticCurveKey": ["P-384"]}),
        component(id="d1", name="ed", providerId="eddsa-generated", config={"priority": ["80"]}),
        component(id="x", name="ecdh", providerId="ecdh-generated"),
    ])  # fmt: skip
    plan = plan_keys(found, NOW, THIS, UNTIL)

    assert [(one.kind, one.algorithm) for one in found] == [("ecdsa-generated", "ES384"), ("eddsa-generated", "EdDSA")]
    created = [one for one in plan.steps if isinstance(one, CreateKey)]
    assert [(one.provider, one.like) for one in created] == [("ecdsa-generated", "e1"), ("eddsa-generated", "d1")]


def test_key_that_was_imported_is_not_called_rotated() -> None:
    found = providers([
        component(), component(id="k", name="from a file", providerId="java-keystore", config={"priority": ["200"]}),
        component(id="i", name="imported", providerId="rsa", config={"priority": ["50"], "active": ["false"]}),
        component(id="n", name="encrypts", providerId="java-keystore", config={"keyUse": ["ENC"]}),
    ])  # fmt: skip
    plan = plan_keys(found, NOW, THIS, UNTIL)

    assert [one.name for one in not_rotated(found)] == ["from a file"]
    assert any("from a file (java-keystore)" in note and "not rotated" in note for note in plan.notes)
    created = [one for one in plan.steps if isinstance(one, CreateKey)]
    assert [(one.like, one.priority) for one in created] == [("r1", 201)]


def test_old_key_stays_as_long_as_the_longest_token_of_any_client() -> None:
    realm = {"accessTokenLifespan": 300, "ssoSessionMaxLifespan": 36000, "offlineSessionIdleTimeout": 2592000}
    clients = [
        {"attributes": {"access.token.lifespan": "864000"}}, {"attributes": {"client.session.max.lifespan": "90000"}},
        {"attributes": {"access.token.lifespan": "-1", "saml.assertion.lifespan": ""}}, {},
    ]  # fmt: skip

    assert valid_until(realm, NOW, offline=False) == NOW + 36000 + MARGIN
    assert valid_until(realm, NOW, offline=False, clients=clients) == NOW + 864000 + MARGIN
    offline = [{"attributes": {"client.offline.session.idle.timeout": "5184000"}}]
    assert valid_until(realm, NOW, offline=False, clients=offline) == NOW + 36000 + MARGIN
    assert valid_until(realm, NOW, offline=True, clients=offline) == NOW + 5184000 + MARGIN


# A rotation that fails.


@pytest.mark.parametrize(
    ("found", "retired"),
    [
        ((RSA, NEW_RSA), ["r2"]),
        ((OLD_RSA, NEW_RSA, HMAC, NEW_HMAC), ["h2"]),
        ((RSA, HMAC), []),
        ((OLD_RSA, NEW_RSA), []),
    ],
    ids=["created", "one kind done", "nothing created", "done"],
)
def test_previous_keys_sign_again_where_they_still_may(found: tuple[Provider, ...], retired: list[str]) -> None:
    plan = plan_back(found, THIS, UNTIL)

    assert [one.identity for one in plan.steps if isinstance(one, RetireKey)] == retired and len(plan.steps) == len(retired)
    assert all(isinstance(one, RetireKey) and one.name.endswith(f"{THIS} until {stamp(UNTIL)}") for one in plan.steps)
    assert plan_back(found, "", UNTIL).steps == ()


class Realm:
    """The key providers of a realm, by its admin API."""

    def __init__(self) -> None:
        self.listed = [component(parentId="p")]

    def get(self, path: str, **_: Any) -> Any:
        identity = path.removeprefix("/components/")
        kinds = {"/components": self.listed, "/client-session-stats": [], "/clients": [], "": {}}
        return kinds[path] if path in kinds else next(one for one in self.listed if one["id"] == identity)

    def ask(self, method: str, path: str, body: Any, **_: Any) -> None:
        if method == "POST":
            self.listed.append({**body, "id": "new"})
        else:
            self.listed = [body if path.endswith(f"/{one['id']}") else one for one in self.listed]

    @property
    def signing(self) -> list[str]:
        return [one.identity for one in providers(self.listed) if one.signs]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    state = State(tmp_path / "cc03")
    state.prepare()
    monkeypatch.setattr("ops.composition.WHILE_EXECUTING", ())
    monkeypatch.setattr("ops.composition.WHILE_LOCKED", ())
    return cast(Project, SimpleNamespace(
        name="cc03", state=state, remember=lambda: None, deployed=None, cluster=None, prepare=lambda: None
    ))  # fmt: skip


def rotate(project: Project, monkeypatch: pytest.MonkeyPatch, realm: Realm, fails: dict[str, BaseException]) -> None:
    """Rotate the keys. fails: beginning of the key of a step -> what it meets."""

    class Model:
        """Stands for `Execution`."""

        def __init__(self, project: Project, *_: Any) -> None:
            self.project = project

        def do(self, step: Step) -> None:
            for key, problem in fails.items():
                if step.key.startswith(key):
                    raise problem
            if step.key != "verify keys":
                step.run(self)

    monkeypatch.setattr("ops.execution.Execution", Model)
    monkeypatch.setattr(Api, "of", lambda *_, **__: realm)
    monkeypatch.setattr("ops.cli.execute.PAUSE_SECONDS", 0.0)
    commands._keys(project, finish=False, internal=False, plan=False, yes=True)


def test_keys_are_rotated(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    realm = Realm()
    rotate(project, monkeypatch, realm, {})
    assert realm.signing == ["new"]


@pytest.mark.parametrize("problem", [OpsError("no", "why", "next"), KeyError("x")])
def test_new_key_of_the_realm_is_retired_again_whatever_went_wrong(
    project: Project, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    realm = Realm()
    with pytest.raises(OpsError) as caught:
        rotate(project, monkeypatch, realm, {"verify keys": problem})

    assert type(caught.value) is OpsError and caught.value.next_step.startswith("the previous keys sign again")
    assert realm.signing == ["r1"] and realm.listed[1]["name"].startswith("rsa-generated RS256 ")


def test_new_key_that_cannot_be_retired_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NeedsPerson, match="no") as caught:
        rotate(
            project, monkeypatch, Realm(), {"verify keys": OpsError("no", "why", "next"), "retire": OpsError("again", "x", "")}
        )
    assert "having the previous keys sign again failed as well: again: x" in caught.value.why
    assert caught.value.next_step.endswith("inv keycloak.rotate keys continues")


def test_rotation_that_created_no_key_leaves_them_as_they_are(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OpsError, match="no") as caught:
        rotate(project, monkeypatch, Realm(), {"create": OpsError("no", "why", "next")})
    assert caught.value.next_step == "no key is half replaced; next"
