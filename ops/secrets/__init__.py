"""Secrets: their rotation on servers and in containers, their encryption at rest, and where none may be stored."""
