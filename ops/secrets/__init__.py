"""Secrets: versions, their rotation on the server and on the client, where they must not lie."""
