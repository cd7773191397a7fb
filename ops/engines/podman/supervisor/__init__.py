"""The health supervisor: one process per project that watches its containers and repairs what Podman's restart policy does not.

It runs on the system's Python from a copy in the state folder (ops/supervisor.py): this package imports the standard library
and what of `core` is copied with it.
"""
