"""Repairs of Keycloak: each verified by real logins, and undone where it does not hold."""
