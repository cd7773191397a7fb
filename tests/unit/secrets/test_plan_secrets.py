"""Rotation of secrets: two accepted while containers move, one afterwards; what was broken off is completed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from ops.core.errors import HostLacks, UsageProblem
from ops.core.plan import Plan
from ops.deploy.plan import plan_deploy
from ops.deploy.steps import RemoveContainer
from ops.releases.steps import WriteRelease
from ops.secrets import plan
from ops.secrets.plan import Rotation, rotations, told, version_for, with_export
from ops.secrets.steps import ProveLogin, SetCredential, VerifySecret
from ops.secrets.table import TARGETS, consumers, must_be_rotatable, rotatable, target_named
from ops.stack.compose import parse_stack
from ops.stack.model import Account, Seen, Stack
from ops.stack.render import ONE_OFFS, login_of, render_release
from ops.stack.wanted import Wanted, with_versions
from tests.unit import builders
from tests.unit.builders import allocation, before, defects, deployed, done, keys, step, wanted

COMPOSE = (
    builders.COMPOSE
    .replace("x-cc03: {reload: [/reload, now]",
             "x-cc03: {late_secrets: [postgres-app, postgres-superuser], reload: [/reload, now]")
    .replace("x-cc03: {needs: [postgres, keycloak], migration",
             "x-cc03: {credentials: {postgres-app: {pair: app, variable: CC03_DATABASE_USER}}, login_check: [/logged-in], "
             "needs: [postgres, keycloak], migration")
)  # fmt: skip
APP, SUPERUSER = target_named("postgres-app"), target_named("postgres-superuser")


def whole() -> Stack:
    """The stack of this repository."""
    text = (builders.REPOSITORY / "compose" / "compose.yaml").read_text(encoding="utf-8")
    return parse_stack(text, builders.settings(), builders.PORTS, builders.REPOSITORY, builders.STATE)


def release(version: int = 1, compose: str = COMPOSE) -> Wanted:
    """The small stack, with that version of the application's password."""
    stack = parse_stack(compose, builders.settings(), builders.PORTS, builders.REPOSITORY, builders.STATE)
    base, versions = wanted(), dict.fromkeys(stack.secrets, 1)
    rendered = render_release(
        stack, allocation(stack), images={name: image.tag for name, image in base.images.items()}, versions=versions,
        config_hashes=base.config, state=builders.STATE, log_megabytes=20,
    )  # fmt: skip
    return with_versions(
        replace(base, stack=stack, allocation=allocation(stack), compose=rendered, versions=versions), {"postgres-app": version}
    )


NEW = release(2)


def rotation(seen: Seen, new: Wanted = NEW, version: int = 2) -> Plan:
    return rotations(plan_deploy(new, seen), seen, new, [Rotation(APP, version, before=version - 1)])


def test_both_are_accepted_while_the_containers_move_and_the_old_one_is_refused_once_all_have_shown_the_new_one() -> None:
    plan = rotation(deployed(release()))

    assert defects(plan) == []
    hand, settle = step(plan, "hand postgres-app"), step(plan, "settle postgres-app")
    assert (hand.version, hand.beside, hand.to) == (2, 1, Account("pair", "app"))
    assert (settle.version, settle.beside) == (2, 0)
    for one in plan.steps:
        if isinstance(one, RemoveContainer):
            assert "hand postgres-app" in before(plan, one.key)
    shown = {one.key for one in plan.steps if isinstance(one, ProveLogin)}
    assert shown == {"prove postgres-app in backend-1", "prove postgres-app in backend-2"}
    assert shown | {"healthy backend-1", "healthy backend-2"} <= before(plan, "settle postgres-app")
    verify = step(plan, "verify postgres-app")
    assert isinstance(verify, VerifySecret) and (verify.version, verify.before) == (2, 1)
    assert "settle postgres-app" in before(plan, "verify postgres-app")
    # PostgreSQL takes it up when it is next replaced.
    assert "remove postgres" not in keys(plan)


def test_what_waits_for_everything_waits_for_the_end_of_the_rotation() -> None:
    plan = rotation(replace(deployed(release()), supervised="another list"))

    assert defects(plan) == []
    assert "settle postgres-app" in before(plan, "supervise")
    assert "supervise" not in before(plan, "settle postgres-app")


def test_nothing_is_left_afterwards() -> None:
    seen = deployed(release())
    seen = done(rotation(seen).steps, seen, NEW)

    assert rotation(seen).steps == ()
    assert plan_deploy(NEW, seen).steps == ()


