"""Failure modes of the realm, its clients and accounts: people reach Keycloak, and cannot log in."""

from __future__ import annotations

from ops.keycloak.failures.failure import DATA, DEGRADED, DOWN, NOBODY, RESTART, RISK, Mode
from ops.keycloak.failures.start import LOOP, NOT_STARTED, RELEASE

USERS = "users, their passwords and sessions"
NO_WILDCARD = "every other client; no wildcard is ever set"

MODES = (
    Mode(
        id="realm-missing",
        severity=DOWN,
        title="the realm cc03 is missing",
        means="it was deleted, or the first deploy was broken off before it made it",
        repair="restore the database from the backup; only where no user was ever made, inv deploy makes the realm as declared",
        untouched="realms that there are: nothing is imported over them",
        notice="logins stop until it is back",
        source="import guide",
        dump_first=True,
        repairable=False,
        explains=("realm-keys", "client-missing", "redirect-uri", "web-origin", "edge-fails"),
    ),
    Mode(
        id="realm-disabled",
        severity=DOWN,
        title="the realm cc03 is disabled",
        means="somebody switched it off: every login is refused",
        repair="switch it on through the admin API",
        untouched=USERS,
        notice=NOBODY,
        source="server administration guide",
        explains=("realm-keys", "edge-fails"),
    ),
    Mode(
        id="realm-file-name",
        severity=RISK,
        title="an import file is not named after its realm",
        means="the import of a first start refuses it",
        repair="drop --import-realm and the file: inv deploy makes the realm as config/keycloak/realm.yaml declares it",
        untouched=DATA,
        notice=NOBODY,
        source="import guide",
        explains=("realm-missing", "realm-import-failed", *NOT_STARTED),
    ),
    Mode(
        id="realm-import-failed",
        severity=DOWN,
        title="the import of a realm file failed",
        means="the file is of another version of Keycloak, or damaged; --import-realm ends the start with it",
        repair=f"{LOOP}; {RELEASE} (no --import-realm: inv deploy makes the realm as config/keycloak/realm.yaml declares it)",
        untouched="realms that there are: nothing is imported over them",
        notice=RESTART,
        source="import guide; #36284 #49152",
        explains=("realm-missing", *NOT_STARTED),
    ),
    Mode(
        id="realm-keys",
        severity=DOWN,
        title="the realm has no active signing key",
        means="no token can be made, and the API refuses those that there are",
        repair="switch the key providers on again; a new key only where the realm has none that signs",
        untouched="old keys: tokens signed with them stay valid",
        notice=NOBODY,
        source="DefaultKeyManager",
        explains=("admin-refused", "healthcheck-wrong"),
    ),
    Mode(
        id="client-missing",
        severity=DOWN,
        title="a client of this product is missing or disabled",
        means="logins that name it are refused",
        repair="make it as it is declared: inv keycloak.apply",
        untouched=NO_WILDCARD,
        notice=NOBODY,
        source="config/keycloak/realm.yaml",
        dump_first=True,
        explains=("redirect-uri", "web-origin"),
    ),
    Mode(
        id="redirect-uri",
        severity=DOWN,
        title="a client does not accept the public URL as its redirect",
        means="the realm is that of another address: logins end with invalid_redirect_uri",
        repair="add the exact URL to the client",
        untouched=NO_WILDCARD,
        notice=NOBODY,
        source="securing applications guide",
        explains=("web-origin",),
    ),
    Mode(
        id="web-origin",
        severity=DEGRADED,
        title="a client does not accept the public URL as an origin",
        means="browsers refuse the answers of the token endpoint (CORS)",
        repair="add the exact origin to the client",
        untouched=NO_WILDCARD,
        notice=NOBODY,
        source="securing applications guide",
    ),
    Mode(
        id="security-loosened",
        severity=RISK,
        title="the realm is more open than it should be",
        means="a wildcard redirect hands codes to strangers; sslRequired=none lets passwords travel in the clear",
        repair="put the exact URL, and sslRequired=external, back",
        untouched=USERS,
        notice=NOBODY,
        source="server administration guide",
    ),
    Mode(
        id="admin-lost",
        severity=RISK,
        title="nobody can administer Keycloak",
        means="no enabled user of the realm master is admin, and the operations client is gone or disabled",
        repair="with Keycloak stopped: bootstrap-admin service; make the operations client good; remove the temporary account",
        untouched=USERS,
        notice="logins pause for about a minute",
        source="bootstrap-admin guide",
        dump_first=True,
        explains=("admin-refused",),
    ),
    Mode(
        id="admin-refused",
        severity=RISK,
        title="the operations client is refused",
        means="its secret in Keycloak and the one of the state folder differ, or it is disabled",
        repair=(
            "give the client cc03-ops the secret of the state folder, in the name of the first administrator, else by "
            "bootstrap-admin"
        ),
        untouched=USERS,
        notice=NOBODY,
        source="bootstrap-admin guide",
    ),
    Mode(
        id="users-locked",
        severity=DEGRADED,
        title="users are locked by brute-force protection",
        means="their logins failed five times in a row; it ends by itself within 15 minutes",
        repair="clear the lock of each of these users only; after asking where so many fail that somebody may be guessing",
        untouched="the protection itself; every other user",
        notice=NOBODY,
        source="#13782",
    ),
    Mode(
        id="theme-missing",
        severity=RISK,
        title="the realm's login theme is missing",
        means="it is not in the image, or has another name there: users see Keycloak's own login page, and can log in",
        repair="put the theme into compose/keycloak, or name one that is there (Realm settings, Themes); then inv deploy",
        untouched=USERS,
        notice=NOBODY,
        source="DefaultThemeManager 26.7.3",
        repairable=False,
    ),
    Mode(
        id="theme-broken",
        severity=DEGRADED,
        title="a theme is broken",
        means="a template or its parent theme fails: pages that it makes answer HTTP 500, the login page among them",
        repair=(
            "in the admin console: Realm settings, Themes, keycloak.v2, which lets users log in at once; then correct the "
            "theme in the image, by the template and line that the log names"
        ),
        untouched=USERS,
        notice=NOBODY,
        source="DefaultThemeManager, FreeMarkerLoginFormsProvider 26.7.3",
        repairable=False,
        explains=("theme-missing", "edge-fails"),
    ),
    Mode(
        id="ldap-fails",
        severity=DEGRADED,
        title="a directory (LDAP) fails",
        means="users of that federation cannot log in; where it does not answer, each of their logins waits for it",
        repair=(
            "inv logs keycloak names server and reason: name, port, bind password or certificate, in the admin console under "
            "User federation; switch the provider off there while the directory is away"
        ),
        untouched=USERS,
        notice=NOBODY,
        source="LDAPOperationManager 26.7.3",
        repairable=False,
    ),
    Mode(
        id="identity-provider-fails",
        severity=DEGRADED,
        title="an identity provider fails",
        means="logins that begin at Keycloak and go through it end with an error; logins by password go on",
        repair=(
            "inv logs keycloak names the reason: its address, the client's secret there, its keys or its certificate, in the "
            "admin console under Identity providers"
        ),
        untouched=USERS,
        notice=NOBODY,
        source="AbstractOAuth2IdentityProvider, SAMLEndpoint 26.7.3",
        repairable=False,
    ),
    Mode(
        id="mail-fails",
        severity=DEGRADED,
        title="Keycloak cannot send mail",
        means="nobody can reset a forgotten password or verify an address",
        repair=(
            "inv logs keycloak names the reason: host, port, TLS, user or password of the mail server, in the admin console "
            "under Realm settings, Email, which has a test button"
        ),
        untouched=USERS,
        notice=NOBODY,
        source="DefaultEmailSenderProvider 26.7.3",
        repairable=False,
    ),
    Mode(
        id="clock-skew",
        severity=DEGRADED,
        title="clocks differ",
        means="tokens are not yet valid or have expired: 10 s are allowed since 26.6",
        repair="mend the clock of the host: apt-get install chrony",
        untouched=DATA,
        notice=NOBODY,
        source="upgrading guide 26.6",
        repairable=False,
    ),
)
