"""When a certificate is to be renewed. Pure, and standard library only: the health ticker runs a copy of this file."""

from __future__ import annotations

SHARE = 2 / 3
"""Of its life: what Let's Encrypt recommends to its clients."""
JITTER = 0.05
"""Share of its life by which a certificate may be renewed earlier, so that not all of them are at once: a day and a half of
thirty."""


def renew_at(begins: float, expires: float, serial: int) -> float:
    """Seconds of the epoch, as are `begins` and `expires`. The serial number, which is random, says how much earlier."""
    return begins + (expires - begins) * (SHARE - JITTER * (serial % 1000) / 1000)
