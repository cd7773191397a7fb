"""Failure modes of the image, its options and the built-in database H2."""

from __future__ import annotations

from ops.plan.keycloak.mode import DATA, DEGRADED, DOWN, RESTART, RISK, SECRETS_AND_DATA, Mode
from ops.plan.keycloak.modes_start import LOOP, NOT_STARTED, REBUILD, RELEASE

COPY_H2 = (
    "copy the H2 files into the state folder, then put Keycloak back to what the release says; what they hold is moved by hand"
)

IMAGE = (
    Mode(
        id="image-not-built",
        severity=DOWN,
        title="the image was never built",
        means="--optimized starts what kc.sh build has made, and it has made nothing",
        repair=f"{LOOP}; {RELEASE} (a built image); in the checkout: {REBUILD}",
        untouched=SECRETS_AND_DATA,
        notice=RESTART,
        source="upgrading guide 26.0",
        explains=("rebuilds-at-start", "build-options-differ", "h2-in-use", *NOT_STARTED),
    ),
    Mode(
        id="build-options-differ",
        severity=DEGRADED,
        title="a build option differs from what the image was built with",
        means=(
            "options such as db and features act when the image is built; since 26.0 another value at run time ends the start"
        ),
        repair=f"{LOOP}; {RELEASE}; in the checkout: {REBUILD}",
        untouched=SECRETS_AND_DATA,
        notice=RESTART,
        source="upgrading guide 26.0",
        explains=("option-unknown", *NOT_STARTED),
    ),
    Mode(
        id="provider-updated",
        severity=DOWN,
        title="a provider's JAR is newer than the build",
        means="copying the image cut its file times, so Keycloak takes the JAR for changed",
        repair=f"{LOOP}; {RELEASE}; in the checkout: a fixed date (touch) before kc.sh build",
        untouched=SECRETS_AND_DATA,
        notice=RESTART,
        source="containers guide",
        explains=NOT_STARTED,
    ),
    Mode(
        id="rebuilds-at-start",
        severity=DEGRADED,
        title="it builds itself anew at each start",
        means="it is started without --optimized: each start takes three times as long and as much memory as the build",
        repair=f"{RELEASE} (--optimized)",
        untouched=SECRETS_AND_DATA,
        notice=RESTART,
        source="containers guide; #36609",
        explains=("cpu-throttled",),
    ),
    Mode(
        id="dev-mode",
        severity=RISK,
        title="it runs in development mode",
        means="no host name check, plain HTTP, caches of one node, H2 unless told otherwise",
        repair=f"{RELEASE} (start --optimized); what is in an H2 file is copied out before",
        untouched="the database; dev mode is never a repair",
        notice=RESTART,
        source="configuration guide",
        explains=("rebuilds-at-start", "build-options-differ", "h2-in-use"),
    ),
    Mode(
        id="option-removed",
        severity=DEGRADED,
        title="an option that Keycloak no longer has",
        means="it is ignored, so what it should do is not done",
        repair=f"{RELEASE}; in the checkout: what replaced it (named above)",
        untouched=SECRETS_AND_DATA,
        notice=RESTART,
        source="upgrading guides 25.0, 26.0",
        explains=("option-unknown",),
    ),
    Mode(
        id="option-unknown",
        severity=DOWN,
        title="an option that Keycloak does not know",
        means="it is misspelled, of another version, or of a feature that is switched off",
        repair=f"{LOOP}; {RELEASE}; in the checkout: the right name in config/keycloak/keycloak.conf",
        untouched=SECRETS_AND_DATA,
        notice=RESTART,
        source="all configuration guide",
        explains=NOT_STARTED,
    ),
    Mode(
        id="config-edited",
        severity=RISK,
        title="its mounted configuration is not the release's",
        means="somebody edited it in the state folder: the next restart acts on it, and inv deploy does not put it back",
        repair="put the release's files back, and restart Keycloak; what shall stay belongs into config/keycloak",
        untouched=SECRETS_AND_DATA,
        notice=RESTART,
        source="own",
    ),
    Mode(
        id="provider-option-old-name",
        severity=DEGRADED,
        title="an option of a provider has its old name",
        means="with single dashes it is ignored",
        repair=f"{RELEASE}; in the checkout: spi-<spi>--<provider>--<property>",
        untouched=SECRETS_AND_DATA,
        notice=RESTART,
        source="reverse proxy guide",
    ),
    Mode(
        id="sessions-not-persistent",
        severity=RISK,
        title="sessions live in memory only",
        means="a restart logs everybody out",
        repair=f"{RELEASE}; in the checkout: {REBUILD}",
        untouched=SECRETS_AND_DATA,
        notice=RESTART,
        source="upgrading guide 26.0",
    ),
)

H2 = (
    Mode(
        id="h2-in-use",
        severity=DOWN,
        title="it uses the built-in database H2",
        means="db is not set to postgres: what it stores is in a file of its container, or in its memory",
        repair=COPY_H2,
        untouched="the H2 file itself: only a copy is opened",
        notice=RESTART,
        source="#15898 #13252",
        dump_first=True,
        explains=("h2-leftovers", "h2-locked", "h2-version", "database-unreachable", "migration-failed", *NOT_STARTED),
    ),
    Mode(
        id="h2-locked",
        severity=DOWN,
        title="another process has the H2 file open",
        means="two Keycloaks share one volume",
        repair=COPY_H2,
        untouched="the .mv.db file: it is never deleted",
        notice=RESTART,
        source="#33800",
        explains=("database-unreachable", *NOT_STARTED),
    ),
    Mode(
        id="h2-version",
        severity=DOWN,
        title="the H2 file is of another version, or damaged",
        means="H2 reads files of its own major version only",
        repair=COPY_H2,
        untouched="the file itself",
        notice=RESTART,
        source="#15712",
        explains=("database-unreachable", *NOT_STARTED),
    ),
    Mode(
        id="h2-leftovers",
        severity=RISK,
        title="there are H2 files beside PostgreSQL",
        means="from before the move to PostgreSQL: someone may miss the accounts in them",
        repair="copy the H2 files into the state folder, and make the container again without them",
        untouched=DATA,
        notice=RESTART,
        source="db guide",
    ),
)

MODES = (*IMAGE, *H2)
