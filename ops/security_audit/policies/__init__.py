"""Our own rules for compose/compose.yaml, beyond what the specification's schema says."""

from ops.security_audit.policies import contents, isolation, running
from ops.security_audit.policies.core import POLICIES, Compose, Problem, problems

__all__ = ["POLICIES", "Compose", "Problem", "contents", "isolation", "problems", "running"]
