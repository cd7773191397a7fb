"""The controls of the security audit, by their numbers."""

from collections.abc import Iterator, Mapping

from ops.policies import POLICIES, Policy
from ops.security_audit.controls import containers, host, http, network, realm
from ops.security_audit.controls.control import Control, Finding
from ops.security_audit.facts import Facts


def _declaration(policy: Policy) -> Control:
    """Section 1: what compose.yaml declares, whether or not it is deployed."""

    def find(facts: Facts) -> Iterator[Finding]:
        for one in policy(facts.compose):
            yield Finding(one.where, policy.name, f"{one.what}; {one.advice}")

    return Control(policy.number, policy.title, find, policy.why, "correct compose/compose.yaml as the finding says")


_ALL = (
    *map(_declaration, POLICIES.values()), *containers.CONTROLS, *network.CONTROLS, *http.CONTROLS, *realm.CONTROLS,
    *host.CONTROLS,
)  # fmt: skip
CONTROLS: Mapping[str, Control] = {control.number: control for control in _ALL}
if len(CONTROLS) < len(_ALL):
    raise ValueError("two controls have the same number")
