"""Changes of the realm as requests: whose they are, how addresses and secrets are filled in, what is said when one fails."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops.core.errors import HostLacks, OpsError
from ops.core.state import State
from ops.keycloak.admin import KEEPER, OPERATIONS, Account, Answer, Forbidden, Refused, Unreachable
from ops.keycloak.realm.change import Change, Ref, Request
from ops.keycloak.realm.declaration import Declaration
from ops.keycloak.realm.kinds import OVERRIDES
from ops.keycloak.realm.live import Realm, apply_realm, by_alias

Asked = list[tuple[str, str, str, Any]]


class Recorded(Realm):
    """Requests are written down instead of sent. `answers`: `METHOD path` -> what comes back, or is raised."""

    status = 200
    asked: Asked
    answers: dict[str, Any]

    def ask(self, account: Account, method: str, path: str, body: Any = None, *, ok: tuple[int, ...] = ()) -> Any:
        self.asked.append((account.client_id, method, path, body))
        found = self.answers.get(f"{method} {path}", {})
        if isinstance(found, Exception):
            raise found
        return Answer(self.status, found, "https://x/ID")


@pytest.fixture
def realm(tmp_path: Path) -> Recorded:
    state = State(tmp_path)
    (state.secrets / "keycloak-grafana").mkdir(parents=True)
    (state.secrets / "keycloak-grafana" / "1").write_text("old\n")
    (state.secrets / "keycloak-grafana" / "2").write_text("new\n")
    declaration = Declaration({"realm": "cc03", "clients": [{"clientId": "a", "secret": "@secret:keycloak-grafana@"}]})
    made = Recorded(cast(Any, SimpleNamespace(state=state)), declaration, {"keycloak-grafana": 2})
    made.asked, made.answers = [], {}
    return made


def test_secret_is_filled_in_when_it_is_sent(realm: Recorded) -> None:
    body = {"secret": "@secret:keycloak-grafana@", "list": [{"a": "x@secret:keycloak-grafana@y"}], "n": 1}
    realm.apply(Change("create", "client", "a", Request("POST", ("clients",), body)))

    assert realm.asked == [("cc03-keeper", "POST", "cc03/clients", {"secret": "new", "list": [{"a": "xnewy"}], "n": 1})]


def test_what_was_made_can_be_referred_to(realm: Recorded) -> None:
    realm.apply(Change("create", "client", "a/b", Request("POST", ("clients",), {})))
    realm.apply(Change("update", "client", "a/b", Request("PUT", ("clients", Ref("client", "a/b"), "x/y"), {})))

    assert realm.asked[1][2] == "cc03/clients/ID/x%2Fy"


def test_flow_that_was_set_aside_is_found_under_its_new_alias_and_a_new_one_under_its_own(realm: Recorded) -> None:
    flow = ("authentication", "flows")
    realm.ids["authentication flow", "mfa"] = "OLD"
    for change in (
        Change(
            "update", "authentication flow", "mfa", Request("PUT", (*flow, Ref("authentication flow", "mfa")), {"alias": "was"})
        ),
        Change("create", "authentication flow", "mfa", Request("POST", flow, {"alias": "mfa"})),
        Change("update", "client", "a", Request("PUT", ("x",), {"browser": [Ref("authentication flow", "mfa")]})),
        Change("discard", "authentication flow", "was", Request("DELETE", (*flow, Ref("authentication flow", "was")))),
    ):
        realm.apply(change)

    base = "cc03/authentication/flows"
    assert [asked[1:] for asked in realm.asked] == [
        ("PUT", f"{base}/OLD", {"alias": "was"}), ("POST", base, {"alias": "mfa"}), ("PUT", "cc03/x", {"browser": ["ID"]}),
        ("DELETE", f"{base}/OLD", None),
    ]  # fmt: skip


def test_client_names_flows_by_their_aliases() -> None:
    client = {"clientId": "a", OVERRIDES: {"browser": "F", "direct_grant": "gone"}}

    assert by_alias(client, {"F": "mfa"})[OVERRIDES] == {"browser": "mfa", "direct_grant": "gone"}


def test_roles_are_sent_as_keycloak_describes_them(realm: Recorded) -> None:
    realm.ids["client", "realm-management"] = "RM"
    realm.answers = {"GET cc03/clients/RM/roles/manage-users": {"id": "1"}, "GET cc03/roles/viewer": {"id": "2"}}

    realm.apply(Change("update", "user", "u", Request("POST", ("x",), roles=("manage-users",), of="realm-management")))
    realm.apply(Change("update", "user", "u", Request("DELETE", ("y",), roles=("viewer",))))

    sent = [(method, path, body) for _, method, path, body in realm.asked if method != "GET"]
    assert sent == [("POST", "cc03/x", [{"id": "1"}]), ("DELETE", "cc03/y", [{"id": "2"}])]


@pytest.mark.parametrize(
    ("change", "account"),
    [
        (Change("create", "realm", "cc03", Request("POST")), OPERATIONS),
        (Change("update", "client", "cc03-keeper", Request("PUT")), OPERATIONS),
        (Change("update", "mapper", "cc03-keeper/m", Request("PUT")), OPERATIONS),
        (Change("update", "user", "service-account-cc03-keeper", Request("POST")), OPERATIONS),
        (Change("update", "identity provider", "corp", Request("PUT"), unusual=True), OPERATIONS),
        (Change("update", "client", "cc03-keeper-2", Request("PUT")), KEEPER),
        (Change("update", "realm", "cc03", Request("PUT")), KEEPER),
    ],
)  # fmt: skip
def test_keeper_makes_all_changes_but_those_of_itself(realm: Recorded, change: Change, account: Account) -> None:
    realm.apply(change)

    assert [asked[0] for asked in realm.asked] == [account.client_id]


def test_failure_names_the_change(realm: Recorded) -> None:
    realm.answers["PUT cc03/clients/C"] = OpsError("PUT", "HTTP 400: Invalid redirect uri", "x")
    realm.ids["client", "shop"] = "C"

    with pytest.raises(OpsError) as caught:
        realm.apply(Change("update", "client", "shop", Request("PUT", ("clients", Ref("client", "shop")), {})))
    assert caught.value.what == "realm cc03: cannot update client shop"
    assert caught.value.why == "HTTP 400: Invalid redirect uri"


def test_reference_to_nothing_is_told(realm: Recorded) -> None:
    with pytest.raises(OpsError, match="cannot update client a") as caught:
        realm.apply(Change("update", "client", "a", Request("PUT", ("clients", Ref("scope", "gone")), {})))
    assert "gone" in caught.value.why


def test_secret_that_is_not_there_is_told(realm: Recorded) -> None:
    with pytest.raises(HostLacks, match="keycloak-probe"):
        realm.secret("keycloak-probe")


@pytest.mark.parametrize("problem", [Refused("no", "401", ""), Forbidden("no", "403", "")])
def test_realm_is_read_by_the_other_account_where_the_keeper_may_not(
    realm: Recorded, problem: OpsError, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(account: Account) -> dict[str, Any]:
        if account is KEEPER:
            raise problem
        return {"clients": [{"clientId": "a", "id": "1", "secret": "new"}, {"clientId": "b", "id": "2", "secret": "x"}]}

    monkeypatch.setattr(realm, "_read", read)
    found = realm.read()

    assert [one["secret"] for one in found["clients"]] == ["@secret:keycloak-grafana@", "[REDACTED]"]
    assert realm.ids["client", "b"] == "2"


def test_server_that_does_not_answer_is_asked_again(realm: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.keycloak.realm.live.PAUSE", 0.0)
    reads: list[dict[str, Any] | Exception] = [
        Unreachable("no", "HTTP 502", ""), {}, Unreachable("no", "HTTP 504", ""), {"clients": []},
        {"clients": [{"clientId": "a", "secret": "@secret:keycloak-grafana@"}]},
    ]  # fmt: skip

    def read() -> dict[str, Any]:
        found = reads.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(realm, "read", read)
    told: list[str] = []
    done = apply_realm(realm, told.append, deletions=False)

    assert done == 2
    assert told == ["HTTP 502", "create realm cc03", "HTTP 504", "create client a"]
    assert [json.dumps(asked[1:3]) for asked in realm.asked] == ['["POST", ""]', '["POST", "cc03/clients"]']


def test_realm_that_was_made_by_a_request_that_took_too_long_is_found(realm: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    realm.status = 409
    declared = {"clients": [{"clientId": "a", "secret": "@secret:keycloak-grafana@"}]}
    reads: list[dict[str, Any]] = [{}, declared]
    monkeypatch.setattr(realm, "read", lambda: reads.pop(0))

    assert apply_realm(realm, lambda text: None, deletions=False) == 1


def test_realm_that_cannot_be_made_ends_it(realm: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realm, "read", dict)

    with pytest.raises(OpsError, match="realm cc03 cannot be made"):
        apply_realm(realm, lambda text: None, deletions=False)


def test_conflict_that_leaves_the_object_out_is_told(realm: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """A conflict of a client whose id another kind of object has, for one: it is not what a killed command has made."""
    realm.status = 409
    left = [Change("create", "client", "a", Request("POST", ("clients",), {}))]
    monkeypatch.setattr("ops.keycloak.realm.live._left", lambda *_: left)
    with pytest.raises(OpsError, match="cannot create client a"):
        apply_realm(realm, lambda text: None, deletions=False)


def test_conflict_with_what_a_killed_command_has_made_is_none(realm: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    realm.status = 409
    plans = [[Change("create", "client", "a", Request("POST", ("clients",), {}))], []]
    monkeypatch.setattr("ops.keycloak.realm.live._left", lambda *_: plans.pop(0))

    assert apply_realm(realm, lambda text: None, deletions=False) == 1
