"""Failures of the image, of its options, and of the built-in database H2."""

from __future__ import annotations

from ops.keycloak.failures.facts import Facts
from ops.keycloak.failures.failure import DEGRADED, DOWN, RISK, Failure, Line
from ops.keycloak.failures.remedy import COPY_H2, DATA, MIGRATE_H2, NOT_STARTED, REBUILD, Way, released

BUILD_OPTIONS = {
    "db": "postgres", "http-relative-path": "/auth", "http-management-relative-path": "/", "health-enabled": "true",
    "metrics-enabled": "true", "event-metrics-user-enabled": "true",
}  # fmt: skip
"""What compose/keycloak/Containerfile builds in, and this stack relies on."""
BUILD_ONLY = frozenset({*BUILD_OPTIONS, "features", "features-disabled", "transaction-xa-enabled"})
"""Options that act when the image is built (all configuration guide, build options)."""
REMOVED = {
    "proxy": "proxy-headers and http-enabled", "hostname-url": "hostname", "hostname-admin-url": "hostname-admin",
    "hostname-path": "hostname", "hostname-port": "hostname", "hostname-strict-https": "hostname with https://",
    "hostname-strict-backchannel": "hostname-backchannel-dynamic", "http-log-enabled": "http-access-log-enabled",
    "legacy-observability-interface": "the management port 9000",
}  # fmt: skip
"""Option that is gone -> what takes its place (upgrading guides 25.0 and 26.0)."""
DEPRECATED_VARIABLES = {
    "KEYCLOAK_ADMIN": "KC_BOOTSTRAP_ADMIN_USERNAME",
    "KEYCLOAK_ADMIN_PASSWORD": "KC_BOOTSTRAP_ADMIN_PASSWORD",
}
"""Variable that still acts -> what will take its place (upgrading guide 26.0)."""
REMOVED_VARIABLES = {
    "KEYCLOAK_USER": "KC_BOOTSTRAP_ADMIN_USERNAME", "KEYCLOAK_PASSWORD": "KC_BOOTSTRAP_ADMIN_PASSWORD",
    "KEYCLOAK_FRONTEND_URL": "KC_HOSTNAME", "PROXY_ADDRESS_FORWARDING": "KC_PROXY_HEADERS",
    "DB_VENDOR": "KC_DB", "DB_ADDR": "KC_DB_URL_HOST", "DB_PASSWORD": "KC_DB_PASSWORD",
}  # fmt: skip


def _not_built(facts: Facts) -> str:
    built = facts.server.built
    return "the image holds no persisted build options" if built is not None and not built and not facts.ready else ""


def _build_options(facts: Facts) -> str:
    built = facts.server.built
    if not built:
        return ""
    asked = {name: value for name, value in facts.given().items() if name in BUILD_ONLY}
    differing = {**BUILD_OPTIONS, **asked}
    wrong = [
        f"{name}: built {built.get(name, '(nothing)')}, wanted {value}"
        for name, value in sorted(differing.items()) if built.get(name) != value and not (name == "db" and _h2(facts))
    ]  # fmt: skip
    return "; ".join(wrong)


def _edited(facts: Facts) -> str:
    # A deploy writes the configuration before it seals the release.
    changed = facts.server.edited if not facts.under_way else ()
    return f"not as in the release: {', '.join(changed)}" if changed else ""


def _rebuilds(facts: Facts) -> str:
    words = facts.server.command
    return "start without --optimized" if "start" in words and "--optimized" not in words else ""


def _dev(facts: Facts) -> str:
    if "start-dev" in facts.server.command:
        return "start-dev"
    return "profile dev is built in" if (facts.server.built or {}).get("profile") == "dev" else ""


def _removed(facts: Facts) -> str:
    old = [f"{name} (now: {REMOVED[name]})" for name in facts.given() if name in REMOVED]
    old += [f"{name} (now: {REMOVED_VARIABLES[name]})" for name in facts.server.environment if name in REMOVED_VARIABLES]
    return ", ".join(sorted(old))


def _not_persistent(facts: Facts) -> str:
    disabled = (facts.server.built or {}).get("features-disabled", "").split(",")
    return "persistent-user-sessions is disabled" if "persistent-user-sessions" in disabled else ""


