"""A finding of every search for secrets: that of inv secrets.check and that of the security audit. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Leak:
    """The value of a secret at a place where it does not belong."""

    secret: str
    where: str
