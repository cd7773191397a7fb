"""The client of Keycloak's admin API: what is sent, and what is made of each kind of refusal."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from keycloak.exceptions import KeycloakAuthenticationError, KeycloakConnectionError, KeycloakGetError, KeycloakPostError
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from ops.core.errors import OpsError
from ops.keycloak.admin import HUMAN, OPERATIONS, Api, Forbidden, NoRealm, Refused, Unreachable, connect
from ops.project import Project
from tests.unit.builders import PORTS, settings


class Connection:
    """Answers every request alike, or raises; remembers what it was sent."""

    client_id = "cc03-ops"

    def __init__(self, status: int = 200, content: Any = None, problem: Exception | None = None, text: str = "") -> None:
        self.text, self.problem = text or ("" if content is None else json.dumps(content)), problem
        self.answer = SimpleNamespace(
            status_code=status, text=self.text, headers={"Content-Type": "application/json"}, json=lambda: content
        )
        self.sent: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        def send(path: str, data: str | None = None, **query: Any) -> Any:
            if self.problem:
                raise self.problem
            self.sent.append((name, path, data, query))
            return self.answer

        return send

    def get_token(self) -> None:
        if self.problem:
            raise self.problem


def api(*given: Any, realm: str = "cc03", **more: Any) -> tuple[Api, Connection]:
    connection = Connection(*given, **more)
    return Api(cast(Any, connection), realm), connection


def test_paths_stand_below_the_realm_and_bodies_are_json() -> None:
    one, connection = api(200, [{"id": "a"}])

    assert one.get("/users", username="a") == [{"id": "a"}]
    one.ask("PUT", "", {"enabled": True})
    Api(cast(Any, connection), "").ask("DELETE", "master/clients/x")

    assert connection.sent == [
        ("raw_get", "admin/realms/cc03/users", None, {"username": "a"}),
        ("raw_put", "admin/realms/cc03", '{"enabled": true}', {}), ("raw_delete", "admin/realms/master/clients/x", None, {}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "text", "kind", "why"),
    [
        (409, '{"errorMessage": "User exists"}', OpsError, "HTTP 409: User exists"),
        (500, "", OpsError, "HTTP 500: it did not say why"),
        (403, '{"error": "HTTP 403 Forbidden"}', Forbidden, "HTTP 403: cc03-ops has no role for that"),
        (502, "<html>", Unreachable, "HTTP 502: nginx answers in its place"),
    ],
)
def test_refusal_is_told(status: int, text: str, kind: type[OpsError], why: str) -> None:
    with pytest.raises(OpsError) as caught:
        api(status, text=text)[0].ask("POST", "/users?x=1", {})

    assert type(caught.value) is kind and caught.value.why == why


def test_refusal_that_is_an_answer_too_is_handed_on() -> None:
    answer = api(409, text='{"errorMessage": "Conflict"}')[0].ask("POST", "/users", {}, ok=(409,))

    assert (answer.status, answer.said) == (409, "Conflict")


@pytest.mark.parametrize(
    ("problem", "kind", "why"),
    [
        (KeycloakAuthenticationError("no", 401, b'{"error": "unauthorized_client"}'), Refused, "HTTP 401: unauthorized_client"),
        (KeycloakPostError("no", 404, b'{"error": "Realm does not exist"}'), NoRealm, "HTTP 404: Realm does not exist"),
        (KeycloakGetError("no", 504, b"<html>"), Unreachable, "HTTP 504: nginx answers in its place"),
        (KeycloakConnectionError("timed out"), Unreachable, "timed out"),
        (ConnectionResetError(), Unreachable, "ConnectionResetError"),
    ],
)
def test_account_that_is_denied_is_told_from_a_keycloak_that_does_not_answer(
    problem: Exception, kind: type[OpsError], why: str
) -> None:
    one, _ = api(problem=problem)

    with pytest.raises(OpsError) as caught:
        one.log_in()
    assert type(caught.value) is kind
    with pytest.raises(kind):
        one.get("")
    assert one.why_refused() == why
    assert api()[0].why_refused() == ""


def test_accounts_log_in_by_their_kind_of_grant() -> None:
    roots = DEFAULT_CA_BUNDLE_PATH
    project = cast(Project, SimpleNamespace(settings=settings(), ports=PORTS, state=SimpleNamespace(site_roots=roots)))
    client, user = connect(project, OPERATIONS, value="v"), connect(project, HUMAN, value="v", port=9999)

    assert (client.grant_type, client.client_id, client.client_secret_key) == ("client_credentials", "cc03-ops", "v")
    assert (user.grant_type, user.username, user.password, user.client_secret_key) == ("password", "admin", "v", None)
    assert user.server_url == "https://localhost:9999/auth/"
    assert {client.user_realm_name, user.user_realm_name} == {"master"} and client.verify == roots
