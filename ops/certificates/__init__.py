"""Certificates: the internal authority, rotation, import, what is served on the wire."""
