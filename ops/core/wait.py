"""Moved to process.py."""

from __future__ import annotations

from ops.core.process import until as until  # noqa: PLC0414
