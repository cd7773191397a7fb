"""Another Keycloak on the same database: what it migrates, when a dump is taken, when one is put back, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ops.core.errors import OpsError
from ops.core.plan import Plan
from ops.deploy.participant import FORWARD, Rules
from ops.deploy.plan import plan_deploy
from ops.keycloak.schema.plan import (
    KEEP,
    Dump,
    Schema,
    Server,
    changesets_of,
    expendable,
    judge,
    migrations_of,
    parse_name,
    version_pinned,
    version_said,
    when,
)
from ops.keycloak.schema.steps import DumpDatabase, RestoreDatabase, ReviewMigrations
from ops.keycloak.schema.upgrade import Found, fits, starts_keycloak, with_database, words
from tests.unit.builders import before, defects, deployed, keys, step, wanted, with_state

OLD, NEW = frozenset({"1|a|f", "2|a|f"}), frozenset({"1|a|f", "2|a|f", "3|a|g"})
OLDER = Server("26.4.7", changesets=OLD, migrations=("26.3.0", "26.4.3"))
NEWER = Server("26.7.3", changesets=NEW, migrations=("26.3.0", "26.4.3", "26.6.1", "26.7.0"))
COUNTS = {"realms": 2, "clients": 3, "users": 1, "roles": 9}
BEFORE, AFTER = Schema("26.4.7", OLD, COUNTS), Schema("26.7.3", NEW, COUNTS)
HALF = Schema("26.4.7", NEW, COUNTS)
DUMP = Dump(
    "keycloak-20260101T000000Z.dump", "keycloak", "20260101T000000Z", {"version": "26.4.7", "changesets": 2, "users": 1}
)
LATER = Dump("keycloak-20260202T000000Z.dump", "keycloak", "20260202T000000Z", {"version": "26.7.3", "changesets": 3})
NOTHING = {DUMP.name: {"users": 0, "logins": 0}}
SOMETHING = {DUMP.name: {"users": 2, "logins": 1}}


def plan(verb: str = "deploy") -> Plan:
    """Keycloak's container is replaced because of its image."""
    return plan_deploy(wanted(tags={"keycloak": "2"}), deployed(wanted()), verb=verb)


def waits(plan: Plan) -> tuple[Plan, list[tuple[str, ...]]]:
    """To compare plans: steps do not compare what they wait for."""
    return plan, [step.after_keys for step in plan.steps]


def found(server: Server, schema: Schema | None, **more: Any) -> Found:
    return Found(server, schema, "tag", **more)


def test_upgrade_dumps_once_the_old_keycloak_has_stopped_and_before_the_new_one_is_in_its_place() -> None:
    upgraded = with_database(plan(), found(NEWER, BEFORE), FORWARD)

    assert defects(upgraded) == []
    assert "remove keycloak" in before(upgraded, "dump keycloak")
    assert "dump keycloak" in before(upgraded, "promote keycloak") & before(upgraded, "start keycloak")
    assert "healthy keycloak" in before(upgraded, "verify logins")
    assert step(upgraded, "healthy keycloak").proof.once
    assert upgraded.notes[-1] == (
        "Keycloak 26.4.7 -> 26.7.3: 1 schema change set and 2 model migrations (26.6.1, 26.7.0) will run"
    )
    order = keys(upgraded)
    assert order.index("remove keycloak") < order.index("dump keycloak") < order.index("promote keycloak")


def test_same_keycloak_in_another_image_needs_nothing() -> None:
    assert waits(with_database(plan(), found(NEWER, AFTER), FORWARD)) == waits(plan())


def test_database_without_tables_needs_no_dump() -> None:
    assert waits(with_database(plan(), found(NEWER, None, empty=True), FORWARD)) == waits(plan())


def test_image_that_is_not_built_yet_is_reviewed_before_anything_stops() -> None:
    upgraded = with_database(plan(), found(Server("26.7.3", built=False), BEFORE), FORWARD)

    assert defects(upgraded) == []
    assert "not built yet" in upgraded.notes[-1]
    assert "image keycloak" in before(upgraded, "review keycloak")
    assert "review keycloak" in before(upgraded, "remove keycloak")
    assert isinstance(step(upgraded, "review keycloak"), ReviewMigrations)
    assert isinstance(step(upgraded, "dump keycloak"), DumpDatabase)


def test_database_that_cannot_be_asked_now_is_reviewed_and_dumped_once_postgres_answers() -> None:
    stopped = with_state(deployed(wanted()), "exited", "postgres", "keycloak")
    planned = plan_deploy(wanted(tags={"keycloak": "2"}), stopped)
    upgraded = with_database(planned, found(NEWER, None), FORWARD)

    assert defects(upgraded) == []
    assert "healthy postgres" in before(upgraded, "review keycloak") & before(upgraded, "dump keycloak")
    assert {"review keycloak", "dump keycloak"} <= before(upgraded, "start keycloak")


