"""What is wrong with Keycloak, by cause: facts in, ranked findings out."""