def _h2(facts: Facts) -> str:
    built = facts.server.built
    # One that was never built has a finding of its own. What is set beside another value that is built in ends the start.
    if not built:
        return ""
    kind, how = built.get("db"), "built in"
    if _rebuilds(facts) and "db" in facts.given():
        kind, how = facts.given()["db"], "set"
    if kind and not kind.startswith("dev-"):
        return ""
    # Unset, it is dev-file.
    return f"db={kind} is {how}" if kind else "db is not built in"


def _on_postgres(facts: Facts) -> bool:
    built = facts.server.built or {}
    return built.get("db") == "postgres" and facts.given().get("db", "postgres") == "postgres"


FAILURES = (
    Failure(
        "image-not-built", DOWN, "the image was never built",
        "--optimized starts what kc.sh build has made, and it has made nothing", source="upgrading guide 26.0",
        shown=_not_built, denied=lambda facts: bool(facts.server.built),
        lines=(Line(r"'--optimized' flag was used for first ever server start", "upgrading guide 26.0"),),
        remedy=released(sealed="a built image", checkout=REBUILD),
        explains=("rebuilds-at-start", "build-options-differ", "h2-in-use", *NOT_STARTED),
    ),
    Failure(
        "build-options-differ", DEGRADED, "a build option differs from what the image was built with",
        "options such as db and features act when the image is built; since 26.0 another value at run time ends the start",
        source="upgrading guide 26.0", shown=_build_options,
        lines=(Line(r"build time options have values that differ from what is persisted", "upgrading guide 26.0"),),
        remedy=released(checkout=REBUILD), explains=("option-unknown", *NOT_STARTED),
    ),
    Failure(
        "provider-updated", DOWN, "a provider's JAR is newer than the build",
        "copying the image cut its file times, so Keycloak takes the JAR for changed", source="containers guide",
        lines=(Line(r"provider JAR was (?:updated|added|removed) since (?:the )?last build", "containers guide"),),
        remedy=released(checkout="a fixed date (touch) before kc.sh build"), explains=NOT_STARTED,
    ),
    Failure(
        "rebuilds-at-start", DEGRADED, "it builds itself anew at each start",
        "it is started without --optimized: each start takes three times as long and as much memory as the build",
        source="containers guide; #36609", shown=_rebuilds,
        lines=(Line(r"Updating the server image|Changes detected in configuration", "containers guide", also_quiet=True),),
        remedy=released(sealed="--optimized"), explains=("cpu-throttled",),
    ),
    Failure(
        "dev-mode", RISK, "it runs in development mode",
        "no host name check, plain HTTP, caches of one node, H2 unless another database is set", source="configuration guide",
        shown=_dev, lines=(Line(r"Running the server in development mode", "configuration guide", also_quiet=True),),
        remedy=released(
            sealed="start --optimized", then="what is in an H2 file is copied out before",
            leaves="the database; dev mode is never a repair",
        ),
        explains=("rebuilds-at-start", "build-options-differ", "h2-in-use"),
    ),
    Failure(
        "option-removed", DEGRADED, "an option that Keycloak no longer has", "it is ignored, so what it should do is not done",
        source="upgrading guides 25.0, 26.0", shown=_removed,
        lines=(Line(r"Hostname v1 options \[[^\]]+\] are still in use", "measured on 26.7.3"),),
        remedy=released(checkout="what replaced it (named above)"), explains=("option-unknown",),
    ),
    Failure(
        "option-unknown", DOWN, "an option that Keycloak does not know",
        "it is misspelled, of another version, or of a feature that is switched off", source="all configuration guide",
        lines=(Line(
            r"Unknown option: |unrecognized feature"
            r"|Invalid value for option|Expected values are: |is in both the enabled and disabled feature lists",
            "all configuration guide",
        ),),
        remedy=released(checkout="the right name in config/keycloak/keycloak.conf"), explains=NOT_STARTED,
    ),
    Failure(
        "option-disabled", DOWN, "an option needs another one that is not set",
        "Keycloak knows it, and takes it only where a feature, a handler or a command that it belongs to is enabled",
        source="ShortErrorMessageHandler 26.7.3", lines=(Line(r"Disabled option: ", "ShortErrorMessageHandler 26.7.3"),),
        remedy=released(checkout="take it out of config/keycloak/keycloak.conf, or enable what it names"),
        explains=("option-unknown", *NOT_STARTED),
    ),
    Failure(
        "jvm-option", DOWN, "Java does not know one of its options",
        "it is misspelled, has a wrong value, or belongs to another Java: the JVM ends before Keycloak begins",
        source="OpenJDK",
        lines=(Line(
            r"Unrecognized VM option|Improperly specified VM option|Unrecognized option: -"
            r"|Invalid (?:maximum|initial) heap size|Could not create the Java Virtual Machine"
            r"|Conflicting collector combinations",
            "OpenJDK", also_quiet=True,
        ),),
        remedy=released(checkout="compose/keycloak/jvm.options, or the variable JAVA_TOOL_OPTIONS"), explains=NOT_STARTED,
    ),
    Failure(
        "provider-incompatible", DEGRADED, "a provider's JAR is of another version of Keycloak or Java",
        "a class or method that it calls is not there: the start, or each login that reaches it, fails",
        source="OpenJDK; #33679",
        lines=(Line(
            r"java\.lang\.(?:NoSuchMethodError|NoSuchFieldError|AbstractMethodError|IncompatibleClassChangeError|IllegalAccessError"
            r"|UnsupportedClassVersionError|VerifyError|NoClassDefFoundError(?!: Could not initialize))"
            r"|ServiceConfigurationError|compiled by a more recent version of the Java Runtime",
            "OpenJDK; #33679", serving=True,
        ),),
        remedy=released(checkout="the provider's version that was built for this Keycloak, then inv deploy"),
        explains=NOT_STARTED,
    ),
    Failure(
        "config-edited", RISK, "its mounted configuration is not the release's",
        "somebody edited it in the state folder: the next restart acts on it, and inv deploy does not revert it",
        source="own", shown=_edited,
        remedy=released(sealed="its configuration", then="what is to stay belongs into config/keycloak"),
    ),
    Failure(
        "provider-option-old-name", RISK, "an option of a provider has its old name",
        "with single dashes it still acts and is ambiguous; a later version of Keycloak may not know it",
        source="reverse proxy guide",
        shown=lambda facts: ", ".join(sorted(name for name in facts.given() if name.startswith("spi-") and "--" not in name)),
        remedy=released(checkout="spi-<spi>--<provider>--<property>"),
    ),
    Failure(
        "sessions-not-persistent", RISK, "sessions live in memory only", "a restart logs everybody out",
        source="upgrading guide 26.0", shown=_not_persistent, remedy=released(checkout=REBUILD),
    ),
    Failure(
        "h2-in-use", DOWN, "it uses the built-in database H2",
        "db is not set to postgres: what it stores is in a file of its container, or in its memory", source="#15898 #13252",
        shown=_h2, denied=_on_postgres,
        lines=(Line(
            r"Usage of the default value for the db option|must be jdbc:h2|Table \"REALM\" not found"
            r"|No suitable driver found for jdbc:|Unable to find a JDBC driver corresponding to the database kind",
            "#15898 #13252 #13965",
        ),),
        remedy=released(
            first=COPY_H2, then=MIGRATE_H2, leaves="the H2 file itself: only a copy is opened", dump_first=True,
        ),
        explains=("h2-leftovers", "h2-locked", "h2-version", "database-unreachable", "migration-failed", *NOT_STARTED),
    ),
    Failure(
        "h2-locked", DOWN, "another process has the H2 file open", "two Keycloaks share one volume", source="#33800",
        lines=(Line(r"Database may be already in use|\[90020", "#33800"),),
        remedy=released(first=COPY_H2, then=MIGRATE_H2, leaves="the .mv.db file: it is never deleted"),
        explains=("database-unreachable", *NOT_STARTED),
    ),
    Failure(
        "h2-version", DOWN, "the H2 file is of another version, or damaged", "H2 reads files of its own major version only",
        source="#15712",
        lines=(Line(r"Unsupported database file version|\[90048|File corrupted while reading record", "#15712"),),
        remedy=released(first=COPY_H2, then=MIGRATE_H2, leaves="the file itself"),
        explains=("database-unreachable", *NOT_STARTED),
    ),
    Failure(
        "h2-leftovers", RISK, "there are H2 files beside PostgreSQL",
        "from before the move to PostgreSQL: there may be accounts in them that are nowhere else", source="db guide",
        shown=lambda facts: ", ".join(facts.server.h2_files),
        remedy=released(first=COPY_H2, ways=(Way.RECREATE,), leaves=DATA),
    ),
)  # fmt: skip
