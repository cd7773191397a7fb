"""The policies for compose/compose.yaml, beyond what the specification's schema requires."""

from ops.security_audit.policies import isolation, services
from ops.security_audit.policies.policy import POLICIES, Compose, Policy, Problem, problems

__all__ = ["POLICIES", "Compose", "Policy", "Problem", "isolation", "problems", "services"]
