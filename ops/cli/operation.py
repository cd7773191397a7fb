"""Moved to execute.py."""

from __future__ import annotations

from ops.cli.execute import DONE, FAILED, REVERTED, Decision, Observer, Operation, Revert, UnderWay, note, planned

__all__ = ["DONE", "FAILED", "REVERTED", "Decision", "Observer", "Operation", "Revert", "UnderWay", "note", "planned"]
