"""The schema of Keycloak's database: what an image would migrate, dumps, and the way back."""
