"""Every failure mode of Keycloak: the facts that show it, and facts that come close and do not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from ops.keycloak.failures.diagnose import as_json, diagnose
from ops.keycloak.failures.evidence import BUILD_OPTIONS, ORIGINS, REDIRECTS, accepts, heap_percent, shown
from ops.keycloak.failures.facts import ContainerFacts, Database, EdgeFacts, Facts, Role, Schema, Session
from ops.keycloak.failures.failure import SEVERITIES, Failure, Way
from ops.keycloak.failures.table import FAILURES, consequences
from tests.unit.builders import REPOSITORY
from tests.unit.keycloak_facts import (
    ADDRESS,
    BUILT,
    CLIENTS,
    COMMAND,
    CONTENT,
    HEALTHY,
    ISSUER,
    JDBC,
    NOW,
    OPTIONS,
    STARTING,
    URL,
    client,
    container,
    content,
    edge,
    failing,
    line,
    logged,
    option,
    postgres,
    server,
    unseen,
)

BAD_URI = f'type="LOGIN_ERROR", clientId="cc03-frontend", error="invalid_redirect_uri", redirect_uri="{URL}/old"'


def ids(facts: Facts) -> list[str]:
    return [finding.id for finding in diagnose(facts).findings]


def many(text: str) -> Facts:
    return logged(HEALTHY, *(line(text, "WARN", ago) for ago in range(20)))


def started_without_http() -> Facts:
    return replace(
        option(http_enabled=""), edge=EdgeFacts(ready=0), container=replace(HEALTHY.container, running_seconds=700.0)
    )


CASES: dict[str, tuple[Facts, Facts]] = {
    # id: what shows it, what comes close
    "container-missing": (
        unseen(container(status="missing", running_seconds=None)),
        unseen(container(status="created", running_seconds=None)),
    ),
    "container-lost": (unseen(container(status="lost", running_seconds=None)), HEALTHY),
    "heap-too-large": (server(jvm=("-Xmx1900m",)), server(jvm=("-Xmx1400m",))),
    "out-of-memory": (unseen(container(status="exited", exit_code=137, oom_killed=True)), container(exit_code=137)),
    "memory-near-limit": (container(memory_bytes=1950 << 20), container(memory_bytes=1740 << 20)),
    "cpu-throttled": (container(cpu_periods=12, cpu_throttled=10), container(cpu_periods=12, cpu_throttled=4)),
    "crash-loop": (failing(), container(restarts=7, running_seconds=4.0)),
    "stopped": (unseen(container(status="exited", exit_code=143)), container(exit_code=143)),
    "exited": (unseen(container(status="exited", exit_code=2)), container(exit_code=2)),
    "not-ready": (edge(ready=503, ready_said="Keycloak Initialized"), STARTING),
    "healthcheck-wrong": (container(healthcheck="unhealthy"), container(healthcheck="starting")),
    "management-plain": (edge(ready=0, management_plain=True), HEALTHY),
    "secret-stale": (container(stale_secrets=("keycloak-ops",)), container(stale_secrets=())),
    "image-not-built": (replace(failing(), server=replace(HEALTHY.server, built={})), server(built=None)),
    "build-options-differ": (option(db="mariadb"), option(db="postgres", log_level="debug")),
    "rebuilds-at-start": (server(command=("java", "start")), server(command=("bash", "entrypoint.sh"))),
    "dev-mode": (server(command=("java", "start-dev")), server(built={**BUILT, "profile": "prod"})),
    "option-removed": (server(environment={"KC_PROXY": "edge"}), server(environment={"KC_PROXY_HEADERS": "xforwarded"})),
    "provider-option-old-name": (
        server(options={**OPTIONS, "spi-events-listener-jboss-logging-success-level": "info"}),
        server(options={**OPTIONS, "spi-login--provider": "freemarker"}),
    ),
    "sessions-not-persistent": (
        server(built={**BUILT, "features-disabled": "docker,persistent-user-sessions"}),
        server(built={**BUILT, "features-disabled": "docker"}),
    ),
    "h2-in-use": (server(built={**BUILT, "db": "dev-file"}), server(built=None)),
    "config-edited": (server(edited=("hostname",)), server(edited=())),
    "secret-missing": (container(empty_secrets=("postgres-keycloak",)), container(stale_secrets=())),
    "h2-leftovers": (server(h2_files=("/run/keycloak/data/h2/keycloakdb.mv.db",)), HEALTHY),
    "postgres-down": (replace(failing(), postgres=replace(HEALTHY.postgres, status="exited", answers=False)), HEALTHY),
    "postgres-silent": (postgres(answers=False, said="the database system is starting up"), HEALTHY),
    "postgres-full": (postgres(connections=97), postgres(connections=96)),
    "role-missing": (postgres(role=None, login=None), replace(postgres(role=None), unread={"database": "late"})),
    "role-cannot-login": (postgres(role=Role(login=False)), postgres(role=Role(limit=-1))),
    "password-drift": (
        postgres(login='FATAL:  password authentication failed for user "keycloak"'),
        postgres(login=None),
    ),
    "database-missing": (postgres(database=None), replace(postgres(database=None), unread={"database": "late"})),
    "database-closed": (postgres(database=Database(connectable=False)), HEALTHY),
    "database-wrong-owner": (postgres(database=Database(owner="postgres")), postgres(database=Database(owner="keycloak"))),
    "schema-rights": (postgres(schema=Schema(create=False)), postgres(schema=None)),
    "encoding": (postgres(database=Database(encoding="SQL_ASCII")), HEALTHY),
    "changelog-lock": (
        postgres(schema=Schema(holder=Session(99, "", 45.0, "psql"), waiting=1)),
        postgres(schema=Schema(holder=Session(99, ADDRESS, 45.0, JDBC))),
    ),
    "schema-newer": (content(version="26.10.0"), content(version="26.4.7")),
    "role-connections-full": (postgres(role=Role(connections=30)), postgres(role=Role(limit=-1, connections=30))),
    "pool-exhausted": (edge(pool_awaiting=12.0, pool_active=20.0), edge(pool_awaiting=1.0, pool_active=20.0)),
    "second-keycloak": (
        postgres(sessions=(Session(7, "10.64.6.40", 60.0, JDBC), Session(8, ADDRESS, 60.0, JDBC))),
        postgres(sessions=(Session(7, "", 60.0, "psql"), Session(8, "10.64.6.40", 60.0, "pg_dump"))),
    ),
    "disk-full": (replace(HEALTHY, disks={"/var": 12 << 20}), replace(HEALTHY, disks={"/var": 900 << 20})),
    "postgres-read-only": (postgres(read_only="standby"), postgres(read_only="")),
    "postgres-hba": (
        postgres(login='FATAL:  no pg_hba.conf entry for host "127.0.0.1", user "keycloak", database "keycloak"'),
        postgres(login=""),
    ),
    "lock-table-rights": (postgres(schema=Schema(lock_owner="postgres", strangers=1)), postgres(schema=Schema(lock_owner=""))),
    "cluster-rows": (content(cluster_rows=2), content(cluster_rows=0)),
    "hostname-unset": (option(hostname=""), option(hostname="", hostname_strict="false")),
    "hostname-wrong": (edge(discovery={"issuer": "https://other.example.com/auth/realms/cc03"}), HEALTHY),
    "proxy-headers": (option(proxy_headers=""), option(proxy_headers="forwarded")),
    "https-key-missing": (started_without_http(), option(http_enabled="")),
    "nginx-down": (replace(HEALTHY, nginx="exited"), HEALTHY),
    "edge-fails": (edge(public=502), STARTING),
    "certificate-untrusted": (edge(public=0, certificate_said="self-signed certificate"), HEALTHY),
    "certificate-expires": (edge(certificate_days=2.0), edge(certificate_days=30.0)),
    "certificate-stale": (edge(certificate_stale=True), HEALTHY),
    "truststore-missing": (server(truststores_missing=("/etc/ca/idp.pem",)), HEALTHY),
    "realm-missing": (content(realms={"master": True}), replace(STARTING, postgres=content(realms={"master": True}).postgres)),
    "realm-disabled": (content(realms={"master": True, "cc03": False}), content(realms={"cc03": True, "old": False})),
    "realm-file-name": (server(realm_files={"realm.json": "cc03"}), server(realm_files={"x-realm.json": "x"})),
    "realm-keys": (edge(signing_keys=0), edge(signing_keys=None)),
    "client-missing": (client("cc03-backend", enabled=False), client("account", enabled=False)),
    "redirect-uri": (
        client("cc03-frontend", redirects=("http://localhost/",)),
        client("cc03-frontend", redirects=(f"{URL}/*",)),
    ),
    "web-origin": (client("cc03-grafana", origins=()), client("cc03-grafana", origins=("+",))),
    "security-loosened": (content(ssl_required={"cc03": "NONE"}), content(ssl_required={"cc03": "ALL"})),
    "admin-lost": (content(admins=0, ops_client=False), content(admins=0, ops_client=True)),
    "admin-refused": (edge(admin=401, admin_said="unauthorized_client"), edge(admin=0, admin_said="timed out")),
    "users-locked": (edge(locked=("1f2e",)), edge(locked=())),
    "clock-skew": (edge(clock_offset=-40.0), edge(clock_offset=1.2)),
}


@pytest.mark.parametrize("mode", CASES)
def test_facts_show_the_mode_first_and_what_comes_close_does_not(mode: str) -> None:
    seen, close = CASES[mode]

    assert ids(seen)[:1] == [mode]
    assert diagnose(seen).findings[0].certain
    assert diagnose(seen).findings[0].saw[0]
    assert mode not in ids(close)


@pytest.mark.parametrize("mode", CASES)
def test_no_other_cause_is_told_as_certain(mode: str) -> None:
    findings = diagnose(CASES[mode][0]).findings

    assert [finding.id for finding in findings if finding.certain] == [mode]


def test_every_rule_has_its_case_and_every_failure_a_rule_or_a_line() -> None:
    assert set(CASES) == set(shown(HEALTHY))
    assert all(failure.id in CASES or failure.lines for failure in FAILURES)
    assert len(FAILURES) >= 98


@pytest.mark.parametrize("facts", [HEALTHY, STARTING, many(BAD_URI)], ids=["sound", "first start", "under attack"])
def test_sound_keycloak_has_no_finding(facts: Facts) -> None:
    assert diagnose(facts).findings == ()


def test_start_is_told_as_a_note_and_judged_once_its_time_is_over() -> None:
    late = replace(STARTING, container=replace(STARTING.container, running_seconds=601.0))

    assert "starting for 20 s" in " ".join(diagnose(STARTING).notes)
    assert ids(late) == ["not-ready"]


def test_migration_that_holds_the_lock_is_no_finding() -> None:
    migrating = replace(
        STARTING, postgres=postgres(schema=Schema(holder=Session(9, ADDRESS, 200.0, JDBC)), content=None).postgres
    )

    assert ids(migrating) == []


def test_own_session_that_a_killed_keycloak_left_is_found_when_the_next_one_waits() -> None:
    orphaned = postgres(schema=Schema(holder=Session(9, ADDRESS, 200.0, JDBC), waiting=1))

    assert ids(orphaned) == ["changelog-lock"]


# Causes and what follows from them.


def test_cause_takes_its_consequences_with_it() -> None:
    refused = 'FATAL: password authentication failed for user "keycloak"'
    down = failing(line("Failed to obtain JDBC connection"), line(refused))
    diagnosis = diagnose(replace(down, postgres=replace(down.postgres, login=refused), nginx="running"))

    (finding,) = diagnosis.findings
    assert finding.id == "password-drift"
    assert set(finding.consequences) >= {"crash-loop", "database-unreachable"}
    assert finding.severity == "down"


def test_cause_is_as_grave_as_the_gravest_of_its_consequences() -> None:
    serving = postgres(database=Database(owner="postgres"))
    down = replace(failing(line("permission denied for schema public")), postgres=serving.postgres)

    assert [(finding.id, finding.severity) for finding in diagnose(serving).findings] == [("database-wrong-owner", "degraded")]
    assert [(finding.id, finding.severity) for finding in diagnose(down).findings] == [("database-wrong-owner", "down")]


@pytest.mark.parametrize(
    ("facts", "causes"),
    [
        (replace(edge(public=502, admin=0), nginx="exited"), ["nginx-down"]),
        (replace(client("cc03-frontend", redirects=(), origins=())), ["redirect-uri"]),
        (replace(container(status="exited", exit_code=137, oom_killed=True), edge=EdgeFacts(),
                 server=replace(HEALTHY.server, jvm=("-XX:MaxRAMPercentage=95",))), ["heap-too-large"]),
        (replace(failing(), server=replace(HEALTHY.server, built={}, command=("start",))), ["image-not-built"]),
        (replace(edge(discovery={"issuer": ISSUER.replace("https", "http")})), ["proxy-headers"]),
    ],
)  # fmt: skip
def test_symptoms_are_not_told_beside_their_cause(facts: Facts, causes: list[str]) -> None:
    assert ids(facts) == causes


@pytest.mark.parametrize(
    ("facts", "causes"),
    [
        (replace(postgres(login="password authentication failed"), server=server(h2_files=("/x.mv.db",)).server),
         ["password-drift", "h2-leftovers"]),
        (replace(edge(locked=("1f2e",)), server=option(proxy_headers="").server), ["proxy-headers", "users-locked"]),
        (replace(client("cc03-frontend", redirects=()), container=container(memory_bytes=2000 << 20).container),
         ["redirect-uri", "memory-near-limit"]),
        (replace(edge(clock_offset=60.0), postgres=postgres(database=Database(encoding="LATIN1")).postgres),
         ["clock-skew", "encoding"]),
    ],
)  # fmt: skip
def test_two_faults_at_once_are_both_told_the_graver_first(facts: Facts, causes: list[str]) -> None:
    assert ids(facts) == causes


def test_consequences_are_known_modes_and_no_mode_follows_from_itself() -> None:
    known = {mode.id for mode in FAILURES}

    for mode in FAILURES:
        assert set(mode.explains) <= known, mode.id
        assert mode.id not in mode.explains


def test_two_modes_never_explain_each_other() -> None:
    """Whichever stands first would hide the other."""
    both = [(one.id, two) for one in FAILURES for two in consequences(one.id) if one.id in consequences(two)]

    assert both == []


# The form of what is told.


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: str(failure.id))
def test_failure_says_all_that_a_repair_needs(failure: Failure) -> None:
    remedy = failure.remedy

    assert failure.severity in SEVERITIES
    assert all((failure.title, failure.means, failure.source, remedy.words, remedy.leaves, remedy.users, remedy.advice))
    assert (remedy.sql is not None) == (Way.SQL in remedy.ways)
    assert bool(remedy.api) == (Way.ADMIN_API in remedy.ways)


@pytest.mark.parametrize("mode", [mode.id for mode in FAILURES])
def test_mode_has_its_section_in_the_reference(mode: str) -> None:
    page = (REPOSITORY / "docs" / "reference" / "keycloak-findings.md").read_text(encoding="utf-8")

    assert f"\n## {mode}\n" in page


def test_modes_that_are_left_to_a_person_are_these() -> None:
    assert sorted(mode.id for mode in FAILURES if not mode.repairable) == [
        "clock-skew", "cpu-throttled", "database-missing", "disk-full", "encoding", "event-loop-blocked",
        "identity-provider-fails", "ldap-fails", "mail-fails", "memory-near-limit", "migration-failed", "migration-timeout",
        "peer-untrusted", "postgres-full", "postgres-hba", "postgres-silent", "postgres-tls-off", "realm-missing",
        "theme-broken", "theme-missing",
    ]  # fmt: skip


def test_ids_are_unique() -> None:
    assert len({mode.id for mode in FAILURES}) == len(FAILURES)


def test_json_has_every_field_of_a_finding() -> None:
    told = as_json(diagnose(edge(locked=("1f2e",))), 1.234)

    assert (told["healthy"], told["seconds"]) == (False, 1.23)
    (finding,) = told["findings"]
    assert set(finding) == {
        "id", "severity", "certain", "title", "saw", "means", "repair", "untouched", "notice", "dump_first", "repairable",
        "source", "consequences",
    }  # fmt: skip
    assert finding["repairable"] is True


def test_what_could_not_be_seen_is_told_and_makes_no_finding() -> None:
    blind = Facts(URL, "https://localhost:9443", NOW, ContainerFacts(), unread={"database": "no answer within 4.5 s"})
    diagnosis = diagnose(blind)

    assert diagnosis.unread == ("database: no answer within 4.5 s",)
    assert diagnosis.findings == ()


def test_notes_tell_of_another_command_of_restarts_and_of_failed_logins() -> None:
    notes = diagnose(replace(
        container(restarts=2), under_way="inv deploy under way", postgres=content(login_errors=25).postgres,
    )).notes  # fmt: skip

    assert [note.split(":")[0].split(",")[0] for note in notes] == [
        "inv deploy under way", "25 logins failed in the last hour", "it was restarted 2 times since it was made",
    ]  # fmt: skip


def test_what_any_stranger_can_cause_is_a_note_once_there_is_much_of_it() -> None:
    assert "20 logins asked to be sent" in diagnose(many(BAD_URI)).notes[0]
    assert diagnose(logged(HEALTHY, line(BAD_URI, "WARN"))).notes == ()
    assert diagnose(logged(HEALTHY, *[line(BAD_URI, "WARN", 700.0)] * 9)).notes == ()


def test_heap_is_read_from_the_options_that_win() -> None:
    assert heap_percent(HEALTHY) == 65
    assert heap_percent(server(jvm=("-Xmx512m", "-Xmx1g"))) == 50
    assert heap_percent(server(jvm=(), environment={"JAVA_TOOL_OPTIONS": "-XX:MaxRAMPercentage=90"})) == 90
    assert heap_percent(server(jvm=())) is None


@pytest.mark.parametrize(
    ("pattern", "url", "covered"),
    [(f"{URL}/", f"{URL}/", True), (f"{URL}/", f"{URL}/x", False), (f"{URL}/*", f"{URL}/x", True), ("*", URL, True)],
)
def test_redirect_uris_are_read_as_keycloak_does(pattern: str, url: str, covered: bool) -> None:
    assert accepts(pattern, url) is covered


def test_memory_beyond_the_limit_is_somebody_elses() -> None:
    assert ids(container(memory_bytes=10748 << 20)) == []


def test_wildcard_over_the_host_is_too_wide_and_a_path_is_not() -> None:
    assert ids(client("cc03-frontend", redirects=("https://*", f"{URL}/"))) == ["security-loosened"]
    assert ids(client("cc03-frontend", redirects=("*",))) == ["security-loosened"]
    assert "security-loosened" not in ids(client("cc03-frontend", redirects=(f"{URL}/*",)))


def test_build_options_are_those_of_the_containerfile() -> None:
    text = (REPOSITORY / "compose" / "keycloak" / "Containerfile").read_text(encoding="utf-8")

    assert {name: value for name, value in BUILD_OPTIONS.items() if name != "db" and f"--{name}={value} " not in text} == {}
    assert f"--db={BUILD_OPTIONS['db']}" in text


def test_clients_are_those_of_the_realm_file() -> None:
    text = (REPOSITORY / "config" / "keycloak" / "realm.yaml").read_text(encoding="utf-8")
    login = {one["clientId"]: one for one in yaml.safe_load(text)["clients"] if one.get("redirectUris")}
    uris = {name: [uri.replace("${CC03_PUBLIC_URL}", URL) for uri in one["redirectUris"]] for name, one in login.items()}

    assert {name for name, path in REDIRECTS.items() if any(accepts(uri, URL + path) for uri in uris.get(name, ()))} == set(
        login
    )
    assert {name for name, one in login.items() if one["webOrigins"]} == set(ORIGINS)
    assert {one.client_id for one in CLIENTS if one.standard_flow} == {*login, "account"}
    assert CONTENT.realms["cc03"]
    assert COMMAND[2] == "start"


def test_realm_that_a_deploy_is_about_to_make_is_not_missing() -> None:
    assert ids(replace(content(realms={"master": True}), under_way="inv deploy under way for 9 s")) == []
