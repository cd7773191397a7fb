"""Keycloak broken, mended, rotated, upgraded and restarted for real: nox -s drill -- keycloak."""
