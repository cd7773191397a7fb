"""Certificates as clients see them, and their renewal when it is due. The health supervisor runs a copy of this package
(ops/supervisor.py): it imports the standard library, the supervisor's own package and what of `core` is copied with it."""
