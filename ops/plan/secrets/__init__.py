"""Secrets: whose they are, how each is replaced, and where it must not lie."""
