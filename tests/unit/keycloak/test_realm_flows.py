"""Authentication flows and client policies: declared whole, exported as declared, and no login ever meets half a flow."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ops.core.errors import UsageProblem
from ops.keycloak.realm.change import HIDDEN, Ref
from ops.keycloak.realm.declaration import Declaration, parse_realm
from ops.keycloak.realm.export import export
from ops.keycloak.realm.flows import BINDINGS, FORMER, OF_PROVIDERS, Flows
from ops.keycloak.realm.kinds import OVERRIDES
from ops.keycloak.realm.plan import losses, plan_realm, undeclared
from tests.unit.keycloak.test_realm import SHAPES, flows, told
from tests.unit.realm_model import Model

BASE: dict[str, Any] = {"realm": "r", "roles": {"realm": []}, "clients": [{"clientId": "shop"}], "users": []}


def realm(number: int = 2, **more: Any) -> dict[str, Any]:
    return {**copy.deepcopy(BASE), **flows({"mfa": number}), "browserFlow": "mfa", **more}


def declaration(found: dict[str, Any], **prune: tuple[str, ...]) -> Declaration:
    read = parse_realm(yaml.safe_dump(found), "realm.yaml")
    return Declaration(read.realm, prune)


def made(number: int = 2, **more: Any) -> Model:
    """Live, with a client and an identity provider that nobody declared, both with a flow of their own choice."""
    model = Model().become(declaration(realm(number, **more)))
    model.live["clients"].append({"clientId": "clicked", "secret": HIDDEN, OVERRIDES: {"browser": "mfa"}})
    model.live["identityProviders"].append({"alias": "corp", "postBrokerLoginFlowAlias": "mfa", "config": {"k": "v"}})
    return model


def tree(live: dict[str, Any], alias: str) -> list[Any]:
    """All that a login through this flow meets, whatever its parts are called."""
    found = Flows.of(live)
    values: dict[Any, Any] = {None: None, **{name: one["config"] for name, one in found.configs.items()}}
    return [
        tree(live, one["flowAlias"]) if "flowAlias" in one
        else (one["authenticator"], one["requirement"], values[one.get("authenticatorConfig")])
        for one in found.executions(alias)
    ]  # fmt: skip


def bound(live: dict[str, Any]) -> dict[str, str]:
    """Who uses which flow."""
    result = {key: live[key] for key in BINDINGS}
    for client in live["clients"]:
        result |= {f"{client['clientId']}.{key}": alias for key, alias in (client.get(OVERRIDES) or {}).items()}
    for provider in live["identityProviders"]:
        result |= {f"{provider['alias']}.{key}": provider[key] for key in OF_PROVIDERS if key in provider}
    return result


def test_flow_is_made_whole_before_anybody_uses_it() -> None:
    model = Model().become(declaration({**copy.deepcopy(BASE)}))
    changes = plan_realm(declaration(realm()), model.live)

    assert told(changes) == [
        "create authentication flow mfa", "create authentication flow mfa forms", "create authentication flow mfa otp",
        "create execution mfa/auth-cookie", "create execution mfa/mfa forms",
        "create execution mfa forms/auth-username-password-form", "create execution mfa forms/mfa otp",
        "create execution mfa otp/conditional-user-role", "create authenticator config mfa otp 0",
        "realm r: browserFlow browser -> mfa",
    ]  # fmt: skip
    assert changes[4].request.body == {
        "parentFlow": Ref("authentication flow", "mfa"), "flowId": Ref("authentication flow", "mfa forms"),
        "authenticatorFlow": True, "requirement": "REQUIRED", "priority": 20,
    }  # fmt: skip


def test_flow_in_use_is_set_aside_and_goes_when_nobody_uses_it_any_more() -> None:
    model = made(1)
    changes = plan_realm(declaration(realm(0)), model.live)

    assert told(changes) == [
        "authentication flow mfa: mfa.executions -mfa forms; alias mfa -> mfa - former",
        "authentication flow mfa forms: alias mfa forms -> mfa forms - former",
        "create authentication flow mfa",
        "create execution mfa/auth-cookie",
        "realm r: browserFlow mfa - former -> mfa",
        f"client clicked: {OVERRIDES}.browser mfa - former -> mfa",
        "identity provider corp: postBrokerLoginFlowAlias mfa - former -> mfa",
        "discard authentication flow mfa - former",
    ]
    assert losses(changes, "r") == ()
    assert [one.name for one in changes if one.unusual] == ["corp"]
    client = next(one for one in changes if one.name == "clicked")
    assert client.request.body == {"clientId": "clicked", OVERRIDES: {"browser": Ref("authentication flow", "mfa")}}
    for change in changes:
        model.perform(change)
    assert bound(model.live) | {"browserFlow": "mfa", "clicked.browser": "mfa"} == bound(model.live)
    assert not [one for one in Flows.of(model.live).flows if FORMER.search(one)]


def test_flow_that_nobody_uses_is_made_anew_at_once() -> None:
    found = realm()
    del found["browserFlow"]
    live = Model().become(declaration(found)).live
    live["authenticatorConfig"][0]["config"]["condUserRole"] = "viewer"

    first, *rest = told(plan_realm(declaration(found), live))

    assert first == "discard authentication flow mfa: mfa otp/conditional-user-role.condUserRole viewer -> admin2"
    assert rest[0] == "create authentication flow mfa"
    assert not any("former" in one for one in rest)


def test_binding_that_the_declaration_moves_elsewhere_is_moved() -> None:
    model = made(1, clients=[{"clientId": "shop", OVERRIDES: {"browser": "mfa"}}])
    wanted = declaration(realm(2, browserFlow="browser", clients=[{"clientId": "shop", OVERRIDES: {"browser": ""}}]))
    for change in plan_realm(wanted, model.live):
        model.perform(change)

    assert {key: bound(model.live)[key] for key in ("browserFlow", "shop.browser", "clicked.browser")} == {
        "browserFlow": "browser", "shop.browser": "", "clicked.browser": "mfa",
    }  # fmt: skip
    assert plan_realm(wanted, model.live) == ()


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda it: it[0]["authenticationExecutions"][0].update(requirement="DISABLED"),
         "mfa/auth-cookie.requirement DISABLED -> REQUIRED"),
        (lambda it: it[1]["authenticationExecutions"].reverse(), ""),
        (lambda it: it[1]["authenticationExecutions"][0].update(priority=99),
         "mfa forms.executions mfa otp, auth-username-password-form -> auth-username-password-form, mfa otp"),
        (lambda it: it[2]["authenticationExecutions"].append({"authenticator": "x", "priority": 99}),
         "mfa otp.executions -x"),
        (lambda it: it[0].update(providerId="client-flow"), "providerId client-flow -> basic-flow"),
        (lambda it: it[0].update(description="clicked"), ""),
    ],
)  # fmt: skip
def test_drift_of_a_flow_is_found(edit: Any, said: str) -> None:
    model = made()
    edit([one for one in model.live["authenticationFlows"] if one["alias"].startswith("mfa")])
    changes = plan_realm(declaration(realm()), model.live)

    assert [one.partition("; ")[0] for one in told(changes)][:1] == ([f"authentication flow mfa: {said}"] if said else [])
    for change in changes:
        model.perform(change)
    assert plan_realm(declaration(realm()), model.live) == ()


@pytest.mark.parametrize("done", range(1, 17))
def test_change_of_a_flow_that_was_broken_off_is_finished(done: int) -> None:
    model = made(2)
    for change in plan_realm(declaration(realm(3)), model.live)[:done]:
        model.perform(change)
    for change in plan_realm(declaration(realm(3)), model.live):
        model.perform(change)

    assert plan_realm(declaration(realm(3)), model.live) == ()
    assert not [alias for alias in Flows.of(model.live).flows if FORMER.search(alias)]


def test_binding_that_is_not_declared_follows_the_flow() -> None:
    model = made(1, clients=[{"clientId": "shop", OVERRIDES: {"browser": "mfa"}}])
    found = realm(0, clients=[{"clientId": "shop"}])
    del found["browserFlow"]
    changes = plan_realm(declaration(found), model.live)

    assert "realm r: browserFlow mfa - former -> mfa" in told(changes)
    shop = next(one for one in changes if one.name == "shop")
    assert shop.request.body[OVERRIDES] == {"browser": Ref("authentication flow", "mfa")}


numbers = st.integers(0, len(SHAPES) - 1)


@given(one=numbers, two=numbers, three=numbers, data=st.data())
@settings(max_examples=40, deadline=None)
def test_every_login_meets_a_whole_flow_whatever_is_broken_off(one: int, two: int, three: int, data: st.DataObject) -> None:
    """From one version to a second, broken off, and on to a third."""
    model = made(one)
    whole = [tree(made(number).live, "mfa") for number in (one, two, three)]
    users = bound(model.live)
    for number, complete in ((two, False), (three, True)):
        changes = plan_realm(declaration(realm(number)), model.live)
        for change in changes[: len(changes) if complete else data.draw(st.integers(0, len(changes)))]:
            model.perform(change)
            for user, alias in bound(model.live).items():
                assert FORMER.sub("", alias) == users[user]
                assert users[user] != "mfa" or tree(model.live, alias) in whole
    assert bound(model.live) == users
    assert tree(model.live, "mfa") == whole[2]
    assert plan_realm(declaration(realm(three)), model.live) == ()
    assert undeclared(realm(three), model.live)["authenticationFlows"] == []
    assert not [alias for alias in Flows.of(model.live).flows if FORMER.search(alias)]


# What is not declared, and what is Keycloak's own.


def test_undeclared_flow_is_told_and_pruned_only_when_listed_and_out_of_use() -> None:
    model = made()
    wanted = {**copy.deepcopy(BASE)}

    assert plan_realm(declaration(wanted), model.live) == ()
    assert undeclared(wanted, model.live)["authenticationFlows"] == ["mfa"]
    pruned = declaration({**wanted, "browserFlow": "browser"}, authenticationFlows=("m*", "browser"))
    assert told(plan_realm(pruned, model.live)) == ["realm r: browserFlow mfa -> browser"]
    both = {"clients": ("clicked",), "identityProviders": ("corp",)}
    everything = declaration({**wanted, "browserFlow": "browser"}, authenticationFlows=("m*",), **both)
    assert told(plan_realm(everything, model.live))[-3:] == [
        "delete client clicked", "delete identity provider corp", "delete authentication flow mfa",
    ]  # fmt: skip
    model.live["clients"].pop()
    model.live["identityProviders"].clear()
    changes = plan_realm(pruned, model.live)
    assert told(changes) == ["realm r: browserFlow mfa -> browser", "delete authentication flow mfa"]
    assert losses(changes, "r") == ("authentication flow mfa of realm r",)
    for change in changes:
        model.perform(change)
    assert not [alias for alias in Flows.of(model.live).flows if alias.startswith("mfa")]
    assert model.live["authenticatorConfig"] == []


@pytest.mark.parametrize("kind", ["authenticationFlows", "authenticatorConfig"])
def test_alias_of_what_is_not_declared_is_never_taken(kind: str) -> None:
    model = made()
    other = copy.deepcopy({**BASE, **flows({"new": 2})})
    if kind == "authenticationFlows":
        other["authenticationFlows"][2]["alias"] = "mfa otp"
        other["authenticationFlows"][1]["authenticationExecutions"][1]["flowAlias"] = "mfa otp"
    else:
        other["authenticatorConfig"][0]["alias"] = "mfa otp 0"
        other["authenticationFlows"][2]["authenticationExecutions"][0]["authenticatorConfig"] = "mfa otp 0"

    with pytest.raises(UsageProblem, match="mfa otp") as caught:
        plan_realm(declaration(other), model.live)
    assert 'the flow "mfa"' in caught.value.why


def test_flow_that_has_become_keycloaks_own_is_refused() -> None:
    live = made().live
    next(one for one in live["authenticationFlows"] if one["alias"] == "mfa")["builtIn"] = True

    with pytest.raises(UsageProblem, match="Keycloak's own") as caught:
        plan_realm(declaration(realm(0)), live)
    assert "declare a copy under another alias" in caught.value.why


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"browserFlow": "mfaa"}, "browserFlow"),
        ({"clients": [{"clientId": "shop", OVERRIDES: {"browser": "mfaa"}}]}, "client shop: browser"),
        ({"identityProviders": [{"alias": "i", "firstBrokerLoginFlowAlias": "mfaa"}]}, "provider i: firstBrokerLoginFlowAlias"),
    ],
)
def test_binding_to_nothing_is_refused_before_anything_is_changed(more: Any, what: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        plan_realm(declaration(realm(**more)), made().live)
    assert what in caught.value.what
    assert 'did you mean "mfa"' in caught.value.why


def flow(alias: str = "x", *executions: Any, **more: Any) -> dict[str, Any]:
    return {"alias": alias, "authenticationExecutions": list(executions), **more}


def run(name: str = "auth-cookie", **more: Any) -> dict[str, Any]:
    return {"authenticator": name, "requirement": "REQUIRED", **more}


SUB = {"flowAlias": "y", "requirement": "REQUIRED"}
REFUSED: dict[str, tuple[list[Any], list[Any], str]] = {
    "Keycloak's own": ([flow("browser", run())], [], "never changed"),
    "its own sub-flow": ([flow("forms", run())], [], "never changed"),
    "said to be its own": ([flow("x", run(), builtIn=True)], [], "never changed"),
    "bracket": ([flow("x (new)", run())], [], "takes none of"),
    "set aside": ([flow("x - former", run())], [], "set aside under"),
    "twice": ([flow("x", run()), flow("x", run())], [], "2 times"),
    "unknown key": ([flow("x", run(), executions=[])], [], 'has no "executions"'),
    "unknown key of an execution": ([flow("x", run(requirements="x"))], [], 'did you mean "requirement"'),
    "no requirement": ([flow("x", {"authenticator": "auth-cookie"})], [], "REQUIRED, ALTERNATIVE"),
    "nothing to run": ([flow("x", {"requirement": "REQUIRED"})], [], "neither an authenticator"),
    "no flow": ([flow("x", run(authenticatorFlow=True))], [], "where there is a flowAlias"),
    "one priority": ([flow("x", run(priority=1), run())], [], "priority"),
    "equal priorities": ([flow("x", run(priority=1), run(priority=1))], [], "priority"),
    "no sub-flow": ([flow("x", SUB)], [], 'no authentication flow "y"'),
    "sub-flow twice": ([flow("x", SUB, SUB), flow("y")], [], "more than one place"),
    "flow within": ([flow("x", SUB), flow("y", topLevel=True)], [], "more than one place"),
    "lost sub-flow": ([flow("x", topLevel=False)], [], "part of no flow"),
    "circle": ([flow("y", SUB)], [], "part of no flow"),
    "no config": ([flow("x", run(authenticatorConfig="c"))], [], 'no authenticatorConfig "c"'),
    "unused config": ([flow("x", run())], [{"alias": "c"}], "of 0 executions"),
    "config of two": ([flow("x", run(authenticatorConfig="c"), run(authenticatorConfig="c"))], [{"alias": "c"}], "of 2"),
    "config of Keycloak": (
        [flow("x", run(authenticatorConfig="review profile config"))], [{"alias": "review profile config"}], "own"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_flow_that_keycloak_would_refuse_is_refused_before(case: str) -> None:
    found, configs, words = REFUSED[case]
    with pytest.raises(UsageProblem) as caught:
        parse_realm(yaml.safe_dump({"realm": "r", "authenticationFlows": found, "authenticatorConfig": configs}), "realm.yaml")
    assert words in f"{caught.value.what} {caught.value.why}"


# Export.


def exported(written: dict[str, Any], live: dict[str, Any]) -> dict[str, Any]:
    return export(written, written, live, {})


def test_export_of_flows_is_the_declaration_and_plans_nothing() -> None:
    written = realm(4, clients=[{"clientId": "shop", OVERRIDES: {"browser": "mfa"}}])
    document = exported(written, Model().become(declaration(written)).live)

    for key in ("authenticationFlows", "authenticatorConfig", "browserFlow", "clients"):
        assert document[key] == written[key]


def test_export_has_flows_that_were_clicked_or_changed_and_none_of_keycloaks() -> None:
    model = made()
    clicked = Model().become(declaration({**copy.deepcopy(BASE), **flows({"own": 4})})).live
    for key in ("authenticationFlows", "authenticatorConfig"):
        model.live[key] += [one for one in clicked[key] if not one.get("builtIn")]
    model.live["authenticatorConfig"][0]["config"] = {"condUserRole": "viewer", "secret": HIDDEN}
    document = exported(realm(), model.live)

    assert [one["alias"] for one in document["authenticationFlows"]] == ["mfa", "mfa forms", "mfa otp", "own", "own otp"]
    assert document["authenticatorConfig"][0] == {"alias": "mfa otp 0", "config": {"condUserRole": "viewer"}}
    assert HIDDEN not in yaml.safe_dump(document)
    model.live["authenticatorConfig"][0]["config"].pop("secret")
    assert plan_realm(declaration(document), model.live) == ()


# Client profiles and policies.

PROFILE = {"name": "strict", "executors": [{"executor": "pkce-enforcer", "configuration": {"auto-configure": True}}]}
POLICY = {"name": "public", "enabled": True, "profiles": ["strict"],
          "conditions": [{"condition": "client-access-type", "configuration": {"type": ["public"]}}]}  # fmt: skip


def with_policies() -> dict[str, Any]:
    found = {**BASE, "clientProfiles": {"profiles": [PROFILE]}, "clientPolicies": {"policies": [POLICY]}}
    return copy.deepcopy(found)


def test_policies_are_made_after_their_profiles_and_nothing_undeclared_is_lost() -> None:
    model = Model().become(declaration(copy.deepcopy(BASE)))
    model.live["clientProfiles"]["profiles"] = [{"name": "clicked", "executors": []}]
    changes = plan_realm(declaration(with_policies()), model.live)

    assert told(changes) == ["realm r: client profile +strict", "realm r: client policy +public"]
    for change in changes:
        model.perform(change)
    assert [one["name"] for one in model.live["clientProfiles"]["profiles"]] == ["clicked", "strict"]
    assert plan_realm(declaration(with_policies()), model.live) == ()
    assert undeclared(with_policies(), model.live)["clientProfiles"] == ["clicked"]


def test_drift_of_a_policy_is_found_and_what_keycloak_adds_is_not() -> None:
    live = Model().become(declaration(with_policies())).live
    live["clientProfiles"]["profiles"][0]["executors"][0]["configuration"]["more"] = 1
    assert plan_realm(declaration(with_policies()), live) == ()
    live["clientPolicies"]["policies"][0]["enabled"] = False

    assert told(plan_realm(declaration(with_policies()), live)) == ["realm r: public.enabled false -> true"]


def test_policies_are_pruned_before_the_profiles_that_they_name() -> None:
    model = Model().become(declaration(with_policies()))
    changes = plan_realm(declaration(copy.deepcopy(BASE), clientProfiles=("*",), clientPolicies=("pub*",)), model.live)

    assert told(changes) == ["delete client policy public", "delete client profile strict"]
    for change in changes:
        model.perform(change)
    assert (model.live["clientProfiles"], model.live["clientPolicies"]) == ({"profiles": []}, {"policies": []})


def test_export_has_policies_as_declared_and_those_that_were_clicked() -> None:
    live = Model().become(declaration(with_policies())).live
    live["clientPolicies"]["policies"].append({"name": "clicked", "enabled": True})
    document = exported(with_policies(), live)

    assert document["clientProfiles"] == {"profiles": [PROFILE]}
    assert document["clientPolicies"] == {"policies": [POLICY, {"name": "clicked", "enabled": True}]}
    assert plan_realm(declaration(document), live) == ()
