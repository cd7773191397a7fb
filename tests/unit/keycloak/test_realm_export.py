"""The live realm as a declaration: nothing changes when it is planned again, and what was clicked is in it."""

from __future__ import annotations

import copy
from typing import Any

import yaml
from hypothesis import given, settings

from ops.keycloak.realm.change import HIDDEN, UNKNOWN
from ops.keycloak.realm.declaration import Declaration, parse_realm
from ops.keycloak.realm.export import export
from ops.keycloak.realm.plan import plan_realm
from ops.stack.compose import fill
from tests.unit.keycloak.test_realm import client, completed, objects, role, user
from tests.unit.realm_model import DECLARED, Model

URLS = {"CC03_OPS_URL": "https://localhost:9443", "CC03_PUBLIC_URL": "https://shop.example"}
VALUES = {**URLS, "CC03_DOMAIN": "shop.example"}
FILLED = parse_realm(fill(DECLARED, VALUES, "realm.yaml"), "realm.yaml")
WRITTEN = yaml.safe_load(DECLARED)
MADE = Model().become(FILLED).live


def exported(live: Any) -> Any:
    return export(WRITTEN, FILLED.realm, live, URLS)


def declared_again(document: Any) -> Declaration:
    text = yaml.safe_dump(document, sort_keys=False)
    return parse_realm(fill(text, VALUES, "export"), "export")


def clicked() -> Any:
    live: Any = copy.deepcopy(MADE)
    live |= {"accessTokenLifespan": 900, "otpPolicyDigits": 8, "loginTheme": "mine"}
    live["attributes"]["mine"] = "1"
    live["clients"].append({"id": "x", "clientId": "clicked", "secret": "[REDACTED]", "redirectUris": ["https://shop.example/x"],
                            "protocolMappers": [{"id": "y", "name": "m", "config": {"k": "v"}}]})  # fmt: skip
    client(live)["redirectUris"].append("https://two.example/")
    client(live)["consentRequired"] = True
    client(live)["protocolMappers"].append({"id": "z", "name": "clicked"})
    client(live, "cc03-grafana")["secret"] = HIDDEN
    live["roles"]["realm"].append({"id": "r", "name": "clicked", "attributes": {"a": ["1"]}})
    role(live, "admin")["composites"]["realm"].append("clicked")
    live["groups"].append({"id": "g", "name": "staff", "realmRoles": ["viewer"], "subGroups": []})
    live["scopeMappings"].append({"client": "clicked", "roles": ["viewer"]})
    live["identityProviders"].append(
        {"alias": "corp", "internalId": "i", "config": {"clientSecret": UNKNOWN, "key": UNKNOWN, "clientId": "c"}}
    )
    live["users"][0]["realmRoles"].append("clicked")
    return live


def test_export_of_what_was_just_applied_is_the_declaration() -> None:
    document = exported(MADE)

    assert {key: value for key, value in document.items() if WRITTEN.get(key) != value} == {}
    assert plan_realm(declared_again(document), MADE) == ()


def test_what_has_not_changed_stands_as_it_was_written() -> None:
    written, filled = {"realm": "r", "displayName": "${CC03_DOMAIN} shop"}, {"realm": "r", "displayName": "shop.example shop"}

    assert export(written, filled, filled, URLS)["displayName"] == "${CC03_DOMAIN} shop"
    assert export(written, filled, {**filled, "displayName": "other"}, URLS)["displayName"] == "other"


def test_export_keeps_what_was_clicked() -> None:
    document = exported(clicked())

    assert (document["accessTokenLifespan"], document["otpPolicyDigits"], document["loginTheme"]) == (900, 8, "mine")
    assert document["attributes"] == {"adminEventsExpiration": "7776000", "mine": "1"}
    found = client(document, "clicked")
    assert found == {
        "clientId": "clicked", "redirectUris": ["${CC03_PUBLIC_URL}/x"],
        "protocolMappers": [{"name": "m", "config": {"k": "v"}}],
    }  # fmt: skip
    frontend = client(document)
    assert frontend["redirectUris"] == ["${CC03_PUBLIC_URL}/", "https://two.example/"]
    assert frontend["consentRequired"] is True
    assert [one["name"] for one in frontend["protocolMappers"]] == ["audience of the API", "clicked"]
    assert role(document, "clicked") == {"name": "clicked", "attributes": {"a": ["1"]}}
    assert document["groups"] == [{"name": "staff", "realmRoles": ["viewer"]}]
    assert {"client": "clicked", "roles": ["viewer"]} in document["scopeMappings"]
    assert document["identityProviders"] == [{"alias": "corp", "config": {"clientId": "c"}}]


def test_export_has_no_secret_and_keeps_the_references() -> None:
    text = yaml.safe_dump(exported(clicked()))

    assert HIDDEN not in text
    assert UNKNOWN not in text
    assert client(exported(clicked()), "cc03-grafana")["secret"] == "@secret:keycloak-grafana@"
    assert user(exported(clicked()))["credentials"] == user(WRITTEN)["credentials"]


def test_what_was_clicked_is_no_change_once_it_is_declared() -> None:
    live = clicked()
    changes = plan_realm(declared_again(exported(live)), live)

    assert [change.described() for change in changes] == ["client cc03-grafana: secret is not the one of the state folder"]


def test_declared_object_that_somebody_deleted_is_not_in_it() -> None:
    live: Any = copy.deepcopy(MADE)
    live["clients"].remove(client(live, "cc03-grafana"))
    live["scopeMappings"] = [one for one in live["scopeMappings"] if one["client"] != "cc03-grafana"]

    document = exported(live)

    assert "cc03-grafana" not in [one["clientId"] for one in document["clients"]]
    assert plan_realm(declared_again(document), live) == ()


@given(one=objects, two=objects)
@settings(max_examples=20, deadline=None)
def test_export_of_any_realm_under_any_declaration_changes_nothing(one: dict[str, Any], two: dict[str, Any]) -> None:
    live = Model().become(completed(one)).live
    declaration = completed(two)
    document = export(declaration.realm, declaration.realm, live, URLS)
    again = Declaration({**document, "users": []})

    changes = [
        change for change in plan_realm(again, live)
        # Secrets are references in it, whatever the live one is.
        if not any(difference.secret for difference in change.differences)
    ]  # fmt: skip
    assert [change.described() for change in changes] == []