@pytest.mark.parametrize("killed_after", range(len(rotation(deployed(release())).steps)))
def test_a_deploy_completes_it_wherever_it_was_killed(killed_after: int) -> None:
    seen = deployed(release())
    steps = rotation(seen).steps[:killed_after]
    seen = done(steps, seen, NEW)
    if seen.secret_versions["postgres-app"] < 2:
        return
    rest = plan_deploy(NEW, seen)

    assert defects(rest) == []
    for key in ("start backend-surge", "migrate backend"):
        if key in keys(rest) and 2 not in plan.accepted(seen, "postgres-app"):
            assert "hand postgres-app" in before(rest, key)
    seen = done(rest.steps, seen, NEW)
    assert seen.accepted["postgres-app"] == (2,)
    assert plan_deploy(NEW, seen).steps == ()


def test_the_old_one_is_refused_once_more_where_nobody_knows_whether_it_was() -> None:
    """Killed while PostgreSQL was told to refuse it."""
    seen = deployed(release())
    seen = replace(done(rotation(seen).steps, seen, NEW), accepted={"postgres-app": (0, 2)})

    assert keys(plan_deploy(NEW, seen)) == ["settle postgres-app"]
    assert {"settle postgres-app", "verify postgres-app"} <= set(keys(rotation(seen)))


def test_on_the_way_back_the_new_one_is_refused_again() -> None:
    seen = deployed(release())
    half = [one for one in rotation(seen).steps if not one.key.startswith(("settle", "verify", "prove"))]
    seen = done(half, seen, NEW)
    assert seen.accepted["postgres-app"] == (1, 2)
    back = plan_deploy(release(), seen)

    assert "hand postgres-app" not in keys(back)
    settle = step(back, "settle postgres-app")
    assert isinstance(settle, SetCredential) and (settle.version, settle.beside) == (1, 0)
    assert {"healthy backend-1", "healthy backend-2"} <= before(back, "settle postgres-app")


def test_on_the_way_back_from_the_very_end_both_are_accepted_again_while_the_containers_move() -> None:
    seen = deployed(release())
    seen = done(rotation(seen).steps, seen, NEW)
    assert seen.accepted["postgres-app"] == (2,)
    back = plan_deploy(release(), seen)

    hand = step(back, "hand postgres-app")
    assert (hand.version, hand.beside) == (1, 2)
    assert "hand postgres-app" in before(back, "start backend-surge")
    assert step(back, "settle postgres-app").version == 1


def test_version_says_which_of_the_two_roles_logs_in() -> None:
    def user(of: Wanted, slot: str) -> str:
        return str(of.compose["services"][slot]["environment"]["CC03_DATABASE_USER"])

    assert [login_of("app", version) for version in (1, 2, 3)] == ["app", "app_2", "app"]
    assert {user(release(), slot) for slot in ("backend-1", "backend-2", "backend-surge", "backend-migrate")} == {"app"}
    assert {user(NEW, slot) for slot in ("backend-1", "backend-2", "backend-surge", "backend-migrate")} == {"app_2"}
    assert user(with_versions(NEW, {"postgres-app": 5}), "backend-1") == "app"


@pytest.mark.parametrize(
    ("numbers", "taken", "running", "known", "expected"),
    [
        ([1], [1], 1, None, 2),
        ([1], [1, 2], 1, (1,), 4),  # 2 was taken back; 3 would be the role that is in use
        ([1, 4], [1, 2, 4], 4, (4,), 5),
        ([1, 2], [1, 2], 1, (1,), 2),  # made, not sealed
        ([1, 2], [1, 2], 2, (1, 2), 2),  # sealed, the old one still accepted
        ([1, 2], [1, 2], 2, (), 2),
    ],
)  # fmt: skip
def test_a_rotation_that_was_broken_off_is_completed_and_the_next_one_takes_the_other_role(
    numbers: list[int], taken: list[int], running: int, known: tuple[int, ...] | None, expected: int
) -> None:
    assert version_for(APP, numbers, taken, running, known) == expected


def test_of_an_ordinary_role_the_next_number_will_do() -> None:
    assert version_for(SUPERUSER, [1], [1, 2], 1, (1,)) == 3


def test_several_at_once_wait_for_each_other_only_where_they_must() -> None:
    seen = deployed(release())
    changes = [Rotation(APP, 2, before=1), Rotation(SUPERUSER, 2, before=1)]
    new = with_versions(NEW, {"postgres-superuser": 2})
    plan = rotations(plan_deploy(new, seen), seen, new, changes)

    assert defects(plan) == []
    assert keys(plan)[-2:] == ["verify postgres-app", "verify postgres-superuser"]
    assert "hand postgres-superuser" in before(plan, "release")
    assert len(plan.destroys) == 2


