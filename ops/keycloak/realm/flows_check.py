"""What may not be declared of authentication flows, because Keycloak would refuse it half way, or ignore it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ops.core.errors import did_you_mean
from ops.keycloak.realm.defaults import OWN_CONFIGS, OWN_FLOWS
from ops.keycloak.realm.flows import FORMER, Flows, own_flow

REQUIREMENTS = ("REQUIRED", "ALTERNATIVE", "CONDITIONAL", "DISABLED")
OF_FLOWS = ("alias", "authenticationExecutions", "builtIn", "description", "providerId", "topLevel")
OF_EXECUTIONS = (
    "authenticator", "authenticatorConfig", "authenticatorFlow", "autheticatorFlow", "flowAlias", "priority", "requirement",
    "userSetupAllowed",
)  # fmt: skip
"""With Keycloak's own misspelling, which its export has."""
OF_CONFIGS = ("alias", "config")
RESERVED = set(":/?#@!$&()*+,;=[]\\")
"""What Keycloak takes in no alias."""

Problem = tuple[str, str]
"""What, and why."""


def flow_problems(realm: Mapping[str, Any]) -> Iterator[Problem]:
    """The first of them is what the operator is told."""
    for kind, known in (("authenticationFlows", OF_FLOWS), ("authenticatorConfig", OF_CONFIGS)):
        aliases = [str(one.get("alias") or "") for one in realm.get(kind) or []]
        for alias, number in Counter(aliases).items():
            if not alias or number > 1:
                yield f'{kind}: "{alias}" stands there {number} times', "each has an alias of its own"
            if RESERVED & set(alias):
                yield f'{kind}: "{alias}"', f"Keycloak takes none of {' '.join(sorted(RESERVED))} in an alias"
        for one in realm.get(kind) or []:
            yield from _unknown(f"{kind}: {one.get('alias')}", one, known)
    for flow in realm.get("authenticationFlows") or []:
        yield from _flow(flow)
    yield from _structure(Flows.of(realm))


def _unknown(where: str, value: Mapping[str, Any], known: tuple[str, ...]) -> Iterator[Problem]:
    for key in value:
        if key not in known:
            yield f'{where} has no "{key}"', did_you_mean(key, known)


def _flow(flow: Mapping[str, Any]) -> Iterator[Problem]:
    alias = flow.get("alias")
    if alias in OWN_FLOWS or flow.get("builtIn"):
        yield own_flow(str(alias))
    if FORMER.search(str(alias)):
        yield f'authenticationFlows: "{alias}"', "such an alias is what a flow is set aside under while it is changed"
    executions = flow.get("authenticationExecutions") or []
    for one in executions:
        where = f"authentication flow {alias}: {one.get('flowAlias') or one.get('authenticator') or 'an execution'}"
        yield from _unknown(where, one, OF_EXECUTIONS)
        if one.get("requirement") not in REQUIREMENTS:
            yield f"{where}: requirement", f"it is one of {', '.join(REQUIREMENTS)}"
        if not one.get("authenticator") and not one.get("flowAlias"):
            yield where, "it names neither an authenticator nor, as flowAlias, a sub-flow"
        if one.get("authenticatorFlow", bool(one.get("flowAlias"))) != bool(one.get("flowAlias")):
            yield f"{where}: authenticatorFlow", "it is true where there is a flowAlias, and only there"
    priorities = [one["priority"] for one in executions if "priority" in one]
    if len(set(priorities)) != len(priorities) or len(priorities) not in (0, len(executions)):
        yield (
            f"authentication flow {alias}: priority",
            "all its executions have one, each another, or none has and they run in order",
        )


def _structure(flows: Flows) -> Iterator[Problem]:
    everything = [one for alias in flows.flows for one in flows.executions(alias)]
    used = Counter(one["flowAlias"] for one in everything if one.get("flowAlias"))
    for alias, number in used.items():
        if alias not in flows.flows:
            yield (
                f'there is no authentication flow "{alias}"',
                f"a sub-flow is declared as well; {did_you_mean(alias, flows.flows)}",
            )
        elif number > 1 or flows.flows[alias].get("topLevel"):
            yield f'the sub-flow "{alias}" stands in more than one place', "a sub-flow belongs to one execution"
    reached = {name for alias in flows.tops for name in flows.reach(alias)}
    for alias in flows.flows:
        if alias not in reached:
            yield (
                f'the sub-flow "{alias}" is part of no flow',
                "no execution names it as its flowAlias (or topLevel is false by mistake)",
            )
    configured = Counter(one["authenticatorConfig"] for one in everything if one.get("authenticatorConfig"))
    for alias in {**flows.configs, **configured}:
        if alias not in flows.configs:
            yield f'there is no authenticatorConfig "{alias}"', "an execution names it"
        elif configured[alias] != 1:
            yield f'authenticatorConfig "{alias}" is of {configured[alias]} executions', "each is of one"
        elif alias in OWN_CONFIGS:
            yield f'authenticatorConfig "{alias}" is one of Keycloak\'s own', "give it another alias"
