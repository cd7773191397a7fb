"""Two real versions of Keycloak on one database: up, up and failing, killed half way, and back. Nobody is lost on any way.

The order matters: each test goes on from the version that the one before has left. Needs Maven's central repository for the
older version, once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.keycloak.schema.dump import ask, databases, known_dumps
from ops.keycloak.schema.observed import schema_of
from ops.keycloak.schema.plan import version_pinned
from tests.drill.clone import Clone
from tests.drill.conftest import Record
from tests.drill.keycloak.people import People, rows
from tests.drill.stack import Drill, begun, inv, kill

OLDER = "26.4.7"
SHA256 = "aca60ab72ae4d67adc6b8fe7fca5e08d16a6bb5e4a4f2ebb54050e3f5503fd2b"
FEATURES = (
    "admin-fine-grained-authz,authorization,ciba,device-flow,docker,dpop,impersonation,kerberos,organization,par,"
    "token-exchange-standard"
)
"""What is left out of it: the newer one has more to leave out."""
UNKNOWN_OPTIONS = ("shutdown-delay=", "shutdown-timeout=")
MIGRATION_SECONDS = 600
OBSTACLE = "SET ROLE keycloak; CREATE TABLE login_failure (obstacle integer);"
"""A table of the name that the change set 26.7.0-login-failure-table creates."""


def older(clone: Clone) -> Clone:
    """The same product on the older Keycloak."""
    path = clone.root / "compose" / "keycloak" / "Containerfile"
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"(ARG KEYCLOAK_VERSION=).*", rf"\g<1>{OLDER}", text)
    text = re.sub(r"(ARG KEYCLOAK_SHA256=).*", rf"\g<1>{SHA256}", text)
    path.write_text(re.sub(r"(ARG FEATURES_DISABLED=).*", rf"\g<1>{FEATURES}", text), encoding="utf-8")
    options = clone.root / "config" / "keycloak" / "keycloak.conf"
    lines = options.read_text(encoding="utf-8").splitlines(keepends=True)
    options.write_text("".join(line for line in lines if not line.startswith(UNKNOWN_OPTIONS)), encoding="utf-8")
    return clone


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return older(Clone.make(tmp_path_factory.mktemp("older") / "checkout"))


@pytest.fixture(scope="module")
def people(drill: Drill, clone: Clone) -> Iterator[People]:
    """The older version, deployed into nothing, with users, clients and open sessions."""
    drill.destroy()
    clone.deploy()
    known = People(drill)
    known.make(users=20, clients=3, sessions=3)
    yield known
    drill.deploy()
    known.remove()


def version(drill: Drill) -> str:
    schema = schema_of(drill.project.engine)
    assert schema
    return schema.version


def newer(drill: Drill) -> str:
    return version_pinned((drill.project.host.repository / "compose/keycloak/Containerfile").read_text(encoding="utf-8"))


def assert_as_before(drill: Drill, people: People, before: dict[str, int]) -> None:
    assert version(drill) == OLDER
    assert rows(drill) == before
    assert databases(drill.project.engine, "keycloak_") == []
    people.assert_everybody_gets_in()


def test_plan_says_what_will_be_migrated(drill: Drill, people: People) -> None:
    planned = inv("deploy", "--plan")

    assert planned.returncode == 0, planned.stderr
    assert re.search(rf"Keycloak {OLDER} -> {newer(drill)}: \d+ schema change sets and \d+ model migration", planned.stdout)


def test_upgrade_that_fails_leaves_database_and_image_as_before(drill: Drill, people: People, record: Record) -> None:
    engine = drill.project.engine
    ask(engine, "keycloak", OBSTACLE)
    before = rows(drill)
    began = time.monotonic()
    answer = inv("deploy", "--yes")
    record("Keycloak's upgrade fails, and is put back", time.monotonic() - began)

    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert 'relation "login_failure" already exists' in answer.stderr
    assert "serves as before" in answer.stderr
    assert_as_before(drill, people, before)
    ask(engine, "keycloak", "DROP TABLE login_failure;")


def changesets(drill: Drill) -> int:
    schema = schema_of(drill.project.engine)
    assert schema
    return len(schema.changesets)


def killed_in_the_migration(drill: Drill, tmp_path: Path) -> None:
    """Leaves a Keycloak that nobody waits for any more."""
    before, end = changesets(drill), time.monotonic() + MIGRATION_SECONDS
    with begun("deploy", "--yes", log=tmp_path / "deploy.log") as process:
        while process.poll() is None and time.monotonic() < end and changesets(drill) == before:
            time.sleep(0.2)
        assert process.poll() is None, (tmp_path / "deploy.log").read_text()
        kill(process.pid)


def test_deploy_killed_in_the_migration_can_be_rolled_back(drill: Drill, people: People, tmp_path: Path) -> None:
    before = rows(drill)
    killed_in_the_migration(drill, tmp_path)
    answer = inv("rollback", "--yes")

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert_as_before(drill, people, before)


def test_deploy_killed_in_the_migration_is_finished_by_the_next(drill: Drill, people: People, tmp_path: Path) -> None:
    killed_in_the_migration(drill, tmp_path)
    drill.deploy()

    assert version(drill) == newer(drill)
    people.assert_everybody_gets_in()


def test_older_checkout_is_refused(drill: Drill, clone: Clone, people: People) -> None:
    answer = clone.inv("deploy", "--yes")

    assert answer.returncode == 1
    assert f"Keycloak {OLDER} is older than the database" in answer.stderr
    people.assert_everybody_gets_in(1)


def test_rollback_past_the_upgrade_says_what_is_lost_and_restores_the_dump_if_told_to(drill: Drill, people: People) -> None:
    late = People(drill)
    late.make(users=1)
    refused = inv("rollback", "--yes")
    assert refused.returncode == 1
    assert "loses 1 user" in refused.stderr, refused.stderr
    back = inv("rollback", "--with-database", "--yes")

    assert back.returncode == 0, back.stdout + back.stderr
    assert version(drill) == OLDER
    people.assert_everybody_gets_in()
    with pytest.raises(AssertionError, match="login refused"):
        late.assert_everybody_gets_in()


def test_upgrade_keeps_users_clients_and_sessions(drill: Drill, people: People, record: Record) -> None:
    before = rows(drill)
    began = time.monotonic()
    drill.deploy()
    record("Keycloak upgraded", time.monotonic() - began, note=f"{OLDER} to {newer(drill)}")
    after = rows(drill)

    kept = ("realm", "user_entity", "credential", "client", "user_role_mapping", "offline_user_session")
    assert {name: after[name] for name in kept if name != "client"} == {name: before[name] for name in kept if name != "client"}
    assert after["client"] >= before["client"]
    people.assert_everybody_gets_in()
    drill.assert_as_wanted()
    assert known_dumps(drill.project.state)[-1].version == OLDER