def test_keycloak_is_told_one_secret_after_the_other() -> None:
    """In the name of an account that may be one of them: while its secret changes, neither the old nor the new one is sure."""
    changes = [Rotation(target_named(name), 2, before=1) for name in ("keycloak-ops", "keycloak-keeper", "keycloak-admin")]
    plan = rotations(Plan("secrets.rotate"), Seen(), NEW, changes)

    assert "hand keycloak-ops" in before(plan, "hand keycloak-keeper")
    assert "hand keycloak-keeper" in before(plan, "hand keycloak-admin")


def test_logins_at_keycloak_are_tried_one_after_the_other() -> None:
    """Two of them are logins of one user, and Keycloak refuses the second of two at once."""
    changes = [Rotation(target_named(name), 2, before=1) for name in ("keycloak-probe", "redis-app", "keycloak-probe-user")]
    plan = rotations(Plan("secrets.rotate"), Seen(), NEW, changes)

    assert "verify keycloak-probe" in before(plan, "verify keycloak-probe-user")
    assert "verify redis-app" not in before(plan, "verify keycloak-probe-user")


def test_what_is_no_login_is_not_tried_as_one() -> None:
    stack = replace(NEW.stack, services={**NEW.stack.services, "backup": replace(whole().services["backup"], needs=())})
    new = replace(NEW, stack=stack, compose={"services": {**NEW.compose["services"], "backup": {}}})
    changes = [Rotation(target_named(name), 2, before=1) for name in ("backup-signing", "redis-backup")]
    plan = rotations(Plan("secrets.rotate"), Seen(), new, changes)

    assert [key for key in keys(plan) if key.startswith("prove")] == ["prove redis-backup in backup"]
    assert "verify backup-signing" not in keys(plan)


def test_key_of_the_backups_is_in_a_file_before_anything_uses_it() -> None:
    backup = replace(whole().services["backup"], needs=())
    stack = replace(NEW.stack, services={**NEW.stack.services, "backup": backup})
    versions = {**NEW.versions, **dict.fromkeys(backup.secrets, 1)}
    seen = replace(deployed(release()), secret_versions=versions)
    new = replace(NEW, stack=stack, versions={**versions, "backup-cipher": 2})
    changed = [Rotation(target_named("backup-cipher"), 2, before=1)]
    rolled = Plan("secrets.rotate", (WriteRelease("release", "seal"), *told(new, seen, backup)))
    plan = with_export(rotations(rolled, seen, new, changed), "/media/usb/key.txt", changed)

    assert "generate backup-cipher" in before(plan, "export")
    assert (step(plan, "export").before, step(plan, "export").version) == (1, 2)
    for key in ("release", "hand backup-cipher", "verify backup-cipher"):
        assert "export" in before(plan, key), key
    # What was exported before counts until the new one works.
    assert "verify backup-cipher" in before(plan, "exported")
    assert "no repository opens with it" in plan.destroys[0]


def test_one_that_was_killed_at_its_very_end_is_verified_and_noted_all_the_same() -> None:
    seen = Seen(accepted={"backup-cipher": (2,)}, secret_versions={"backup-cipher": 2})
    changed = [Rotation(target_named("backup-cipher"), 2, before=1, again=True)]
    plan = with_export(rotations(Plan("secrets.rotate"), seen, NEW, changed), "/media/usb/key.txt", changed)

    assert keys(plan) == ["export", "hand backup-cipher", "verify backup-cipher", "exported"]


def test_key_of_the_backups_is_left_out_where_it_cannot_be_exported() -> None:
    stack = whole()
    asked = [{one.secret for one in rotatable(stack, stack.secrets, escrow=escrow)} for escrow in (False, True)]
    assert asked[1] - asked[0] == {"backup-cipher"}


def test_container_alone_is_told_between_and_only_of_what_is_not_accepted() -> None:
    prometheus = whole().services["prometheus"]
    new = replace(NEW, versions={"postgres-exporter": 2, "redis-exporter": 1, "keycloak-ops-pages": 1})

    assert [one.secret for one in plan.told(new, Seen(), prometheus)] == ["postgres-exporter"]
    assert plan.told(new, Seen(accepted={"postgres-exporter": (2,)}), prometheus) == ()
    # An attempt was killed: nobody knows which one is accepted.
    assert [one.version for one in plan.told(new, Seen(accepted={"postgres-exporter": ()}), prometheus)] == [2]


def test_everything_that_the_stack_declares_is_in_the_table_and_can_be_rotated_or_says_what_to_do_instead() -> None:
    stack = whole()

    assert {one.secret for one in TARGETS} == set(stack.secrets)
    for target in TARGETS:
        if target.can_rotate:
            must_be_rotatable(stack, target)
            assert target.users
        else:
            assert target.instead and target.command
    assert len(rotatable(stack, stack.secrets)) == 20
    assert consumers(stack, target_named("redis-backup")) == ("backup",)


