"""Facts in, steps out. Nothing here can reach a host (conftest.py sees to it)."""
