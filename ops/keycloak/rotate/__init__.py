"""Rotation of client secrets and of the realm's keys."""
