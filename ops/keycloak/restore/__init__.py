"""Keycloak after a restore of its database."""
