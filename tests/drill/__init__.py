"""Breaks a stack of its own on purpose, and proves that it mends itself."""
