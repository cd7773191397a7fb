"""Failures of what a realm uses: themes, directories, identity providers, mail, clocks."""

from __future__ import annotations

from ops.keycloak.failures.facts import Facts
from ops.keycloak.failures.failure import DEGRADED, RISK, Failure, Line
from ops.keycloak.failures.remedy import NOBODY, USERS, by_hand

SKEW_SECONDS = 5.0
"""Half of what Keycloak allows (10 s since 26.6): two clocks that are each within it may not be so together."""


def _clock(facts: Facts) -> str:
    clocks = (("Keycloak", facts.edge.clock_offset), ("PostgreSQL", facts.postgres.clock_offset))
    wrong = [(who, off) for who, off in clocks if off is not None and abs(off) > SKEW_SECONDS]
    return ", ".join(f"{who} is {off:+.0f} s off this host's" for who, off in wrong)


def _theme_found(facts: Facts) -> bool:
    """Whoever asks for the resources of a theme by any name makes Keycloak look for it: only the realm's own counts."""
    content = facts.postgres.content
    theme = content.login_theme if content else ""
    return content is not None and not (theme and any(f"LOGIN theme {theme}," in line.text for line in facts.log))


FAILURES = (
    Failure(
        "theme-missing", RISK, "the realm's login theme is missing",
        "it is not in the image, or has another name there: users see Keycloak's own login page, and can log in",
        source="DefaultThemeManager 26.7.3", denied=_theme_found,
        lines=(Line(r"Failed to find LOGIN theme", "DefaultThemeManager 26.7.3", serving=True, times=3),),
        remedy=by_hand(
            "inv logs keycloak --since 10m names the theme; inv keycloak.export shows loginTheme of the realm",
            "admin console, Realm settings, Themes: one that is in the list; or put the theme into the image, inv deploy",
            leaves=USERS, users=NOBODY,
        ),
    ),
    Failure(
        "theme-broken", DEGRADED, "a theme is broken",
        "a template or its parent theme fails: pages that it makes answer HTTP 500, the login page among them",
        source="DefaultThemeManager, FreeMarkerLoginFormsProvider 26.7.3",
        lines=(Line(
            r"Failed to (?:process template|create theme|load themes)|Not found (?:parent )?theme '"
            r"|Error executing FreeMarker template|FreeMarkerException|Template not found for name",
            "DefaultThemeManager, FreeMarkerLoginFormsProvider 26.7.3", serving=True,
        ),),
        remedy=by_hand(
            "inv logs keycloak --since 10m names theme, template and line",
            "admin console, Realm settings, Themes: keycloak.v2 lets users log in at once; then correct the theme, inv deploy",
            leaves=USERS, users=NOBODY,
        ),
        explains=("theme-missing", "edge-fails"),
    ),
    Failure(
        "ldap-fails", DEGRADED, "a directory (LDAP) fails",
        "users of that federation cannot log in; where it does not answer, each of their logins waits for it",
        source="LDAPOperationManager 26.7.3",
        lines=(Line(
            r"Error when (?:authenticating|connecting) to LDAP|LDAP: error code \d|(?:LDAP Query|Querying of LDAP) failed"
            r"|Could not (?:query|modify|remove|rename|unbind|update)[^\n]* DN \["
            r"|javax\.naming\.(?:Communication|ServiceUnavailable|Authentication)\w*Exception",
            "LDAPOperationManager, LDAPServerCapabilitiesManager 26.7.3", serving=True,
        ),),
        remedy=by_hand(
            "inv logs keycloak --since 10m names the server and LDAP's reason (error code 49: the bind password is wrong)",
            "admin console, User federation: Test connection, Test authentication; correct URL, bind DN or password there",
            "while the directory is away: switch the provider off there, so that other users need not wait for it",
            leaves=USERS, users=NOBODY,
        ),
    ),
    Failure(
        "identity-provider-fails", DEGRADED, "an identity provider fails",
        "logins that begin at Keycloak and go through it end with an error; logins by password go on",
        source="AbstractOAuth2IdentityProvider, SAMLEndpoint 26.7.3",
        lines=(Line(
            r"Failed to make identity provider oauth callback|IdentityBrokerException|identity_provider_login_failure"
            r"|failed to load openid connect metadata"
            r"|Could not process response from SAML identity provider",
            "AbstractOAuth2IdentityProvider, SAMLEndpoint 26.7.3", serving=True, times=3,
        ),),
        remedy=by_hand(
            "inv logs keycloak --since 10m names the provider's answer (invalid_client: its secret is another)",
            "admin console, Identity providers: correct client id, secret, URLs or keys; logins by password go on meanwhile",
            leaves=USERS, users=NOBODY,
        ),
    ),
    Failure(
        "mail-fails", DEGRADED, "Keycloak cannot send mail", "nobody can reset a forgotten password or verify an address",
        source="DefaultEmailSenderProvider 26.7.3",
        lines=(
            Line(
                r"(?:Failed to send (?:\w+ )*e?mail|EmailException)[^\n]*"
                r"(?:AuthenticationFailed|connect|SMTP|TLS|SSL|UnknownHost)|MailConnectException",
                "DefaultEmailSenderProvider 26.7.3; #42973", serving=True,
            ),
            Line(
                r"Failed to send (?:\w+ )*e?mail|EmailException|SMTPSend\w*Exception",
                "ServicesLogger 26.7.3", serving=True, times=3,
            ),
        ),
        remedy=by_hand(
            "inv logs keycloak --since 10m names host, port and the mail server's answer (535: user or password is wrong)",
            "admin console, Realm settings, Email: correct it, Test connection", leaves=USERS, users=NOBODY,
        ),
    ),
    Failure(
        "clock-skew", DEGRADED, "clocks differ", "tokens are not yet valid or have expired: 10 s are allowed since 26.6",
        source="upgrading guide 26.6", shown=_clock,
        remedy=by_hand(
            "timedatectl (or date -u beside another host) shows which clock is wrong",
            "apt-get install chrony; chronyc makestep; then inv keycloak", users=NOBODY,
        ),
    ),
)  # fmt: skip
