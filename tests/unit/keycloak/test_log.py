"""Keycloak's log: what a line tells, when it counts, and how Podman's file is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from ops.engines.podman.logs import lines
from ops.keycloak.failures.diagnose import UNREADY, diagnose, said, shortened
from ops.keycloak.failures.facts import LogLine
from ops.keycloak.failures.log import ACCESS, errors, log_lines
from ops.keycloak.failures.table import FAILURES
from tests.unit.keycloak.test_causes import CAUSES
from tests.unit.keycloak_facts import HEALTHY, failing, line, logged

TOLD = [
    # Keycloak's and PostgreSQL's own words, from public issues, guides and sources.
    ("image-not-built", "The '--optimized' flag was used for first ever server start. Please don't use this flag for the first "
     "startup or use 'kc.sh build' to build the server first using the expected build options."),
    ("build-options-differ", "The following build time options have values that differ from what is persisted - the new values "
     "will NOT be used until another build is run: kc.db"),
    ("provider-updated", "A provider JAR was updated since the last build, please rebuild for this to be fully utilized."),
    ("rebuilds-at-start", "Updating the server image. Please wait..."),
    ("dev-mode", "Running the server in development mode. DO NOT use this configuration in production."),
    ("h2-in-use", "Usage of the default value for the db option in the production profile is deprecated. Please explicitly set "
     "the db instead."),
    ("h2-in-use", "jakarta.persistence.PersistenceException: org.h2.jdbc.JdbcSQLSyntaxErrorException: Table \"REALM\" "
     "not found"),
    ("h2-locked", "org.h2.jdbc.JdbcSQLNonTransientConnectionException: Database may be already in use: "
     "\"/opt/keycloak/data/h2/keycloakdb.mv.db\". Possible solutions: close all other connection(s) [90020-230]"),
    ("h2-version", "org.h2.jdbc.JdbcSQLNonTransientConnectionException: Unsupported database file version or invalid file "
     "header in file \"/opt/keycloak/data/h2/keycloakdb.mv.db\" [90048-214]"),
    ("changelog-lock", "liquibase.exception.LockException: Could not acquire change log lock within specified timeout 1000 "
     "seconds."),
    ("migration-failed", "Failed to update database: liquibase.exception.MigrationFailedException"),
    ("migration-failed", "ChangeSet META-INF/jpa-changelog-26.0.0.xml::26.0.0-33201::keycloak encountered an exception."),
    ("schema-rights", "org.postgresql.util.PSQLException: ERROR: permission denied for schema public Position: 14"),
    ("password-drift", 'FATAL: password authentication failed for user "keycloak"'),
    ("role-missing", 'FATAL: role "keycloak" does not exist'),
    ("role-cannot-login", 'FATAL: role "keycloak" is not permitted to log in'),
    ("database-missing", 'org.postgresql.util.PSQLException: FATAL: database "keycloak" does not exist'),
    ("database-closed", 'FATAL: database "keycloak" is not currently accepting connections'),
    ("role-connections-full", 'FATAL: too many connections for role "keycloak"'),
    ("postgres-full", "FATAL: remaining connection slots are reserved for non-replication superuser connections"),
    ("database-unreachable", "java.lang.RuntimeException: Failed to obtain JDBC connection"),
    ("database-unreachable", "java.net.UnknownHostException: postgres"),
    ("option-unknown", "Unknown option: '--hostname-strict-https'"),
    ("option-unknown", "'docker2' is an unrecognized feature, it should be one of [...]"),
    ("option-removed", "WARNING: Hostname v1 options [proxy] are still in use, please review your configuration"),
    ("hostname-unset", "hostname is not configured; either configure hostname, or set hostname-strict to false"),
    ("https-key-missing", "Key material not provided to setup HTTPS. Please configure your keys/certificates or start the "
     "server in development mode."),
    ("proxy-headers", "Likely misconfiguration detected. Consult Keycloak documentation on the proxy-headers option."),
    ("proxy-headers", "Non-secure context detected; cookies are not secured, and will not be available in cross-origin "
     "POST requests"),
    ("realm-keys", "Failed to find key: realm=cc03 algorithm=RS256 use=SIG"),
    ("realm-file-name", "File name / realm name mismatch: realm.json, cc03"),
    ("cluster-timeouts", "ISPN000094 JOIN(keycloak-4711) sent to keycloak-0815 timed out (after 2000 ms), on try 1 of 10"),
    ("truststore-missing", "ERROR: Failed to initialize truststore, could not merge: /etc/cc03/current/private-ca.pem"),
    ("peer-untrusted", "javax.net.ssl.SSLHandshakeException: PKIX path building failed: unable to find valid certification "
     "path"),
    ("heap-exhausted", "Terminating due to java.lang.OutOfMemoryError: Java heap space"),
    ("heap-too-large", "# There is insufficient memory for the Java Runtime Environment to continue."),
    ("secret-missing", "/etc/cc03/current/keycloak.conf needs the secret keycloak-ops, and /run/secrets/keycloak-ops cannot "
     "be read"),
    ("secret-missing", "the secret postgres-keycloak is empty or holds characters that are not URL-safe"),
    ("proxy-name-unknown", "the name nginx is unknown here, so there is no proxy to trust"),
]  # fmt: skip
BESIDE = {
    "option-removed",
    "rebuilds-at-start",
    "dev-mode",
    "proxy-headers",
    "realm-keys",
    "cluster-timeouts",
    "peer-untrusted",
}
"""What they tell does not end a start: a loop beside them has another cause."""
HARMLESS = [
    'relation "migration_model" does not exist',
    "Request received during bootstrapping, returning a 503 error. Use the readiness health endpoint",
    "Realm 'cc03' already exists. Import skipped",
    "The following run time options were found, but will be ignored during build time: kc.hostname",
    'type="LOGIN_ERROR", error="invalid_user_credentials", username="database \\"x\\" is fine"',
    "Waiting for changelog lock....",
    "Successfully acquired change log lock",
    "Initializing database schema. Using changelog META-INF/jpa-changelog-master.xml",
    'FATAL: password authentication will be tried for user "keycloak"',
    "permission denied: /opt/keycloak/data",
    "Terminating due to a signal",
    "h2 feature [90021]",
    "hostname is configured",
]


@pytest.mark.parametrize(("mode", "text"), TOLD)
def test_line_of_a_start_that_failed_tells_its_cause(mode: str, text: str) -> None:
    findings = {finding.id: finding for finding in diagnose(failing(line(text))).findings}

    first = next(iter(findings))
    assert first == mode or (mode in BESIDE and first == "crash-loop")
    assert shortened(text) in findings[mode].saw


@pytest.mark.parametrize("text", HARMLESS)
def test_line_that_comes_close_tells_nothing(text: str) -> None:
    assert dict(said(failing(line(text, "WARN")))) == {}


@pytest.mark.parametrize(("mode", "text"), [(mode, text) for mode, text in TOLD])
def test_info_is_no_complaint_but_where_the_line_itself_is_the_fact(mode: str, text: str) -> None:
    quiet = {failure.id for failure in FAILURES if any(line.also_quiet for line in failure.lines)}

    assert set(said(failing(line(text, "INFO")))) <= quiet


@pytest.mark.parametrize(("mode", "text"), [(mode, text) for mode, text in TOLD])
def test_what_a_start_complained_of_is_over_once_it_serves(mode: str, text: str) -> None:
    started = {failure.id for failure in FAILURES if not all(line.serving for line in failure.lines)}

    assert not set(said(logged(HEALTHY, line(text)))) & started


def test_complaint_of_a_serving_keycloak_counts_while_it_is_recent() -> None:
    text = "PKIX path building failed"

    assert list(said(logged(HEALTHY, line(text, seconds_ago=60)))) == ["peer-untrusted"]
    assert dict(said(logged(HEALTHY, line(text, seconds_ago=601)))) == {}


def test_complaint_from_before_it_was_last_unwell_is_over() -> None:
    outage = line(f"{UNREADY}: {{}}", "INFO", seconds_ago=100)
    text = "PKIX path building failed"

    assert dict(said(logged(HEALTHY, line(text, seconds_ago=120), outage, line(text, seconds_ago=100 - 40)))) == {}
    assert list(said(logged(HEALTHY, outage, line(text, seconds_ago=50)))) == ["peer-untrusted"]


def test_what_one_instant_can_cause_takes_several_lines() -> None:
    text, enough = "Unable to acquire JDBC Connection", 3

    assert dict(said(logged(HEALTHY, *[line(text)] * (enough - 1)))) == {}
    assert len(said(logged(HEALTHY, *[line(text)] * enough))) == 1


def test_finding_by_the_log_alone_is_not_certain() -> None:
    (finding,) = diagnose(logged(HEALTHY, line("PKIX path building failed"))).findings

    assert not finding.certain


def test_every_pattern_has_its_line_and_its_source() -> None:
    assert {failure.id for failure in FAILURES if failure.lines} == {mode for mode, _ in TOLD} | {"pool-exhausted"} | set(
        CAUSES
    )
    assert all(one.source for failure in FAILURES for one in failure.lines)


# Podman's file.

AT = "2026-11-24T22:32:03.361044307+00:00"
SINCE = 1_700_000_000.0


def written(message: str | Mapping[str, object], mark: str = "F", at: str = AT) -> str:
    return f"{at} stdout {mark} {message if isinstance(message, str) else json.dumps(message)}"


def read(*said: str, since: float = SINCE) -> list[LogLine]:
    return list(log_lines(lines("keycloak", "\n".join(said)), since))


def test_json_line_is_read_with_the_causes_of_its_exception() -> None:
    said = {
        "level": "ERROR", "loggerName": "org.keycloak", "message": "Failed to start server",
        "exception": {
            "refId": 1, "exceptionType": "java.lang.RuntimeException", "message": "Failed to obtain JDBC connection",
            "causedBy": {"exception": {"exceptionType": "PSQLException", "message": "password authentication failed for user"}},
        },
    }  # fmt: skip
    (found,) = read(written(said))

    assert (found.level, found.logger) == ("ERROR", "org.keycloak")
    assert found.text.startswith("Failed to start server | java.lang.RuntimeException: Failed to obtain JDBC")
    assert "password authentication failed" in found.text


def test_plain_line_has_no_level() -> None:
    (found,) = read(written("Unknown option: '--x'"))

    assert (found.level, found.text) == ("", "Unknown option: '--x'")


def test_console_line_has_its_level_and_logger() -> None:
    (found,) = read(written("2025-08-14 20:42:10,923 WARN  [org.keycloak.services] (executor-thread-4) KC-SERVICES0013: no"))

    assert (found.level, found.logger, found.text) == ("WARN", "org.keycloak.services", "KC-SERVICES0013: no")


def test_line_in_parts_is_put_together() -> None:
    (found,) = read(written("the first half, ", "P"), written("the other half"))

    assert found.text == "the first half, the other half"


def test_older_lines_and_a_cut_first_line_are_left_out() -> None:
    old = written("old", at="2020-01-01T00:00:00.000000000+00:00")

    assert [one.text for one in read("7Z stdout F cut", "cut", old, written("42"), written("new"))] == ["42", "new"]


@pytest.mark.parametrize(("status", "served"), [(200, ["served"]), (302, ["served"]), (404, []), (503, [])])
def test_of_the_access_log_it_is_kept_that_a_request_was_served(status: int, served: list[str]) -> None:
    access = {"level": "INFO", "loggerName": ACCESS, "message": f"method=GET path=/auth status={status} bytes=2000"}

    assert [one.text for one in read(written(access))] == served


def test_start_that_failed_before_it_served_again_is_over() -> None:
    failed = line("Invalid value for option 'kc.proxy-headers' in keycloak.conf: x", seconds_ago=300)
    lost = line('FATAL: password authentication failed for user "keycloak"', seconds_ago=40)
    served = replace(line("served", "INFO", seconds_ago=50), logger=ACCESS)

    assert list(said(failing(failed))) == ["option-unknown"]
    assert list(said(failing(failed, lost, served))) == ["password-drift"]


def test_long_line_is_shortened_to_one_line() -> None:
    assert shortened("a\n b") == "a b"
    assert len(shortened("x" * 500)) == 220


def test_errors_are_told_once_and_the_last_is_why_it_gave_up() -> None:
    def error(message: str, level: str = "ERROR") -> str:
        return written({"level": level, "loggerName": "org.keycloak", "message": message})

    hint = "For more details run the same command passing the '--verbose' option."
    text = "\n".join(
        [error("Failed to\n update"), error("ERROR: ERROR: relation exists"), error("relation exists"), error(hint)]
    )

    assert errors(lines("keycloak", text), 0.0) == ["Failed to update", "relation exists"]
