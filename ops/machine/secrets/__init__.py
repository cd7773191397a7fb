"""Secrets on this host: their versions, and those who check them."""
