"""Looks at Keycloak and at what it depends on. Nothing here changes anything."""
