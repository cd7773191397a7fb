"""Keycloak: diagnosis, repair, realm, users, schema, rotation."""
