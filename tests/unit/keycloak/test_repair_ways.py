"""How each family of findings is mended: containers and releases, nginx, sessions, realm and accounts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.certificates.steps import IssueCertificate
from ops.deploy.steps import AwaitHealthy, PromoteContainer, ReloadService, RestartContainer, StartContainer, StopContainer
from ops.keycloak.failures.facts import Schema, Session
from ops.keycloak.repair.plan import NOTHING_TO_UNDO, decide, next_way
from ops.keycloak.repair.situation import Instructions, is_keycloak
from ops.keycloak.repair.steps import (
    CopyOut,
    Halt,
    KeepCertificate,
    RecoverAdmin,
    RepairRealm,
    ReplaceConfig,
    RestoreOperations,
    RunStatements,
    SetAside,
    StopStranger,
    TagImage,
)
from ops.keycloak.schema.steps import DumpDatabase
from ops.releases.steps import WriteRelease
from ops.secrets.steps import StoreSecret
from tests.unit import builders
from tests.unit.keycloak_facts import (
    ADDRESS,
    JDBC,
    container,
    edge,
    postgres,
    server,
    unseen,
)
from tests.unit.keycloak_repairs import DRIFT, EARLIER, RELEASE, SEEN, broken, finding, kinds, order, situation, way

# Containers and releases.


def test_container_is_set_aside_only_when_the_new_one_is_made() -> None:
    repair = way("option-removed")

    assert order(repair, SetAside, PromoteContainer, StartContainer, AwaitHealthy)
    assert repair.steps[0].key == "create keycloak"
    aside = next(step for step in repair.steps if isinstance(step, SetAside))
    assert aside.serving and repair.restarts


def test_release_that_is_itself_wrong_is_left_for_an_earlier_keycloak() -> None:
    from ops.keycloak.repair.situation import with_older_keycloak

    older = with_older_keycloak(RELEASE, EARLIER)
    assert older is not None
    images = frozenset({*SEEN.images, older.images["keycloak"].tag})
    repair = way("image-not-built", drift=(), older=older, older_number=3, seen=replace(SEEN, images=images))

    assert repair.kind == "earlier release"
    sealed = next(step for step in repair.steps if isinstance(step, WriteRelease))
    assert sealed.number == 5
    assert (sealed.manifest or {})["images"]["keycloak"] == EARLIER.images["keycloak"].tag
    assert (sealed.manifest or {})["images"]["nginx"] == RELEASE.images["nginx"].tag
    assert next_way(broken("image-not-built", drift=()), finding("image-not-built")) is None


def test_earlier_keycloak_with_other_secrets_or_the_same_one_is_no_way_out() -> None:
    from ops.keycloak.repair.situation import with_older_keycloak

    service = replace(RELEASE.stack.services["keycloak"], secrets=("postgres-app",))
    both = [
        replace(one, stack=replace(one.stack, services={**one.stack.services, "keycloak": service}))
        for one in (RELEASE, EARLIER)
    ]
    rotated = replace(both[0], versions={**both[0].versions, "postgres-app": 2})

    assert with_older_keycloak(rotated, both[1]) is None
    assert with_older_keycloak(RELEASE, RELEASE) is None


def test_way_that_did_not_help_gives_place_to_the_next() -> None:
    from ops.keycloak.repair.situation import with_older_keycloak

    older = with_older_keycloak(RELEASE, EARLIER)
    assert older is not None
    seen = replace(SEEN, images=frozenset({*SEEN.images, older.images["keycloak"].tag}))

    assert way("hostname-wrong", older=older, seen=seen).kind == "release"
    assert way("hostname-wrong", [("hostname-wrong", "release")], older=older, seen=seen).kind == "earlier release"


def test_edited_configuration_is_replaced_before_the_container() -> None:
    repair = way("hostname-unset", edited=("keycloak",))

    assert order(repair, ReplaceConfig, SetAside)


def test_sealed_image_gets_its_tag_back_even_where_the_tag_is_gone() -> None:
    tag = RELEASE.images["keycloak"].tag
    repair = way("image-not-built", retag="abc", seen=replace(SEEN, images=SEEN.images - {tag}))

    assert order(repair, TagImage, SetAside)


def test_image_that_is_gone_is_not_built_here() -> None:
    tag = RELEASE.images["keycloak"].tag

    assert (
        next_way(broken("image-not-built", seen=replace(SEEN, images=SEEN.images - {tag})), finding("image-not-built")) is None
    )


def test_postgres_without_its_volume_is_not_begun_anew() -> None:
    seen = replace(builders.with_state(SEEN, "exited", "postgres"), volumes=frozenset())

    assert isinstance(decide(broken("postgres-down", seen=seen), finding("postgres-down")), Instructions)


def test_h2_files_are_copied_before_their_container_goes() -> None:
    facts = server(h2_files=("/run/keycloak/data/h2/keycloakdb.mv.db",))
    repair = next_way(situation(facts, drift=DRIFT), finding("h2-leftovers", facts))

    assert repair is not None and order(repair, CopyOut, SetAside)


def test_secrets_are_given_to_podman_again_before_a_container_that_lacks_them() -> None:
    service = replace(RELEASE.stack.services["keycloak"], secrets=("postgres-app",))
    release = replace(RELEASE, stack=replace(RELEASE.stack, services={**RELEASE.stack.services, "keycloak": service}))

    assert order(way("secret-stale", wanted=release), StoreSecret, SetAside)
    assert StoreSecret not in kinds(way("container-lost", wanted=release))


def test_stopped_container_is_started_and_a_paused_one_goes_on() -> None:
    assert kinds(way("stopped")) == [StartContainer, AwaitHealthy]
    paused = unseen(container(status="paused"))
    repair = next_way(situation(paused), finding("stopped", paused))
    assert repair is not None and [type(step).__name__ for step in repair.steps] == ["Resume", "AwaitHealthy"]


def test_postgres_comes_before_the_keycloak_that_needs_it() -> None:
    repair = way("postgres-down")

    assert kinds(repair)[0] is Halt
    starts = [step.slot for step in repair.steps if isinstance(step, StartContainer)]
    assert starts == ["postgres", "keycloak"]


# nginx.


def test_certificate_is_kept_before_another_is_issued() -> None:
    assert order(way("certificate-untrusted"), KeepCertificate, IssueCertificate, ReloadService)
    assert kinds(way("certificate-stale")) == [ReloadService]


def test_nginx_that_still_fails_after_a_reload_is_restarted() -> None:
    assert kinds(way("edge-fails")) == [ReloadService]
    assert kinds(way("edge-fails", [("edge-fails", "reload")]))[0] is RestartContainer


# Sessions.


def test_only_sessions_of_nobody_are_ended() -> None:
    own_waits = Schema(holder=Session(9, ADDRESS, 200.0, JDBC), waiting=1)
    young = replace(container(running_seconds=60.0), postgres=postgres(schema=own_waits).postgres)
    old = replace(container(running_seconds=600.0), postgres=postgres(schema=own_waits).postgres)

    assert next_way(situation(young), finding("changelog-lock")) is not None  # left by the one before this start
    assert next_way(situation(old), finding("changelog-lock")) is None  # its own, since it began after the start


def test_second_keycloak_that_runs_is_stopped_and_not_cut_off() -> None:
    other = Session(7, "10.64.6.40", 60.0, JDBC)
    held = postgres(schema=Schema(holder=other, waiting=1), sessions=(other,))
    repair = next_way(
        situation(replace(held, neighbours={"10.64.6.40": "x-keycloak"}, other_keycloaks=frozenset({"x-keycloak"}))),
        finding("changelog-lock"),
    )

    assert repair is not None
    assert [step.name for step in repair.steps if isinstance(step, StopStranger)] == ["x-keycloak"]
    assert not [step for step in repair.steps if isinstance(step, RunStatements)]


def test_session_that_blocks_keycloak_is_ended_if_it_is_nobodys() -> None:
    own, foreign = Session(5, ADDRESS, 20.0, JDBC), Session(6, "", 20.0, "psql")
    waiting = edge(pool_awaiting=12.0)
    blocked = replace(waiting, postgres=replace(waiting.postgres, blockers=(own, foreign)))
    repair = next_way(situation(blocked), finding("pool-exhausted"))

    assert repair is not None
    (step,) = repair.steps
    assert isinstance(step, RunStatements) and "IN (6)" in step.statements
    assert next_way(situation(waiting), finding("pool-exhausted")) is None


def test_session_whose_client_is_gone_is_ended_and_a_dump_is_not() -> None:
    gone = Session(7, "10.64.6.40", 60.0, JDBC)
    dump = Session(8, "", 60.0, "pg_dump")
    repair = next_way(situation(postgres(sessions=(gone, dump))), finding("role-connections-full"))

    assert repair is not None and repair.undo == NOTHING_TO_UNDO
    statements = next(step for step in repair.steps if isinstance(step, RunStatements)).statements
    assert "IN (7)" in statements


# Realm and accounts.


def test_only_the_users_that_are_locked_are_named() -> None:
    (step,) = way("users-locked").steps

    assert isinstance(step, RepairRealm) and step.named == ("1f2e",)


def test_administration_is_recovered_with_keycloak_stopped_and_after_a_dump() -> None:
    repair = way("admin-lost")

    assert kinds(repair) == [DumpDatabase, StopContainer, RecoverAdmin, StartContainer, AwaitHealthy, RestoreOperations]
    assert order(repair, *kinds(repair))


def test_refused_client_is_put_right_by_the_api_first_then_by_bootstrap() -> None:
    refused = edge(admin=401, admin_said="unauthorized_client")
    second = next_way(situation(refused), finding("admin-refused"), frozenset({("admin-refused", "admin API")}))

    assert kinds(way("admin-refused")) == [RepairRealm]
    assert second is not None and second.kind == "bootstrap-admin"


# What is not done unasked.


def test_expired_certificate_from_elsewhere_is_not_answered_with_one_of_the_internal_authority() -> None:
    for mode in ("certificate-untrusted", "certificate-expires"):
        facts = broken(mode).facts
        elsewhere = replace(facts, edge=replace(facts.edge, certificate_elsewhere=True))
        decided = decide(situation(elsewhere), finding(mode, elsewhere))

        assert isinstance(decided, Instructions)
        assert "inv certs" in " ".join(decided.lines)
    stale = replace(broken("certificate-stale").facts.edge, certificate_elsewhere=True)
    found = situation(replace(broken("certificate-stale").facts, edge=stale))
    tried: set[tuple[str, str]] = set()
    while (repair := next_way(found, finding("certificate-stale"), frozenset(tried))) is not None:
        assert not any(isinstance(step, IssueCertificate) for step in repair.steps)
        tried.add(("certificate-stale", repair.kind))
    assert ("certificate-stale", "reload") in tried


def test_container_that_is_not_ours_is_stopped_only_after_the_operator_has_agreed() -> None:
    repair = way("second-keycloak")

    assert "other-keycloak" in repair.asks
    assert repair.must_be_agreed(serving=True) and repair.must_be_agreed(serving=False)


def test_release_is_put_back_unasked_only_where_nobody_is_served() -> None:
    assert way("option-removed").must_be_agreed(serving=True)
    assert not way("option-removed").must_be_agreed(serving=False)
    assert not way("password-drift").must_be_agreed(serving=True)


@pytest.mark.parametrize(("locked", "errors", "asked"), [(1, 3, False), (1, 400, True), (6, 9, True)])
def test_locks_are_not_cleared_unasked_in_the_middle_of_an_attack(locked: int, errors: int, asked: bool) -> None:
    facts = edge(locked=tuple(f"user-{number}" for number in range(locked)))
    content = facts.postgres.content
    assert content is not None
    facts = replace(facts, postgres=replace(facts.postgres, content=replace(content, login_errors=errors)))
    repair = next_way(situation(facts), finding("users-locked", facts))

    assert repair is not None
    assert repair.must_be_agreed(serving=True) is asked
    assert (f"{errors} logins failed" in repair.asks) is asked


@pytest.mark.parametrize(
    ("config", "image", "found"),
    [
        ({"Entrypoint": ["/opt/keycloak/bin/kc.sh"], "Cmd": ["start"]}, "quay.io/x:1", True),
        ({"Entrypoint": "/usr/local/bin/entrypoint.sh", "Env": ["KC_RUN_IN_CONTAINER=true"]}, "localhost/x:1", True),
        ({"Cmd": ["java", "-jar", "app.jar"], "Env": ["DB_URL=jdbc:postgresql://postgres/keycloak"]}, "localhost/app:1", False),
    ],
)  # fmt: skip
def test_other_java_program_is_no_keycloak(config: dict[str, object], image: str, found: bool) -> None:
    assert is_keycloak({"Config": config, "ImageName": image}) is found


def test_other_java_program_is_never_stopped() -> None:
    facts = replace(broken("second-keycloak").facts, other_keycloaks=frozenset())

    assert next_way(situation(facts), finding("second-keycloak", facts)) is None