@pytest.mark.parametrize("schema", [AFTER, HALF], ids=["migrated", "half way"])
def test_deploy_of_an_older_keycloak_is_refused_with_what_to_do(schema: Schema) -> None:
    with pytest.raises(OpsError) as caught:
        with_database(plan(), found(OLDER, schema, dumps=(DUMP,), since=NOTHING), FORWARD)

    assert "Keycloak 26.4.7 is older than the database" in caught.value.what
    assert "--with-database" in caught.value.next_step


def test_rollback_past_an_upgrade_says_what_would_be_lost() -> None:
    with pytest.raises(OpsError) as caught:
        with_database(plan("rollback"), found(OLDER, AFTER, dumps=(DUMP, LATER), since=SOMETHING), FORWARD, release=3)

    assert "2026-01-01 00:00:00 UTC" in caught.value.why
    assert caught.value.why.endswith("loses 2 users, 1 login")
    assert "inv rollback --to 3 --with-database" in caught.value.next_step


def test_rollback_past_an_upgrade_restores_the_dump_where_that_was_said() -> None:
    back = with_database(plan("rollback"), found(OLDER, AFTER, dumps=(DUMP, LATER), since=SOMETHING), Rules(with_database=True))

    assert defects(back) == []
    assert "2 users, 1 login" in back.destroys[0]
    assert step(back, "restore keycloak").path == f"dumps/{DUMP.name}"
    assert {"remove keycloak", "dump keycloak"} <= before(back, "restore keycloak")
    assert "restore keycloak" in before(back, "promote keycloak") & before(back, "start keycloak")
    assert "healthy keycloak" in before(back, "drop former keycloak")


def test_rollback_past_an_upgrade_that_nobody_has_used_needs_no_word() -> None:
    back = with_database(plan("rollback"), found(OLDER, HALF, dumps=(DUMP,), since=NOTHING), FORWARD)

    assert isinstance(step(back, "restore keycloak"), RestoreDatabase)
    assert back.destroys == ()


def test_what_has_come_since_counts_as_unknown_where_it_cannot_be_counted() -> None:
    with pytest.raises(OpsError, match="older than the database") as caught:
        with_database(plan("rollback"), found(OLDER, HALF, dumps=(DUMP,)), FORWARD)
    back = with_database(plan("rollback"), found(OLDER, HALF, dumps=(DUMP,)), Rules(with_database=True))

    assert "cannot be counted" in caught.value.why
    assert "unknown number" in back.destroys[0]


@pytest.mark.parametrize("rules", [FORWARD, Rules(with_database=True)])
def test_without_a_dump_of_its_time_an_older_keycloak_never_starts(rules: Rules) -> None:
    with pytest.raises(OpsError) as caught:
        with_database(plan("rollback"), found(OLDER, AFTER, dumps=(LATER,)), rules)

    assert "no dump of its time" in caught.value.why


def test_failed_upgrade_gets_the_dump_back_that_it_took_itself() -> None:
    own = Rules(own_since="20260101T000000Z")
    back = with_database(plan("rollback"), found(OLDER, HALF, dumps=(DUMP,)), own)

    assert step(back, "restore keycloak").path == f"dumps/{DUMP.name}"
    assert "dump keycloak" not in keys(back)
    assert defects(back) == []


def test_failed_upgrade_that_changed_nothing_restores_nothing() -> None:
    own = Rules(own_since="20260101T000000Z")

    assert waits(with_database(plan("rollback"), found(OLDER, BEFORE, dumps=(DUMP,)), own)) == waits(plan("rollback"))


def test_failed_way_back_gets_the_newer_database_back() -> None:
    own = Rules(own_since="20260202T000000Z")
    forth = with_database(plan("rollback"), found(NEWER, BEFORE, dumps=(DUMP, LATER)), own)

    assert step(forth, "restore keycloak").path == f"dumps/{LATER.name}"


def test_dump_of_an_earlier_command_is_not_put_back_by_itself_where_something_has_come_since() -> None:
    own = Rules(own_since="20260102T000000Z")

    with pytest.raises(OpsError, match="older than the database"):
        with_database(plan("rollback"), found(OLDER, HALF, dumps=(DUMP,), since=SOMETHING), own)


def test_plan_that_leaves_keycloak_alone_is_not_looked_at() -> None:
    assert starts_keycloak(plan())
    assert not starts_keycloak(plan_deploy(wanted(tags={"backend": "2"}), deployed(wanted())))


