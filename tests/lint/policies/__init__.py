"""Our own rules for compose/compose.yaml, beyond what the specification's schema says."""

from . import contents, isolation, running
from .core import POLICIES, Compose, Problem, problems

__all__ = ["POLICIES", "Compose", "Problem", "contents", "isolation", "problems", "running"]
