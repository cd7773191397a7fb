"""The policies for compose/compose.yaml, beyond what the specification's schema requires."""

from ops.policies import isolation, services
from ops.policies.policy import POLICIES, Compose, Policy, Problem, problems

__all__ = ["POLICIES", "Compose", "Policy", "Problem", "isolation", "problems", "services"]
