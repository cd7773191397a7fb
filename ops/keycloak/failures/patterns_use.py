"""Lines of a Keycloak that runs: its realm, its proxy, and the servers that it asks.

Each with its source: a guide, an issue (#n) of Keycloak, or the text of a program.
"""

from __future__ import annotations

from ops.keycloak.failures.pattern import SERVING, Pattern

PATTERNS = (
    Pattern(
        "proxy-headers",
        r"Likely misconfiguration .*proxy-headers|Non-secure context detected",
        SERVING,
        "reverse proxy guide; #41896",
    ),
    Pattern(
        "realm-keys",
        r"Failed to (?:find|create fallback) key(?: for realm)?: realm=\S+ algorithm=\S+ use=SIG"
        r"|Active key for realm .* not found",
        SERVING,
        "DefaultKeyManager",
    ),
    Pattern(
        "peer-untrusted",
        r"PKIX path (?:building|validation) failed|unable to find valid certification path",
        SERVING,
        "trust store guide; #24973 #36286",
    ),
    Pattern(
        "provider-incompatible",
        r"java\.lang\.(?:NoSuchMethodError|NoSuchFieldError|AbstractMethodError|IncompatibleClassChangeError|IllegalAccessError"
        r"|UnsupportedClassVersionError|VerifyError|NoClassDefFoundError(?!: Could not initialize))"
        r"|ServiceConfigurationError|compiled by a more recent version of the Java Runtime",
        SERVING,
        "OpenJDK; #33679",
    ),
    Pattern(
        "theme-broken",
        r"Failed to (?:process template|create theme|load themes)|Not found (?:parent )?theme '"
        r"|Error executing FreeMarker template|FreeMarkerException|Template not found for name",
        SERVING,
        "DefaultThemeManager, FreeMarkerLoginFormsProvider 26.7.3",
    ),
    Pattern("theme-missing", r"Failed to find LOGIN theme", SERVING, "DefaultThemeManager 26.7.3", times=3),
    Pattern(
        "ldap-fails",
        r"Error when (?:authenticating|connecting) to LDAP|LDAP: error code \d|(?:LDAP Query|Querying of LDAP) failed"
        r"|Could not (?:query|modify|remove|rename|unbind|update)[^\n]* DN \["
        r"|javax\.naming\.(?:Communication|ServiceUnavailable|Authentication)\w*Exception",
        SERVING,
        "LDAPOperationManager, LDAPServerCapabilitiesManager 26.7.3",
    ),
    Pattern(
        "identity-provider-fails",
        r"Failed to make identity provider oauth callback|IdentityBrokerException|identity_provider_login_failure"
        r"|failed to load openid connect metadata"
        r"|Could not process response from SAML identity provider",
        SERVING,
        "AbstractOAuth2IdentityProvider, SAMLEndpoint 26.7.3",
        times=3,
    ),
    Pattern(
        "mail-fails",
        r"(?:Failed to send (?:\w+ )*e?mail|EmailException)[^\n]*(?:AuthenticationFailed|connect|SMTP|TLS|SSL|UnknownHost)"
        r"|MailConnectException",
        SERVING,
        "DefaultEmailSenderProvider 26.7.3; #42973",
    ),
    Pattern(
        "mail-fails",
        r"Failed to send (?:\w+ )*e?mail|EmailException|SMTPSend\w*Exception",
        SERVING,
        "ServicesLogger 26.7.3",
        times=3,
    ),
    Pattern(
        "event-loop-blocked", r"has been blocked for \d+ ms, time limit is", SERVING, "BlockedThreadChecker; #39830", times=3
    ),
)
