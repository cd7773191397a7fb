"""Sealed releases: kept, listed, compared, rolled back to, removed."""