def test_patch_release_of_the_same_schema_may_go_back() -> None:
    verdict = judge(replace(NEWER, version="26.7.2"), AFTER)

    assert (verdict.upgrade, verdict.downgrade) == (False, False)


def test_change_sets_are_named_as_liquibase_does() -> None:
    head = '<databaseChangeLog xmlns="http://www.liquibase.org/xml/ns/dbchangelog"'
    jar = {
        "META-INF/jpa-changelog-master.xml": f'{head}><include file="a.xml"/><include file="b.xml"/></databaseChangeLog>',
        "a.xml": f'{head}><include file="c.xml"/><changeSet id="1" author="x"/></databaseChangeLog>',
        "b.xml": f'{head} logicalFilePath="old/b.xml"><changeSet id="2" author="y"/></databaseChangeLog>',
        "c.xml": f'{head}><changeSet id="3" author="z"/></databaseChangeLog>',
    }

    assert changesets_of(lambda name: jar[name].encode()) == {"1|x|a.xml", "2|y|old/b.xml", "3|z|c.xml"}


def test_versions_are_read_where_they_stand() -> None:
    assert version_said("Keycloak - Version 26.7.3\n") == "26.7.3"
    assert version_pinned("FROM x\nARG KEYCLOAK_VERSION=26.4.7\n") == "26.4.7"
    names = ["a/migrators/MigrateTo26_10_0.class", "a/migrators/MigrateTo26_9_1.class", "a/migrators/Migration.class"]
    assert migrations_of(names) == ("26.9.1", "26.10.0")


def test_words_leave_out_what_there_is_none_of() -> None:
    assert words({"users": 1, "logins": 0, "admin changes": 2}) == "1 user, 2 admin changes"
    assert words({"users": 0}) == "nothing"


def dumps(*versions: str) -> list[Dump]:
    """Oldest first."""
    stamps = [f"202601{day:02}T000000Z" for day in range(1, len(versions) + 1)]
    return [
        Dump(f"keycloak-{at}.dump", "keycloak", at, {"version": version}) for at, version in zip(stamps, versions, strict=True)
    ]


def test_newest_dumps_stay_and_the_newest_of_each_of_the_last_versions() -> None:
    kept = dumps("26.4.7", "26.4.7", *["26.7.3"] * (KEEP + 1))

    assert [dump.at for dump in expendable(kept, "keycloak")] == ["20260103T000000Z", "20260101T000000Z"]
    assert expendable([replace(dump, database="grafana") for dump in kept], "keycloak") == []


def test_name_of_a_dump_tells_database_and_time() -> None:
    assert parse_name("keycloak-20260101T000102Z.dump") == ("keycloak", "20260101T000102Z")
    assert parse_name(".keycloak-20260101T000102Z.dump") is None
    assert when("20260101T000102Z") == "2026-01-01 00:01:02 UTC"


# Patch releases with change sets of their own (26.0.6, 26.2.1, 26.2.6): the version alone does not tell which dump fits.

PATCH = replace(OLDER, version="26.2.5", migrations=())
PATCHED = Schema("26.2.6", NEW, COUNTS)


def dumped(version: str, at: str, applied: frozenset[str], *, listed: bool) -> Dump:
    about = {"version": version, "changesets": len(applied), **({"applied": sorted(applied)} if listed else {})}
    return Dump(f"keycloak-{at}.dump", "keycloak", at, about)


@pytest.mark.parametrize("listed", [True, False], ids=["change sets are noted", "only how many, as earlier dumps have it"])
def test_rollback_past_a_patch_with_change_sets_restores_the_dump_from_before_it(listed: bool) -> None:
    good = dumped("26.2.5", "20260101T000000Z", OLD, listed=listed)
    migrated = dumped("26.2.6", "20260202T000000Z", NEW, listed=listed)
    back = with_database(plan("rollback"), found(PATCH, PATCHED, dumps=(good, migrated)), Rules(with_database=True), 3)

    restored = step(back, "restore keycloak")
    assert isinstance(restored, RestoreDatabase)
    assert restored.path == f"dumps/{good.name}"


@pytest.mark.parametrize("listed", [True, False])
def test_dump_that_only_a_later_patch_without_change_sets_has_seen_fits(listed: bool) -> None:
    assert fits(dumped("26.4.8", "20260101T000000Z", OLD, listed=listed), OLDER)
    assert not fits(dumped("26.4.8", "20260101T000000Z", NEW, listed=listed), OLDER)
    assert not fits(dumped("26.3.1", "20260101T000000Z", OLD - {"2|a|f"}, listed=listed), OLDER)