def test_every_late_secret_of_a_database_has_whom_to_tell() -> None:
    """Its container keeps the old value: nobody but the state folder's word would know the new one after a restore."""
    stack = whole()
    for owner in ("postgres", "redis"):
        assert set(stack.services[owner].late_secrets) == set(stack.services[owner].secrets)
        assert {one.secret for one in TARGETS if one.owner == owner} == set(stack.services[owner].secrets)


def test_what_cannot_be_rotated_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageProblem, match="not rotated by a command") as refused:
        must_be_rotatable(whole(), target_named("operator-password"))
    assert "works once" in refused.value.why
    with pytest.raises(UsageProblem, match="there is no secret"):
        target_named("postgres-ap")
    assert "backup.credentials away FILE" in target_named("repository-away-key").command


def test_release_of_before_cannot_be_rotated() -> None:
    old = release(compose=builders.COMPOSE).stack

    with pytest.raises(HostLacks, match="cannot have postgres-app rotated"):
        must_be_rotatable(old, APP)


def test_roles_and_users_that_are_told_exist() -> None:
    roles = (builders.REPOSITORY / "compose/postgres/roles.sql").read_text(encoding="utf-8")
    users = (builders.REPOSITORY / "compose/redis/bin/write-acl").read_text(encoding="utf-8")
    for target in TARGETS:
        if target.owner == "postgres":
            names = [target.to.name] if target.kind == "role" else [login_of(target.to.name, 1), login_of(target.to.name, 2)]
            assert all(f"'{name}', :'" in roles for name in names), target.to
        if target.owner == "redis":
            assert f"\nuser {target.to.name} on " in users


@pytest.mark.parametrize("service", ["backend", "prometheus", "backup"])
def test_container_that_proves_has_what_does_it(service: str) -> None:
    folder = builders.REPOSITORY / "compose" / service
    declared = yaml.safe_load((builders.REPOSITORY / "compose/compose.yaml").read_text())["services"][service]["x-cc03"]

    assert declared["login_check"] == ["/usr/local/bin/logged-in"]
    script = next(path for path in (folder / "logged-in", folder / "bin" / "logged-in") if path.is_file())
    assert Path(script).stat().st_mode & 0o111


def test_migration_logs_in_with_an_account_of_its_own_whatever_is_rotated() -> None:
    """What it makes belongs to that account. No container that serves has its secret, nor is one replaced for it."""
    own = (
        COMPOSE.replace("command: [migrate]", "command: [migrate], "
                        "accounts: {postgres-app: {secret: postgres-migration, account: app_migration}}")
        .replace("postgres-app: {external: true}", "postgres-app: {external: true}, postgres-migration: {external: true}")
        .replace("secrets: [postgres-superuser, ", "secrets: [postgres-superuser, postgres-migration, ")
    )  # fmt: skip
    plain = release(compose=own)
    for changed, version in (({}, 1), ({"postgres-app": 2}, 1), ({"postgres-migration": 5}, 5)):
        services = with_versions(plain, changed).compose["services"]
        for suffix in ONE_OFFS:
            once = services[f"backend{suffix}"]
            assert [(one["source"], one["target"]) for one in once["secrets"]] == [
                (f"cc03-postgres-migration-{version}", "postgres-app")
            ]
            assert once["environment"]["CC03_DATABASE_USER"] == "app_migration"
        assert "migration" not in str(services["backend-1"]["secrets"])
    rotated = with_versions(plain, {"postgres-migration": 5}).compose["services"]
    assert rotated["backend-1"] == plain.compose["services"]["backend-1"]
    assert "cc03-postgres-migration-5" in with_versions(plain, {"postgres-migration": 5}).compose["secrets"]


def test_all_secrets_of_the_stack_are_rotated_in_one_plan_whoever_logs_in_with_them() -> None:
    """The secret of a container that logs in to Keycloak is set after the release is sealed, which waits for the others."""
    stack = whole()
    images = {name: f"localhost/cc03/{name}:1" for name in stack.services}
    hashes = {name: "1" * 16 for name, service in stack.services.items() if service.has_config}
    versions = dict.fromkeys(stack.secrets, 1)
    compose = render_release(stack, allocation(stack), images=images, versions=versions, config_hashes=hashes,
                             state=builders.STATE, log_megabytes=20)  # fmt: skip
    old = replace(wanted(), stack=stack, allocation=allocation(stack), compose=compose, config={}, versions=versions)
    changes = [Rotation(one, 2, before=1) for one in rotatable(stack, stack.secrets, escrow=False)]
    new, seen = with_versions(old, {one.target.secret: 2 for one in changes}), deployed(old)

    plan = rotations(plan_deploy(new, seen), seen, new, changes)

    assert defects(plan) == []
    assert "hand keycloak-probe" in before(plan, "release")
    assert {"release", "remove prometheus"} <= before(plan, "hand keycloak-ops-pages")
