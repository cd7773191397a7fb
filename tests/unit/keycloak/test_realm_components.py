"""Components, default groups and default client scopes: declared, planned, applied, and exported again."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import yaml

from ops.core.errors import UsageProblem
from ops.keycloak.realm.change import HIDDEN, Change, masked
from ops.keycloak.realm.components import flat
from ops.keycloak.realm.declaration import Declaration, parse_realm
from ops.keycloak.realm.export import export
from ops.keycloak.realm.plan import losses, plan_realm, undeclared
from tests.unit.realm_model import DECLARED, Model

MORE = """
components:
  org.keycloak.storage.UserStorageProvider:
    - name: staff
      providerId: ldap
      config:
        enabled: [true]
        connectionUrl: [ldaps://ldap.example]
        bindDn: [cn=reader]
        bindCredential: ["@secret:ldap-bind@"]
      subComponents:
        org.keycloak.storage.ldap.mappers.LDAPStorageMapper:
          - name: username
            providerId: user-attribute-ldap-mapper
            config: {ldap.attribute: [sAMAccountName]}
          - name: groups
            providerId: group-ldap-mapper
            config: {groups.dn: ["ou=groups"]}
  org.keycloak.userprofile.UserProfileProvider:
    - providerId: declarative-user-profile
      config:
        kc.user.profile.config:
          - unmanagedAttributePolicy: ADMIN_VIEW
            attributes:
              - {name: username, displayName: "${username}"}
              - {name: department, multivalued: false}
  org.keycloak.keys.KeyProvider:
    - name: rsa-generated
      providerId: rsa-generated
      config: {priority: [50]}
groups:
  - name: staff
    subGroups: [{name: office}]
defaultGroups: [/staff/office]
clientScopes:
  - {name: tenant, protocol: openid-connect}
defaultDefaultClientScopes: [role_list, profile, email, roles, web-origins, acr, basic, phone]
defaultOptionalClientScopes: [offline_access, address, tenant]
"""
TEXT = DECLARED + MORE
DIRECTORY = "UserStorageProvider/staff"
MAPPERS = f"{DIRECTORY}/LDAPStorageMapper"
PROFILE = "UserProfileProvider/declarative-user-profile"


def declared(text: str = TEXT) -> Declaration:
    return parse_realm(text, "realm.yaml")


PLAIN = Model().become(declared(DECLARED))
MADE = Model().become(declared())


def model(made: Model = MADE) -> Model:
    fresh = Model()
    fresh.live = copy.deepcopy(made.live)
    return fresh


def told(changes: tuple[Change, ...]) -> list[str]:
    return [change.described() for change in changes]


def config(live: Any, path: str = DIRECTORY) -> Any:
    """Options of a live component, to be changed."""
    return flat(live)[path]["config"]


def test_one_run_makes_a_realm_with_all_of_it() -> None:
    assert plan_realm(declared(), MADE.live) == ()
    assert MADE.live["defaultGroups"] == ["/staff/office"]
    assert {*flat(MADE.live)} >= {DIRECTORY, f"{MAPPERS}/username", f"{MAPPERS}/groups", PROFILE, "KeyProvider/rsa-generated"}


def test_mapper_that_keycloak_makes_with_a_directory_is_changed_and_not_made_twice() -> None:
    mappers = flat(MADE.live)[DIRECTORY]["subComponents"]["org.keycloak.storage.ldap.mappers.LDAPStorageMapper"]

    assert [one["name"] for one in mappers] == ["username", "email", "groups"]
    assert mappers[0]["config"] == {"ldap.attribute": ["sAMAccountName"]}


def test_directory_is_made_before_what_belongs_to_it_is_planned() -> None:
    changes = plan_realm(declared(), PLAIN.live)

    made = [change for change in changes if change.kind == "component" and change.action == "create"]
    assert [(change.name, change.adds_more) for change in made] == [(DIRECTORY, True), (PROFILE, False)]
    assert made[0].request.body["config"]["enabled"] == ["true"]
    assert made[0].request.body["providerType"] == "org.keycloak.storage.UserStorageProvider"


ENABLED = '{"unmanagedAttributePolicy":"ENABLED"}'
DRIFT: dict[str, tuple[Any, list[str]]] = {
    "option": (
        lambda it: config(it).update(connectionUrl=["ldap://other"]),
        [f"component {DIRECTORY}: config.connectionUrl +ldaps://ldap.example -ldap://other"],
    ),
    "option that is not declared": (lambda it: config(it).update(batchSizeForSync=["9"]), []),
    "mapper": (
        lambda it: config(it, f"{MAPPERS}/groups").update({"groups.dn": ["ou=x"]}),
        [f"component {MAPPERS}/groups: config.groups.dn +ou=groups -ou=x"],
    ),
    "priority of a key": (
        lambda it: config(it, "KeyProvider/rsa-generated").update(priority=["100"]),
        ["component KeyProvider/rsa-generated: config.priority +50 -100"],
    ),
    "policy of the user profile": (
        lambda it: config(it, PROFILE).update({"kc.user.profile.config": [
            config(it, PROFILE)["kc.user.profile.config"][0].replace("ADMIN_VIEW", "ENABLED")
        ]}),
        [f"component {PROFILE}: config.kc.user.profile.config.unmanagedAttributePolicy ENABLED -> ADMIN_VIEW"],
    ),
    "default group": (lambda it: it["defaultGroups"].clear(), ["realm cc03: defaultGroups +/staff/office"]),
    "another default group": (lambda it: it["defaultGroups"].append("/staff"), ["realm cc03: defaultGroups -/staff"]),
    "default scope that became optional": (
        lambda it: (it["defaultDefaultClientScopes"].remove("phone"), it["defaultOptionalClientScopes"].append("phone")),
        ["realm cc03: defaultOptionalClientScopes -phone", "realm cc03: defaultDefaultClientScopes +phone"],
    ),
    "order": (lambda it: it["defaultDefaultClientScopes"].reverse(), []),
}  # fmt: skip


@pytest.mark.parametrize("case", DRIFT)
def test_drift_is_found_and_put_right(case: str) -> None:
    edit, expected = DRIFT[case]
    changed = model()
    edit(changed.live)

    changes = plan_realm(declared(), changed.live)

    assert told(changes) == expected
    assert plan_realm(declared(), changed.become(declared()).live) == ()


def test_profile_keeps_what_is_not_declared_of_it() -> None:
    changed = model()
    config(changed.live, PROFILE)["kc.user.profile.config"] = [json.dumps({"groups": [{"name": "meta"}], "attributes": []})]

    (change,) = plan_realm(declared(), changed.live)

    sent = json.loads(change.request.body["config"]["kc.user.profile.config"][0])
    assert (sent["groups"], len(sent["attributes"])) == ([{"name": "meta"}], 2)


def test_secret_of_a_component_is_a_reference_and_never_shown() -> None:
    created = next(change for change in plan_realm(declared(), PLAIN.live) if change.name == DIRECTORY)
    live = {"components": {"t": [{"config": {"bindCredential": ["hunter2"], "connectionUrl": ["x"]}}]}}

    assert created.request.body["config"]["bindCredential"] == ["@secret:ldap-bind@"]
    assert "ldap-bind" in declared().secrets
    assert masked(live, {"hunter2": "@secret:ldap-bind@"})["components"]["t"][0]["config"] == {
        "bindCredential": ["@secret:ldap-bind@"], "connectionUrl": ["x"],
    }  # fmt: skip
    assert masked(live, {})["components"]["t"][0]["config"]["bindCredential"] == [HIDDEN]


def test_secret_that_is_another_is_not_printed() -> None:
    changed = model()
    config(changed.live)["bindCredential"] = [HIDDEN]

    (change,) = plan_realm(declared(), changed.live)

    assert change.described() == f"component {DIRECTORY}: config.bindCredential is not the one of the state folder"


def without_directory() -> Any:
    realm = dict(declared().realm)
    realm["components"] = {**realm["components"], "org.keycloak.storage.UserStorageProvider": []}
    return realm


def test_what_is_not_declared_is_left_alone_unless_listed() -> None:
    changed, realm = model(), without_directory()

    assert plan_realm(Declaration(realm), changed.live) == ()
    assert undeclared(realm, changed.live)["components"] == [DIRECTORY]
    changes = plan_realm(Declaration(realm, {"components": ("UserStorageProvider/*",)}), changed.live)
    assert told(changes) == [f"delete component {DIRECTORY}"]
    assert losses(changes, "cc03") == (f"component {DIRECTORY} of realm cc03",)
    changed.perform(changes[0])
    assert undeclared(realm, changed.live)["components"] == []


def test_standard_mappers_of_a_declared_directory_are_neither_listed_nor_pruned() -> None:
    changed = model()
    flat(changed.live)[DIRECTORY]["subComponents"]["org.keycloak.storage.ldap.mappers.LDAPStorageMapper"].append(
        {"name": "clicked", "providerId": "hardcoded-ldap-role-mapper", "config": {}}
    )

    assert undeclared(declared().realm, changed.live)["components"] == [f"{MAPPERS}/clicked"]
    changes = plan_realm(Declaration(declared().realm, {"components": ("*",)}), changed.live)
    assert told(changes) == [f"delete component {MAPPERS}/clicked"]


def test_keycloaks_own_components_and_keys_are_never_pruned() -> None:
    assert undeclared(declared(DECLARED).realm, PLAIN.live)["components"] == []
    assert plan_realm(Declaration(declared(DECLARED).realm, {"components": ("*",)}), PLAIN.live) == ()


def test_new_client_gets_the_default_scopes_of_the_realm() -> None:
    realm = {
        **declared().realm,
        "clients": [*declared().realm["clients"], {"clientId": "x", "optionalClientScopes": ["tenant"]}],
    }
    made = model().become(Declaration(realm)).live

    (client,) = [one for one in made["clients"] if one["clientId"] == "x"]
    assert set(client["defaultClientScopes"]) == {"profile", "email", "roles", "web-origins", "acr", "basic", "phone"}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("      providerId: ldap\n", "", "providerId"),
        ("      providerId: ldap\n", "      providerId: ldap\n      options: {}\n", 'has no "options"'),
        ("            providerId: group-ldap-mapper\n", "", "groups"),
        ("components:\n", "components: [x]\nremoved:\n", "removed"),
    ],
)
def test_declaration_that_keycloak_would_refuse_is_refused(old: str, new: str, says: str) -> None:
    assert old in TEXT
    with pytest.raises(UsageProblem) as problem:
        declared(TEXT.replace(old, new))
    assert says in f"{problem.value.what} {problem.value.why}"


def exported(live: Any, text: str = TEXT) -> Any:
    return export(yaml.safe_load(text), declared(text).realm, live, {})


def test_export_of_what_was_just_applied_is_the_declaration() -> None:
    written = yaml.safe_load(TEXT)
    document = exported(MADE.live)

    for key in ("components", "defaultGroups", "defaultDefaultClientScopes", "defaultOptionalClientScopes", "groups"):
        assert document[key] == written[key], key
    new = {"components", "defaultGroups", "defaultDefaultClientScopes", "defaultOptionalClientScopes"}
    assert new & {*exported(PLAIN.live, DECLARED)} == set()


def test_export_has_what_somebody_made_and_no_secret() -> None:
    live = copy.deepcopy(MADE.live)
    config(live)["connectionUrl"] = ["ldap://other"]
    config(live, PROFILE)["kc.user.profile.config"] = [ENABLED]

    document = exported(live, DECLARED)

    (ldap,) = document["components"]["org.keycloak.storage.UserStorageProvider"]
    assert ldap["config"]["connectionUrl"] == ["ldap://other"]
    assert "**********" not in yaml.safe_dump(document)
    config(live)["bindCredential"] = [HIDDEN]
    storage = "org.keycloak.storage.UserStorageProvider"
    assert "bindCredential" not in exported(live, DECLARED)["components"][storage][0]["config"]
    assert exported(live)["components"][storage][0]["config"]["bindCredential"] == ["@secret:ldap-bind@"]
    assert document["defaultGroups"] == ["/staff/office"]
    assert "tenant" in document["defaultOptionalClientScopes"]


@pytest.mark.parametrize("text", [DECLARED, TEXT])
def test_what_was_exported_changes_nothing_when_it_is_planned(text: str) -> None:
    live = copy.deepcopy(MADE.live)
    config(live)["connectionUrl"] = ["ldap://other"]
    config(live, PROFILE)["kc.user.profile.config"] = [ENABLED]

    assert plan_realm(parse_realm(yaml.safe_dump(exported(live, text)), "export"), live) == ()
