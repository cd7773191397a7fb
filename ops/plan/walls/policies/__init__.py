"""Our own rules for compose/compose.yaml, beyond what the specification's schema says."""

from ops.plan.walls.policies import contents, isolation, running
from ops.plan.walls.policies.core import POLICIES, Compose, Problem, problems

__all__ = ["POLICIES", "Compose", "Problem", "contents", "isolation", "problems", "running"]
