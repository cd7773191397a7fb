"""Restore: back to a set or to a moment, or the whole stack on an empty host."""
