"""Rotation of secrets of Keycloak: who is told when, what is replaced for it, and whether Keycloak takes a secret."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops.core import site
from ops.core.errors import OpsError, UsageProblem
from ops.core.plan import Plan
from ops.core.site import Answer
from ops.deploy.plan import plan_deploy
from ops.keycloak.rotate import credentials as rotate
from ops.keycloak.rotate.commands import target_of
from ops.project import Project
from ops.secrets.plan import Rotation, rotations
from ops.secrets.steps import GenerateSecret, SetCredential, VerifySecret
from ops.secrets.table import ADMINISTRATOR, CLIENTS, DATABASE
from ops.stack.compose import parse_stack
from ops.stack.model import Account, Seen
from ops.stack.render import render_release
from ops.stack.wanted import Wanted, pack, unpack, with_versions
from tests.unit import builders
from tests.unit.builders import allocation, before, deployed, done, keys, step, wanted, with_state

ROLE = "postgres-keycloak"
COMPOSE = (
    builders.COMPOSE
    .replace("secrets: [postgres-superuser, postgres-app]", f"secrets: [postgres-superuser, postgres-app, {ROLE}]")
    .replace("x-cc03: {reload: [/reload, now]", f"x-cc03: {{late_secrets: [{ROLE}], reload: [/reload, now]")
    .replace("volumes: [../config/keycloak:", f"secrets: [{ROLE}, keycloak-ops]\n    volumes: [../config/keycloak:")
    .replace("x-cc03: {needs: [postgres], health",
             f"x-cc03: {{late_secrets: [keycloak-ops], credentials: {{{ROLE}: {{role: keycloak}}}}, needs: [postgres], health")
    .replace("networks: [app]\n    deploy: {resources: {limits: {memory: 1g",
             "networks: [app]\n    secrets: [keycloak-grafana]\n    deploy: {resources: {limits: {memory: 1g")
    .replace("x-cc03: {optional: no", "x-cc03: {credentials: {keycloak-grafana: {client: cc03-grafana}}, optional: no")
    .replace("secrets: {postgres-superuser: {external: true},",
             f"secrets: {{{ROLE}: {{external: true}}, keycloak-ops: {{external: true}}, keycloak-grafana: {{external: true}}, "
             "postgres-superuser: {external: true},")
)  # fmt: skip


def release(**versions: int) -> Wanted:
    """The small stack, whose Keycloak logs in as a role. `versions`: with underscores in place of dashes."""
    stack = parse_stack(COMPOSE, builders.settings(), builders.PORTS, builders.REPOSITORY, builders.STATE)
    base = wanted()
    compose = render_release(
        stack, allocation(stack), images={name: image.tag for name, image in base.images.items()},
        versions=dict.fromkeys(stack.secrets, 1), config_hashes=base.config, state=builders.STATE, log_megabytes=20,
    )  # fmt: skip
    made = replace(base, stack=stack, allocation=allocation(stack), compose=compose, versions=dict.fromkeys(stack.secrets, 1))
    return with_versions(made, {name.replace("_", "-"): version for name, version in versions.items()})


NEW = release(postgres_keycloak=2)


def test_new_version_is_made_stored_and_handed_over_between_the_old_container_and_the_new_one() -> None:
    plan = plan_deploy(NEW, deployed(release()))

    assert keys(plan) == [
        f"generate {ROLE}", f"secret {ROLE}", "release", "create keycloak", "remove keycloak", f"hand {ROLE}",
        "promote keycloak", "start keycloak", "healthy keycloak",
    ]  # fmt: skip
    assert step(plan, f"generate {ROLE}").version == 2
    hand = step(plan, f"hand {ROLE}")
    assert isinstance(hand, SetCredential) and (hand.version, hand.to) == (2, Account("role", "keycloak"))
    assert "remove keycloak" in before(plan, f"hand {ROLE}")
    assert f"hand {ROLE}" in before(plan, "promote keycloak")


def test_postgres_keeps_its_container_and_takes_the_new_version_up_with_the_next_one() -> None:
    old = release()

    assert NEW.slot_hash("postgres") == old.slot_hash("postgres")
    assert NEW.slot_hash("keycloak") != old.slot_hash("keycloak")
    mounted = [one["source"] for one in NEW.compose["services"]["postgres"]["secrets"]]
    assert f"cc03-{ROLE}-2" in mounted


def test_secret_that_is_read_once_replaces_nothing() -> None:
    plan = plan_deploy(release(keycloak_ops=2), deployed(release()))

    assert keys(plan) == ["generate keycloak-ops", "secret keycloak-ops", "release"]


def test_nothing_is_left_after_a_rotation() -> None:
    seen = deployed(release())
    seen = done(plan_deploy(NEW, seen).steps, seen, NEW)

    assert plan_deploy(NEW, seen).steps == ()


@pytest.mark.parametrize("killed_after", range(9))
def test_the_password_is_handed_over_before_keycloak_starts_wherever_a_rotation_was_killed(killed_after: int) -> None:
    seen = deployed(release())
    steps = plan_deploy(NEW, seen).steps
    seen = done(steps[:killed_after], seen, NEW)
    rest = plan_deploy(NEW, seen)

    # Again, where it was done already: that costs nothing, and to leave it out would take knowing that it was done.
    if "start keycloak" not in {one.key for one in steps[:killed_after]}:
        assert f"hand {ROLE}" in before(rest, "start keycloak")
    assert plan_deploy(NEW, done(rest.steps, seen, NEW)).steps == ()


def test_container_that_was_made_and_never_started_is_handed_its_password_first() -> None:
    seen = with_state(deployed(release()), "created", "keycloak")
    plan = plan_deploy(release(), seen)

    assert f"hand {ROLE}" in before(plan, "start keycloak")
    # One that ran before has had it already.
    assert f"hand {ROLE}" not in keys(plan_deploy(release(), with_state(seen, "exited", "keycloak")))


def test_container_that_waits_for_keycloak_is_not_judged_before_keycloak_is_there() -> None:
    seen = deployed(release(), unhealthy={"backend-1": "realm keys: not fetched yet"})
    plan = plan_deploy(NEW, seen)

    assert "start backend-1" not in keys(plan)
    assert "healthy keycloak" in before(plan, "healthy backend-1")


def test_client_is_told_of_a_change_and_not_at_the_first_deploy() -> None:
    assert "hand keycloak-grafana" not in keys(plan_deploy(release(), Seen()))
    plan = plan_deploy(release(keycloak_grafana=2), deployed(release()))

    assert step(plan, "hand keycloak-grafana").to == Account("client", "cc03-grafana")
    assert "remove grafana" in before(plan, "hand keycloak-grafana")
    assert "hand keycloak-grafana" in before(plan, "start grafana")
    assert "hand keycloak-grafana" not in keys(plan_deploy(replace(release(), images=wanted(tags={"grafana": "2"}).images),
                                                           deployed(release())))  # fmt: skip


def test_release_with_todays_secrets_is_another_one_and_only_then() -> None:
    old = replace(release(), number=3)

    assert with_versions(old, {ROLE: 1, "unknown": 7}) is old
    again = with_versions(old, {ROLE: 2})
    assert (again.number, again.versions[ROLE], again.versions["postgres-app"]) == (None, 2, 1)
    assert f"cc03-{ROLE}-2" in again.compose["secrets"] and f"cc03-{ROLE}-1" not in again.compose["secrets"]


def test_release_read_back_from_disk_is_the_same_with_other_secrets() -> None:
    old = release()
    read = unpack(pack(old), old.compose, old.config_files, {}, 3)
    # What the builders call a configuration's hash is none.
    read = replace(read, config=old.config)

    assert {slot: with_versions(read, {ROLE: 2}).slot_hash(slot) for slot in old.slots()} == {
        slot: NEW.slot_hash(slot) for slot in old.slots()
    }
    backend = with_versions(read, {"postgres-app": 2}).compose["services"]
    assert backend["backend-migrate"]["labels"] == {
        **backend["backend-1"]["labels"], "cc03.slot": "backend-migrate",
    }  # fmt: skip


def test_rotation_of_a_client_seals_only_what_was_accepted_and_verifies() -> None:
    target = CLIENTS["cc03-ops"]
    seen, new = deployed(release()), release(keycloak_ops=2)
    plan = rotations(plan_deploy(new, seen), seen, new, [Rotation(target, 2, before=1)])

    assert keys(plan) == ["generate keycloak-ops", "secret keycloak-ops", "hand keycloak-ops", "release", "verify keycloak-ops"]
    assert "hand keycloak-ops" in before(plan, "release")
    verify = step(plan, "verify keycloak-ops")
    assert isinstance(verify, VerifySecret) and (verify.version, verify.before) == (2, 1)
    assert plan.destroys == (target.destroys,)


def test_rotation_of_a_secret_that_no_container_mounts_makes_it_itself() -> None:
    seen = Seen(secret_versions={"keycloak-keeper": 4})
    plan = rotations(Plan("keycloak.rotate"), seen, release(), [Rotation(CLIENTS["cc03-keeper"], 5, before=4)])

    assert keys(plan) == ["generate keycloak-keeper", "hand keycloak-keeper", "verify keycloak-keeper"]
    assert isinstance(plan.steps[0], GenerateSecret) and plan.steps[0].version == 5
    assert "generate keycloak-keeper" in before(plan, "hand keycloak-keeper")


def test_rotation_of_the_database_adds_the_verification_only() -> None:
    seen = deployed(release())
    base = plan_deploy(NEW, seen)
    plan = rotations(base, seen, NEW, [Rotation(DATABASE, 2, before=1)])

    assert keys(plan) == [*keys(base), f"verify {ROLE}"]
    assert "healthy keycloak" in before(plan, f"verify {ROLE}")


def test_rotation_that_is_done_leaves_nothing() -> None:
    seen = Seen(accepted={ADMINISTRATOR.secret: (2,)})

    assert rotations(Plan("keycloak.rotate"), seen, release(), [Rotation(ADMINISTRATOR, 2, before=1)]).steps == ()


@pytest.mark.parametrize(
    ("what", "name", "said"),
    [
        ("datbase", "", 'did you mean "database"?'),
        ("client", "", "needs NAME"),
        ("client", "cc03-op", 'did you mean "cc03-ops"?'),
        ("admin", "alice", "takes no NAME"),
    ],
)
def test_what_cannot_be_rotated_is_refused(what: str, name: str, said: str) -> None:
    with pytest.raises(UsageProblem) as refused:
        target_of(what, name)
    assert said in f"{refused.value.what} {refused.value.why}"


def test_what_can_be_rotated() -> None:
    assert target_of("keys", "") is None
    assert target_of("database", "") == DATABASE
    assert target_of("admin", "") == ADMINISTRATOR
    assert target_of("client", "cc03-grafana") == CLIENTS["cc03-grafana"]


PROJECT = cast(Project, SimpleNamespace(settings=None, ports=None, state=SimpleNamespace(site_roots=Path("ca.pem"))))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[Answer | Exception]:
    """What Keycloak says, one after the other."""
    answers: list[Answer | Exception] = []

    class Asked:
        def __init__(self, *_: Any) -> None: ...

        def ask(self, *_: Any, **__: Any) -> Answer:
            one = answers.pop(0)
            if isinstance(one, Exception):
                raise one
            return one

        def close(self) -> None: ...

    monkeypatch.setattr(site, "Listener", Asked)
    monkeypatch.setattr(rotate, "placeholders", lambda *_: {"CC03_OPS_URL": "https://stack.test"})
    return answers


def test_one_request_without_an_answer_is_sent_again(said: list[Answer | Exception]) -> None:
    said += [TimeoutError("timed out"), Answer(401, "{}")]

    assert rotate._password_status(PROJECT, "master", "admin-cli", "admin", "value") == 401


def test_no_answer_at_all_ends_with_what_was_seen(said: list[Answer | Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotate, "ANSWERS_WITHIN", 0.0)
    said.append(TimeoutError("timed out"))

    with pytest.raises(OpsError, match="Keycloak does not answer") as caught:
        rotate._password_status(PROJECT, "master", "admin-cli", "admin", "value")
    assert caught.value.why == "timed out"


def test_slow_login_is_waited_for_and_not_sent_again_while_it_is_checked(
    said: list[Answer | Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second request of the same user is refused meanwhile, whatever its password is (user_temporarily_disabled)."""
    under_way: list[str] = []

    class Busy:
        def __init__(self, url: str, ca: Path, seconds: float) -> None:
            self.seconds = seconds

        def ask(self, *_: Any, **__: Any) -> Answer:
            if under_way:
                return Answer(401, '{"error": "invalid_grant"}')
            under_way.append("login")
            if self.seconds < 15:
                raise TimeoutError("timed out")
            return Answer(200, "{}")

        def close(self) -> None: ...

    monkeypatch.setattr(site, "Listener", Busy)

    assert rotate._password_status(PROJECT, "master", "admin-cli", "admin", "value") == 200
