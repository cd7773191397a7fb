"""Secrets and keys are rotated while people log in, also when the command is killed or fails half way."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest

from ops.keycloak.admin import OPERATIONS, Api
from ops.keycloak.probe.browser import OPENID
from ops.keycloak.rotate.keys import providers
from ops.secrets import verifiers
from ops.secrets.table import CLIENTS, DATABASE
from ops.store.versions import secret_versions
from tests.drill.conftest import Record, Two
from tests.drill.keycloak.logins import patient_login, people
from tests.drill.stack import Drill, inv, succeeds
from tests.drill.test_kill import killed_until_healthy
from tests.drill.test_killed_deploy import break_off
from tests.smoke.accounts import Account
from tests.smoke.live import Live

pytestmark = pytest.mark.usefixtures("here")

WITHOUT_A_FAILED_LOGIN = (("keys",), ("client", "cc03-ops"), ("client", "cc03-backend"), ("admin",))
MOMENTS = ("generate postgres-keycloak", "remove keycloak", "hand postgres-keycloak", "promote keycloak", "start keycloak")
"""Steps of a rotation of the database password, in their order."""


def rotated(*what: str) -> float:
    return succeeds("keycloak.rotate", *what, "--yes")


def key_of(token: str) -> str:
    return str(json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))["kid"])


def published(live: Live) -> set[str]:
    return {key["kid"] for key in live.site.json(f"{OPENID}/certs")["keys"]}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_internal_keys_cost_those_a_second_try_who_have_the_login_page_open(
    live: Live, two: Two, record: Record
) -> None:  # fmt: skip
    with people(live, two) as tally:
        time.sleep(2)
        took = rotated("keys", "--internal")
        time.sleep(3)

    record("keycloak.rotate keys --internal", took, note=tally.told())
    assert {what for _, what, _ in tally.failures} <= {"login"}
    assert len(tally.failures) <= 2


@pytest.mark.parametrize("what", WITHOUT_A_FAILED_LOGIN, ids=" ".join)
def test_no_login_fails_while_it_is_rotated(live: Live, two: Two, record: Record, what: tuple[str, ...]) -> None:
    with people(live, two) as tally:
        time.sleep(2)
        took = rotated(*what)
        time.sleep(3)

    record(f"keycloak.rotate {' '.join(what)}", took, note=tally.told())
    assert tally.failures == []
    assert tally.logins >= 3 and tally.renewals >= 3


def test_database_password_is_rotated_while_people_log_in(stack: Drill, live: Live, two: Two, record: Record) -> None:
    others = {slot: item["Id"] for slot, item in stack.containers().items() if slot != "keycloak"}
    with people(live, two) as tally:
        time.sleep(2)
        took = rotated("database")
        time.sleep(3)

    record("keycloak.rotate database", took, note=tally.told())
    assert {slot: item["Id"] for slot, item in stack.containers().items() if slot != "keycloak"} == others
    # nginx holds what comes while Keycloak is made again with the new password.
    assert tally.failures == []
    assert tally.logins >= 3 and tally.renewals >= 3
    assert stack.unhealthy() == ""


def test_old_token_stays_valid_and_a_new_one_is_accepted_at_once(live: Live, editor: Account, record: Record) -> None:
    login = patient_login(live)
    old = login.tokens(editor.username, editor.password)
    before = published(live)

    rotated("keys", "--internal")
    fresh = patient_login(live).tokens(editor.username, editor.password)
    began = time.monotonic()
    answers = [
        live.site.get("/api/v1/me", headers={"Authorization": f"Bearer {token['access_token']}"}).status_code
        # Each replica learns of the key by itself.
        for token in (fresh, old) for _ in range(6)
    ]  # fmt: skip

    record("tokens of a new key accepted", time.monotonic() - began, note="the first request to each replica included")
    assert answers == [200] * 12
    assert key_of(old["access_token"]) != key_of(fresh["access_token"])
    assert before < published(live)
    assert {key_of(old["access_token"]), key_of(fresh["access_token"])} <= published(live)
    # Refresh tokens and cookies are signed by another key, which was rotated as well.
    assert login.refresh(old["refresh_token"]).status_code == 200


def test_rotation_of_keys_that_was_killed_goes_on(stack: Drill, live: Live, editor: Account, log: Path) -> None:
    for step in ("verify keys",):
        break_off(stack, step, log, command=("keycloak.rotate", "keys", "--internal", "--yes"))
        rotated("keys", "--internal")
        found = providers(Api.of(stack.project, OPERATIONS).get("/components", type="org.keycloak.keys.KeyProvider"))
        signers = [one for one in found if one.signs]
        assert (sorted(one.algorithm for one in signers), len({one.made for one in signers})) == (["HS512", "RS256"], 1)
    assert patient_login(live).tokens(editor.username, editor.password)


@pytest.mark.parametrize("going_on", [("deploy", "--yes"), ("keycloak.rotate", "database", "--yes")], ids=lambda argv: argv[0])
@pytest.mark.parametrize("moment", MOMENTS)
def test_database_rotation_that_was_killed_is_completed(
    stack: Drill, live: Live, editor: Account, record: Record, log: Path, moment: str, going_on: tuple[str, ...]
) -> None:
    break_off(stack, moment, log, command=("keycloak.rotate", "database", "--yes"))
    # A crash of PostgreSQL in between, whose start sets passwords from the secrets that its container has.
    killed_until_healthy(stack, "postgres")

    record(f"{going_on[0]} after a rotation killed in: {moment}", succeeds(*going_on))
    assert stack.unhealthy() == ""
    version = secret_versions(stack.project.state)["postgres-keycloak"]
    assert verifiers.accepts(stack.project, DATABASE.to, DATABASE.secret, version)
    assert patient_login(live).tokens(editor.username, editor.password)
    stack.assert_as_wanted()


def test_client_secret_is_put_back_where_the_new_one_does_not_work(stack: Drill, live: Live, editor: Account) -> None:
    # Keycloak takes the secret, and then refuses the client whatever its secret is: it is disabled.
    api = Api.of(stack.project, OPERATIONS)
    client = api.get("/clients", clientId="cc03-backend")[0]
    before = secret_versions(stack.project.state)["keycloak-backend"]
    api.ask("PUT", f"/clients/{client['id']}", {**client, "enabled": False})
    try:
        answer = inv("keycloak.rotate", "client", "cc03-backend", "--yes")
    finally:
        now = api.get("/clients", clientId="cc03-backend")[0]
        api.ask("PUT", f"/clients/{client['id']}", {**now, "enabled": True})

    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert "the new Keycloak secret of client cc03-backend is refused" in answer.stderr
    assert secret_versions(stack.project.state)["keycloak-backend"] == before
    assert verifiers.accepts(stack.project, CLIENTS["cc03-backend"].to, "keycloak-backend", before)
    stack.assert_as_wanted()
