"""The declared realm against the live one: every difference is found, nothing else is touched, and one plan is enough."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.core.errors import UsageProblem
from ops.keycloak.realm.change import HIDDEN, UNKNOWN, Change, Difference, Request, differences, masked, same
from ops.keycloak.realm.declaration import PRUNABLE, Declaration, parse_realm, read_realm
from ops.keycloak.realm.defaults import CLIENT
from ops.keycloak.realm.kinds import OVERRIDES
from ops.keycloak.realm.plan import losses, plan_realm, undeclared
from tests.unit.realm_model import DECLARED, Model, declared

Edit = Callable[[Any], Any]


def live() -> dict[str, Any]:
    """The realm as it is after a first deploy."""
    return copy.deepcopy(MADE.live)


MADE = Model().become(declared())


def with_realm(edit: Edit, prune: dict[str, tuple[str, ...]] | None = None) -> Declaration:
    realm: Any = copy.deepcopy(declared().realm)
    edit(realm)
    return Declaration(realm, prune or {})


def client(realm: Any, name: str = "cc03-frontend") -> Any:
    return next(one for one in realm["clients"] if one["clientId"] == name)


def user(realm: Any, name: str = "operator") -> Any:
    return next(one for one in realm["users"] if one["username"] == name)


def role(realm: Any, name: str) -> Any:
    return next(one for one in realm["roles"]["realm"] if one["name"] == name)


def told(changes: tuple[Change, ...]) -> list[str]:
    return [change.described() for change in changes]


@pytest.mark.parametrize(("kind", "other"), list(permutations(("defaultClientScopes", "optionalClientScopes"))))
def test_client_that_is_made_keeps_the_default_scopes_that_are_not_declared(kind: str, other: str) -> None:
    realm = live()
    realm["clients"].remove(client(realm, "cc03-backend"))
    model = Model()
    model.live = realm

    made = client(model.become(with_realm(lambda it: client(it, "cc03-backend").update({kind: []}))).live, "cc03-backend")
    assert (made[kind], made[other]) == ([], CLIENT[other])


def test_missing_realm_is_made_by_one_change_and_what_that_leaves_by_the_next_plan() -> None:
    first = plan_realm(declared(), {})

    assert [(one.action, one.kind, one.name) for one in first] == [("create", "realm", "cc03")]
    assert first[0].beyond_keeper
    assert plan_realm(declared(), live()) == ()


DRIFT: dict[str, tuple[Edit, list[str]]] = {
    "setting": (lambda it: it.update(accessTokenLifespan=900), ["realm cc03: accessTokenLifespan 900 -> 300"]),
    "attribute": (
        lambda it: it["attributes"].update(adminEventsExpiration="1"),
        ["realm cc03: attributes.adminEventsExpiration 1 -> 7776000"],
    ),
    "redirect": (
        lambda it: client(it)["redirectUris"].append("https://evil.example/*"),
        ["client cc03-frontend: redirectUris -https://evil.example/*"],
    ),
    "secret": (
        lambda it: client(it, "cc03-grafana").update(secret=HIDDEN),
        ["client cc03-grafana: secret is not the one of the state folder"],
    ),
    "client": (lambda it: it["clients"].remove(client(it, "cc03-backend")), ["create client cc03-backend"]),
    "mapper": (lambda it: client(it)["protocolMappers"].clear(), ["create mapper cc03-frontend/audience of the API"]),
    "option of a mapper": (
        lambda it: client(it)["protocolMappers"][0]["config"].update({"id.token.claim": "true"}),
        ["mapper cc03-frontend/audience of the API: config.id.token.claim true -> false"],
    ),
    "composite": (lambda it: role(it, "admin")["composites"].update(realm=[]), ["role admin: composites +editor"]),
    "more than viewer for all": (
        lambda it: role(it, "default-roles-cc03")["composites"]["realm"].append("admin"),
        ["role default-roles-cc03: composites -admin"],
    ),
    "scope mapping": (
        lambda it: it["scopeMappings"].append({"client": "cc03-probe", "roles": ["admin"]}),
        ["client cc03-probe: scope mappings -admin"],
    ),
    "right of the keeper": (
        lambda it: user(it, "service-account-cc03-keeper")["clientRoles"].update({"realm-management": ["manage-realm"]}),
        ["user service-account-cc03-keeper: roles of realm-management +manage-clients +manage-users +view-events"],
    ),
    "user": (
        lambda it: it["users"].remove(user(it, "cc03-probe")), ["create user cc03-probe"],
    ),
    "role of a user": (
        lambda it: user(it)["realmRoles"].remove("admin"), ["user operator: roles +admin"],
    ),
    "what belongs to the user": (lambda it: user(it).update(email="me@x", enabled=False, firstName="Me"), []),
    "what is not declared": (lambda it: it.update(otpPolicyDigits=8, loginTheme="mine"), []),
    "attribute that is not declared": (lambda it: client(it)["attributes"].update({"access.token.lifespan": "9"}), []),
    "another client": (lambda it: it["clients"].append({"clientId": "clicked", "enabled": True}), []),
    "another mapper": (lambda it: client(it)["protocolMappers"].append({"name": "clicked"}), []),
    "order": (lambda it: (it["supportedLocales"].reverse(), role(it, "default-roles-cc03")["composites"]["realm"].sort()), []),
}  # fmt: skip


@pytest.mark.parametrize("case", DRIFT)
def test_drift_is_found_and_put_right(case: str) -> None:
    edit, expected = DRIFT[case]
    model = Model()
    model.live = live()
    edit(model.live)

    changes = plan_realm(declared(), model.live)

    assert told(changes) == expected
    for change in changes:
        model.perform(change)
    assert plan_realm(declared(), model.live) == ()


def test_undeclared_is_left_alone_unless_listed() -> None:
    found = live()
    found["clients"].append({"clientId": "old-shop"})
    found["roles"]["realm"].append({"name": "old"})
    client(found)["protocolMappers"].append({"name": "old"})
    found["groups"].append({"name": "staff", "subGroups": [{"name": "office"}]})

    assert plan_realm(declared(), found) == ()
    listed = undeclared(declared().realm, found)
    assert {kind: names for kind, names in listed.items() if names} == {
        "clients": ["old-shop"], "roles": ["old"], "groups": ["/staff", "/staff/office"],
        "protocolMappers": ["cc03-frontend/old"],
    }  # fmt: skip
    pruned = with_realm(lambda it: None, {"clients": ("old-*",), "roles": ("x",), "protocolMappers": ("cc03-frontend/old",)})
    changes = plan_realm(pruned, found)
    assert told(changes) == ["delete client old-shop", "delete mapper cc03-frontend/old"]
    assert losses(changes, "cc03") == ("client old-shop of realm cc03", "mapper cc03-frontend/old of realm cc03")


def test_keycloaks_own_is_never_pruned() -> None:
    everything: dict[str, tuple[str, ...]] = dict.fromkeys(PRUNABLE, ("*",))

    assert plan_realm(with_realm(lambda it: None, everything), live()) == ()


def test_keeper_gets_rights_first_and_loses_them_last() -> None:
    found = live()
    keeper = user(found, "service-account-cc03-keeper")
    keeper["clientRoles"]["realm-management"] = ["manage-realm", "manage-events"]
    found["accessTokenLifespan"] = 1

    changes = plan_realm(declared(), found)

    assert [one.request.method for one in changes] == ["POST", "PUT", "DELETE"]
    assert [one.beyond_keeper for one in changes] == [True, False, True]


def test_secrets_are_sent_as_references_and_never_shown() -> None:
    found = live()
    client(found, "cc03-grafana")["secret"] = HIDDEN
    (change,) = plan_realm(declared(), found)

    assert change.request.body["secret"] == "@secret:keycloak-grafana@"
    assert change.as_json()["differences"] == [
        {"path": "secret", "old": "[REDACTED]", "new": "@secret:keycloak-grafana@"}
    ]  # fmt: skip


def test_secret_that_is_not_declared_is_never_overwritten_with_what_hides_it() -> None:
    wanted = with_realm(lambda it: client(it, "cc03-grafana").pop("secret"))
    found = live()
    client(found, "cc03-grafana").update(secret=HIDDEN, name="Other")
    (change,) = plan_realm(wanted, found)

    assert "secret" not in change.request.body
    assert change.request.body["name"] == "CC03 dashboards"


def test_value_in_place_of_a_secret_is_not_printed() -> None:
    change = Change("update", "x", "y", Request("PUT"), (Difference("config.key", "hunter2", "@secret:one@"),))

    assert "hunter2" not in f"{change.described()} {change.as_json()}"


def test_live_secrets_become_references_or_are_hidden() -> None:
    found = {"clients": [{"secret": "abc"}, {"secret": "other"}], "smtpServer": {"password": UNKNOWN}, "name": "abc"}

    assert masked(found, {"abc": "@secret:one@"}) == {
        "clients": [{"secret": "@secret:one@"}, {"secret": HIDDEN}], "smtpServer": {"password": UNKNOWN}, "name": "abc",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "have", "equal"),
    [
        (True, "true", True), (False, None, False), ("", None, True), ([], None, True), (["b", "a"], ["a", "b"], True),
        (["a"], ["a", "a"], False), (300, "300", True), (True, False, False), ("x", None, False),
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {}, False), ("@secret:x@", UNKNOWN, True), ("@secret:x@", HIDDEN, False), ("plain", UNKNOWN, False),
    ],
)  # fmt: skip
def test_values_are_compared_as_keycloak_keeps_them(wanted: Any, have: Any, equal: bool) -> None:
    assert same(wanted, have) is equal


def test_long_and_empty_values_are_shown_short() -> None:
    assert Difference("a", None, "x" * 100).described() == "a (none) -> " + "x" * 59 + "…"
    assert Difference("a", ["1", "2"], ["2", "3"]).described() == "a +3 -1"
    assert Difference("a", True, False).described() == "a true -> false"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("realm: [", "not valid YAML"),
        ("enabled: true", "names no realm"),
        ("realm: cc03\naccessTokenLifesp: 3", 'did you mean "accessTokenLifespan"'),
        ("realm: cc03\nclients: [{clientId: a, redirectUri: [x]}]", 'did you mean "redirectUris"'),
        ("realm: cc03\nprune: {users: ['*']}", 'prune has no kind "users"'),
    ],
)
def test_what_would_be_ignored_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        parse_realm(text, "realm.yaml")
    assert words in f"{caught.value.what} {caught.value.why}"


def test_sealed_declaration_is_read_whatever_its_version_knew() -> None:
    old = read_realm("realm: cc03\nnoSuchKey: 1\nclients:\nprune: {clients: [a], gone: [b]}")

    assert old == Declaration({"realm": "cc03", "noSuchKey": 1, "clients": []}, {"clients": ("a",)})


def test_declaration_names_its_secrets() -> None:
    assert declared().secrets >= {"keycloak-keeper", "keycloak-probe", "keycloak-probe-user", "operator-password"}


# Any declaration from any other one.

SHAPES: tuple[dict[str, Any], ...] = (
    {"top": ["auth-cookie"]},
    {"top": ["auth-cookie", "forms"], "forms": ["auth-username-password-form"]},
    {"top": ["auth-cookie", "forms"], "forms": ["auth-username-password-form", "otp"], "otp": ["conditional-user-role"]},
    {"top": ["forms"], "forms": ["otp", "auth-username-password-form"], "otp": ["conditional-user-role", "auth-otp-form"]},
    {"top": ["auth-cookie", "otp"], "otp": ["conditional-user-role", "conditional-user-role"]},
)  # fmt: skip
"""Flows: name -> its executions, some of which are flows."""


def flows(shapes: dict[str, int]) -> dict[str, Any]:
    """Declared flows of these aliases and shapes, and their configurations."""
    found: list[Any] = []
    configs: list[Any] = []
    for alias, number in shapes.items():
        shape = SHAPES[number]
        full = {name: alias if name == "top" else f"{alias} {name}" for name in shape}
        for name, executions in shape.items():
            flow: Any = {"alias": full[name], "authenticationExecutions": []}
            for place, one in enumerate(executions):
                execution = {"requirement": "REQUIRED"} | ({"flowAlias": full[one]} if one in full else {"authenticator": one})
                if one == "conditional-user-role":
                    execution["authenticatorConfig"] = f"{full[name]} {place}"
                    configs.append({"alias": f"{full[name]} {place}", "config": {"condUserRole": f"admin{number}"}})
                flow["authenticationExecutions"].append(execution)
            found.append(flow)
    return {"authenticationFlows": found, "authenticatorConfig": configs}


words = st.sampled_from(["a", "b", "c"])
some = st.lists(words, unique=True, max_size=3)
objects = st.fixed_dictionaries({
    "accessTokenLifespan": st.sampled_from([300, 600]),
    "attributes": st.dictionaries(words, st.sampled_from(["1", "2"])),
    "roles": st.fixed_dictionaries({
        "realm": st.lists(
            st.fixed_dictionaries({"name": words, "description": st.sampled_from(["x", "y"])},
                                  optional={"composites": st.just({"realm": ["offline_access"]})}),
            unique_by=lambda one: str(one["name"]), max_size=3,
        ),
    }),
    "clientScopes": st.lists(
        st.fixed_dictionaries({"name": words}, optional={
            "protocolMappers": some.map(lambda names: [{"name": name, "config": {"k": name}} for name in names]),
        }),
        unique_by=lambda one: str(one["name"]), max_size=2,
    ),
    "clients": st.lists(
        st.fixed_dictionaries({"clientId": words, "serviceAccountsEnabled": st.just(True)}, optional={
            "redirectUris": some, "attributes": st.dictionaries(words, words),
            "secret": st.sampled_from(["@secret:one@", "@secret:two@"]),
            "protocolMappers": some.map(lambda names: [{"name": name, "protocol": "x"} for name in names]),
            "defaultClientScopes": st.just(["basic"]),
        }),
        unique_by=lambda one: str(one["clientId"]), max_size=3,
    ),
    "groups": some.map(lambda names: [{"name": name, "realmRoles": ["offline_access"], "subGroups": [{"name": "in"}]}
                                      for name in names]),
    "identityProviders": some.map(lambda names: [{"alias": name, "config": {"clientSecret": "@secret:x@"}} for name in names]),
    "requiredActions": st.sampled_from([[], [{"alias": "VERIFY_EMAIL", "enabled": False}]]),
    "shapes": st.dictionaries(words, st.integers(0, len(SHAPES) - 1), max_size=2),
    "clientProfiles": some.map(lambda names: {"profiles": [{"name": name, "executors": []} for name in names]}),
    "users": some.map(lambda names: [{"username": name, "realmRoles": ["offline_access"], "attributes": {"k": [name]}}
                                     for name in names]),
})  # fmt: skip


def completed(realm: dict[str, Any]) -> Declaration:
    """With rights for all clients that there are, and with flows, bound in the realm and in every client."""
    realm = copy.deepcopy(realm)
    shapes = realm.pop("shapes")
    realm |= flows(shapes)
    if shapes:
        realm |= {"browserFlow": next(iter(shapes)), "directGrantFlow": next(reversed(shapes))}
        for one in realm["clients"]:
            one[OVERRIDES] = {"browser": next(iter(shapes))}
    parse_realm(yaml.safe_dump({**realm, "realm": "r"}), "realm.yaml")
    mappings = [{"client": one["clientId"], "roles": ["offline_access"]} for one in realm["clients"]]
    services = [
        {"username": f"service-account-{one['clientId']}", "serviceAccountClientId": one["clientId"], "realmRoles": []}
        for one in realm["clients"]
    ]  # fmt: skip
    return Declaration({**realm, "realm": "r", "scopeMappings": mappings, "users": [*realm["users"], *services]})


@given(one=objects, two=objects)
@settings(max_examples=25, deadline=None)
def test_any_realm_becomes_any_other_one_and_then_has_nothing_to_do(one: dict[str, Any], two: dict[str, Any]) -> None:
    model = Model().become(completed(one))
    assert plan_realm(completed(one), model.live) == ()

    for change in plan_realm(completed(two), model.live):
        model.perform(change)

    assert plan_realm(completed(two), model.live) == ()


@given(one=objects, two=objects, data=st.data())
@settings(max_examples=15, deadline=None)
def test_change_broken_off_anywhere_is_finished_by_the_next_one(one: Any, two: Any, data: st.DataObject) -> None:
    model = Model().become(completed(one))
    changes = plan_realm(completed(two), model.live)
    for change in changes[: data.draw(st.integers(0, len(changes)))]:
        model.perform(change)

    for change in plan_realm(completed(two), model.live):
        model.perform(change)

    assert plan_realm(completed(two), model.live) == ()


def test_declaration_of_this_repository_is_read() -> None:
    assert declared(DECLARED).name == "cc03"


def test_false_that_is_declared_is_applied_where_keycloak_has_no_value_and_means_true() -> None:
    declared = {"attributes": {"backchannel.logout.session.required": False}, "authorizationServicesEnabled": False}

    assert [one.described() for one in differences(declared, {"attributes": {}})] == [
        "attributes.backchannel.logout.session.required (none) -> false"
    ]
    assert not any(differences(declared, {"attributes": {"backchannel.logout.session.required": "false"}}))


@pytest.mark.parametrize(
    "name",
    [
        "saml.signing.private.key", "saml.encryption.private.key", "privateKey", "keystorePassword", "keyPassword",
        "clientSecret", "bindCredential", "secret", "secret.key", "client.secret.rotated", "password",
    ],
)  # fmt: skip
def test_secret_of_any_name_is_hidden(name: str) -> None:
    assert masked({"attributes": {name: "hush"}, "list": [{name: "hush"}]}, {}) == {
        "attributes": {name: HIDDEN}, "list": [{name: HIDDEN}]
    }  # fmt: skip
    assert masked({name: "hush"}, {"hush": "@secret:mine@"}) == {name: "@secret:mine@"}


@pytest.mark.parametrize(
    "name", ["passwordPolicy", "resetPasswordAllowed", "client.secret.creation.time", "saml.signing.certificate"]
)
def test_what_only_sounds_like_a_secret_is_shown(name: str) -> None:
    assert masked({name: "shown"}, {}) == {name: "shown"}
