"""Secrets of the state folder encrypted at rest: readable in memory only, on disk under a key of the host."""
