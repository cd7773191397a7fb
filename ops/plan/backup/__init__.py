"""Decisions about backups: what the container is told, what is chosen, what is shown. Pure."""
