"""An H2 database of Keycloak moved into PostgreSQL."""
