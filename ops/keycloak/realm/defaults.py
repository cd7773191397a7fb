"""What Keycloak 26.7 gives a realm and its parts where nothing is said: which keys there are, and what nobody has changed.

Read from a fresh realm (partial export). Another version may have other defaults: an export then shows a few keys more or
fewer. Nothing else depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REALM: Mapping[str, Any] = {
    "accessCodeLifespan": 60, "accessCodeLifespanLogin": 1800, "accessCodeLifespanUserAction": 300,
    "accessTokenLifespan": 300, "accessTokenLifespanForImplicitFlow": 900, "accountTheme": None,
    "actionTokenGeneratedByAdminLifespan": 43200, "actionTokenGeneratedByUserLifespan": 300,
    "adminEventsDetailsEnabled": False, "adminEventsEnabled": False, "adminPermissionsEnabled": False, "adminTheme": None,
    "attributes": {
        "cibaBackchannelTokenDeliveryMode": "poll", "cibaExpiresIn": "120", "cibaAuthRequestedUserHint": "login_hint",
        "oauth2DeviceCodeLifespan": "600", "oauth2DevicePollingInterval": "5", "parRequestUriLifespan": "60",
        "cibaInterval": "5", "realmReusableOtpCode": "false",
    },
    "browserFlow": "browser", "bruteForceProtected": False, "bruteForceStrategy": "MULTIPLE",
    "clientAuthenticationFlow": "clients", "clientOfflineSessionIdleTimeout": 0, "clientOfflineSessionMaxLifespan": 0,
    "clientSessionIdleTimeout": 0, "clientSessionMaxLifespan": 0, "defaultLocale": None, "defaultSignatureAlgorithm": "RS256",
    "directGrantFlow": "direct grant", "displayName": None, "displayNameHtml": None,
    "dockerAuthenticationFlow": "docker auth", "duplicateEmailsAllowed": False, "editUsernameAllowed": False,
    "emailTheme": None, "enabled": True, "enabledEventTypes": [], "eventsEnabled": False, "eventsExpiration": None,
    "eventsListeners": ["jboss-logging"], "failureFactor": 30, "firstBrokerLoginFlow": "first broker login",
    "internationalizationEnabled": False, "localizationTexts": {}, "loginTheme": None, "loginWithEmailAllowed": True,
    "maxDeltaTimeSeconds": 43200, "maxFailureWaitSeconds": 900, "maxSecondaryAuthFailures": 0, "maxTemporaryLockouts": 0,
    "minimumQuickLoginWaitSeconds": 60, "oauth2DeviceCodeLifespan": 600, "oauth2DevicePollingInterval": 5,
    "offlineSessionIdleTimeout": 2592000, "offlineSessionMaxLifespan": 5184000, "offlineSessionMaxLifespanEnabled": False,
    "organizationsEnabled": False, "otpPolicyAlgorithm": "HmacSHA1", "otpPolicyCodeReusable": False, "otpPolicyDigits": 6,
    "otpPolicyInitialCounter": 0, "otpPolicyLookAheadWindow": 1, "otpPolicyPeriod": 30, "otpPolicyType": "totp",
    "passwordPolicy": None, "permanentLockout": False, "quickLoginCheckMilliSeconds": 1000, "refreshTokenMaxReuse": 0,
    "registrationAllowed": False, "registrationEmailAsUsername": False, "registrationFlow": "registration",
    "rememberMe": False, "resetCredentialsFlow": "reset credentials", "resetPasswordAllowed": False,
    "revokeRefreshToken": False, "scimApiEnabled": False, "smtpServer": {}, "sslRequired": "external",
    "ssoSessionIdleTimeout": 1800, "ssoSessionIdleTimeoutRememberMe": 0, "ssoSessionMaxLifespan": 36000,
    "ssoSessionMaxLifespanRememberMe": 0, "supportedLocales": [], "userManagedAccessAllowed": False,
    "verifiableCredentialsEnabled": False, "verifyEmail": False, "waitIncrementSeconds": 60,
    "webAuthnPolicyAcceptableAaguids": [], "webAuthnPolicyAttestationConveyancePreference": "not specified",
    "webAuthnPolicyAuthenticatorAttachment": "not specified", "webAuthnPolicyAvoidSameAuthenticatorRegister": False,
    "webAuthnPolicyCreateTimeout": 0, "webAuthnPolicyExtraOrigins": [], "webAuthnPolicyPasswordlessAcceptableAaguids": [],
    "webAuthnPolicyPasswordlessAttestationConveyancePreference": "not specified",
    "webAuthnPolicyPasswordlessAuthenticatorAttachment": "not specified",
    "webAuthnPolicyPasswordlessAvoidSameAuthenticatorRegister": False, "webAuthnPolicyPasswordlessCreateTimeout": 0,
    "webAuthnPolicyPasswordlessExtraOrigins": [], "webAuthnPolicyPasswordlessRequireResidentKey": "not specified",
    "webAuthnPolicyPasswordlessResidentKey": "required", "webAuthnPolicyPasswordlessRpEntityName": "keycloak",
    "webAuthnPolicyPasswordlessRpId": "", "webAuthnPolicyPasswordlessSignatureAlgorithms": ["ES256", "RS256"],
    "webAuthnPolicyPasswordlessUserVerificationRequirement": "required", "webAuthnPolicyRequireResidentKey": "not specified",
    "webAuthnPolicyResidentKey": "not specified", "webAuthnPolicyRpEntityName": "keycloak", "webAuthnPolicyRpId": "",
    "webAuthnPolicySignatureAlgorithms": ["ES256", "RS256"], "webAuthnPolicyUserVerificationRequirement": "not specified",
    "browserSecurityHeaders": {
        "contentSecurityPolicy": "frame-src 'self'; frame-ancestors 'self'; object-src 'none';",
        "contentSecurityPolicyReportOnly": "", "referrerPolicy": "no-referrer",
        "strictTransportSecurity": "max-age=31536000; includeSubDomains", "xContentTypeOptions": "nosniff",
        "xFrameOptions": "SAMEORIGIN", "xRobotsTag": "none",
    },
}  # fmt: skip
"""Settings of the realm itself -> default. None: there is no such setting unless somebody makes it."""

CLIENT: Mapping[str, Any] = {
    "adminUrl": None, "alwaysDisplayInConsole": False,
    "attributes": {"realm_client": "false", "post.logout.redirect.uris": "+"},
    "authenticationFlowBindingOverrides": {}, "baseUrl": None, "bearerOnly": False,
    "clientAuthenticatorType": "client-secret", "consentRequired": False,
    "defaultClientScopes": ["web-origins", "acr", "roles", "profile", "basic", "email"], "description": None,
    "directAccessGrantsEnabled": False, "enabled": True, "frontchannelLogout": False, "fullScopeAllowed": True,
    "implicitFlowEnabled": False, "name": None, "nodeReRegistrationTimeout": -1,
    "optionalClientScopes": ["address", "phone", "offline_access", "organization", "microprofile-jwt"],
    "protocol": "openid-connect", "protocolMappers": [], "publicClient": False, "redirectUris": [], "rootUrl": None,
    "serviceAccountsEnabled": False, "standardFlowEnabled": True, "surrogateAuthRequired": False, "webOrigins": [],
}  # fmt: skip

OWN_CLIENTS = ("account", "account-console", "admin-cli", "broker", "realm-management", "security-admin-console")
OWN_ROLES = ("offline_access", "uma_authorization")
OWN_SCOPES = (
    "acr", "address", "basic", "email", "microprofile-jwt", "offline_access", "organization", "phone", "profile", "role_list",
    "roles", "saml_organization", "service_account", "web-origins",
)  # fmt: skip
OWN_COMPONENTS = ("ClientRegistrationPolicy/", "KeyProvider/")
"""Beginnings of the paths of components that Keycloak makes in every realm."""
OWN_MAPPERS = (
    "Kerberos principal attribute mapper", "MSAD account controls", "MSAD LDS account controls", "creation date", "email",
    "first name", "full name", "last name", "modify date", "username",
)  # fmt: skip
"""Mappers that Keycloak makes with a directory."""
DEFAULT_SCOPES: Mapping[str, tuple[str, ...]] = {
    "defaultDefaultClientScopes": ("role_list", "saml_organization", *CLIENT["defaultClientScopes"]),
    "defaultOptionalClientScopes": tuple(CLIENT["optionalClientScopes"]),
}
"""Client scopes that a new client gets."""
OWN_FLOWS = (
    "Account verification options", "Browser - Conditional 2FA", "Direct Grant - Conditional OTP",
    "First broker login - Conditional 2FA", "Handle Existing Account", "Reset - Conditional OTP", "User creation or linking",
    "Verify Existing Account by Re-authentication", "browser", "clients", "direct grant", "docker auth", "first broker login",
    "forms", "registration", "registration form", "reset credentials", "saml ecp",
)  # fmt: skip
OWN_CONFIGS = (
    "browser-conditional-credential", "create unique user config", "first-broker-login-conditional-credential",
    "review profile config",
)  # fmt: skip
"""Keycloak's own: they are never pruned, and no export names them."""

REQUIRED_ACTIONS: Mapping[str, tuple[bool, bool]] = {
    "TERMS_AND_CONDITIONS": (False, False),
    "UPDATE_PROFILE": (True, False),
    "VERIFY_EMAIL": (True, False),
    "CONFIGURE_TOTP": (True, False),
    "UPDATE_PASSWORD": (True, False),
    "delete_account": (False, False),
    "UPDATE_EMAIL": (False, False),
    "webauthn-register": (True, False),
    "webauthn-register-passwordless": (True, False),
    "VERIFY_PROFILE": (True, False),
    "delete_credential": (True, False),
    "idp_link": (True, False),
    "CONFIGURE_RECOVERY_AUTHN_CODES": (True, False),
    "update_user_locale": (True, False),
}
"""Alias -> enabled, asked of every new user."""
