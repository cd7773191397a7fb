"""Failure modes of Keycloak: facts and log lines in, ranked causes out. Pure."""
