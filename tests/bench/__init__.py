"""Measures what the documentation promises, on a stack of its own."""
