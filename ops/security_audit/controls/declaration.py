"""Section 1: what compose.yaml declares, by every policy of this repository, whether or not it is deployed."""

from __future__ import annotations

from collections.abc import Iterator

from ops.security_audit.controls.control import Found, control
from ops.security_audit.facts import Facts
from ops.security_audit.policies import POLICIES

NUMBERED = (
    "networks", "published_ports", "read_only_root", "capabilities", "privilege_escalation", "user", "host_namespaces",
    "host_paths", "exemptions", "pinned_images", "configuration_mounts", "declared_volumes", "declared_secrets", "no_env_file",
    "no_literal_secret", "healthcheck", "resource_limits", "restart", "stop_grace", "sized_tmpfs", "no_depends_on", "needs",
    "deployer_keys", "own_volumes", "processes", "tmpfs_options", "speaks_tls",
)  # fmt: skip
"""The policies in the order of their numbers: a new one is put at the end."""


def _register(number: str, name: str) -> None:
    check = POLICIES[name]

    @control(number, f"Policy {name.replace('_', ' ')}", why=check.why, cure="what is said of it ends with the cure")
    def ask(facts: Facts) -> Iterator[Found]:
        for problem in check(facts.compose):
            yield Found(problem.where, name, f"{problem.what}; {problem.cure}")


for _index, _name in enumerate(NUMBERED, 1):
    _register(f"1.{_index}", _name)
