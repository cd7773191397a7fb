"""When a certificate is to be renewed. Pure."""

from __future__ import annotations

SHARE = 2 / 3
"""Of its life: what Let's Encrypt recommends to its clients."""
JITTER = 0.05
"""Share of its life by which a certificate may be renewed earlier, so that not all of them are at once: a day and a half of
thirty."""


def renew_at(begins: float, expires: float, serial: int) -> float:
    """Seconds of the epoch, as are `begins` and `expires`. The serial number, which is random, says how much earlier."""
    return begins + (expires - begins) * (SHARE - JITTER * (serial % 1000) / 1000)


FIRST_PAUSE, LONGEST_PAUSE = 600.0, 6 * 3600.0
"""Seconds between two attempts that failed: doubled each time. Three within the first hour are fewer failed validations than
any issuer allows; ten days or more are left when the first one is made."""


def pause_after(failures: int) -> float:
    """Seconds until the next attempt, after that many failures in a row."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (failures - 1)) if failures else 0.0
