"""Reads of Keycloak and of what it depends on. Nothing here changes anything."""
