"""What config/keycloak/realm.yaml says, and what it may not say: Keycloak would refuse it half way, or ignore it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from yaml import YAMLError

from ops.core.errors import UsageProblem, did_you_mean
from ops.keycloak.realm.change import REFERENCE
from ops.keycloak.realm.components import KEYS
from ops.keycloak.realm.defaults import CLIENT, OWN, OWN_FLOWS, REALM
from ops.keycloak.realm.flows import FORMER, Flows, own_flow
from ops.stack.yaml_model import load_yaml

PARTS = (
    "authenticationFlows", "authenticatorConfig", "clientPolicies", "clientProfiles", "clientScopeMappings", "clientScopes",
    "clients", "components", "defaultDefaultClientScopes", "defaultGroups", "defaultOptionalClientScopes", "groups",
    "identityProviderMappers", "identityProviders",
    "requiredActions", "roles", "scopeMappings", "users",
)  # fmt: skip
"""Keys of the declaration that hold objects of their own."""
PRUNABLE = (
    "authenticationFlows", "clientPolicies", "clientProfiles", "clientScopes", "clients", "components", "groups",
    "identityProviders", "protocolMappers", "roles",
)  # fmt: skip
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


@dataclass(frozen=True)
class Declaration:
    """What realm.yaml says."""

    realm: Mapping[str, Any]
    prune: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.realm["realm"])

    @property
    def secrets(self) -> frozenset[str]:
        """Names of the secrets that it refers to."""
        return frozenset(_references(self.realm))


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from REFERENCE.findall(value)
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _references(item)


def read_realm(text: str) -> Declaration:
    """A declaration that was found good when its release was sealed: by a version that may have known other keys."""
    found = dict(load_yaml(text))
    prune = found.pop("prune", None) or {}
    realm = {key: [] if value is None and key in PARTS else value for key, value in found.items()}
    return Declaration(realm, {kind: tuple(names or ()) for kind, names in prune.items() if kind in PRUNABLE})


def parse_realm(text: str, where: str) -> Declaration:
    """Read a declaration whose placeholders have been filled.

    Raises UsageProblem where it is no YAML, or says something that would be ignored.
    """
    try:
        found = load_yaml(text)
    except YAMLError as problem:
        raise UsageProblem(f"{where} is not valid YAML", " ".join(str(problem).split()), f"correct {where}") from problem
    if not isinstance(found, dict) or not isinstance(found.get("realm"), str):
        raise UsageProblem(f"{where} names no realm", "its first key is `realm: NAME`", f"correct {where}")
    known = {*REALM, *PARTS, "realm", "prune"}
    for key in found:
        if key not in known:
            raise UsageProblem(f'{where}: "{key}" cannot be declared', did_you_mean(key, known), f"correct {where}")
    for client in found.get("clients") or []:
        for key in client:
            if key not in {*CLIENT, "clientId", "secret"}:
                name = f"client {client.get('clientId')}"
                raise UsageProblem(f'{where}: {name} has no "{key}"', did_you_mean(key, CLIENT), f"correct {where}")
    for kind in found.get("prune") or {}:
        if kind not in PRUNABLE:
            raise UsageProblem(f'{where}: prune has no kind "{kind}"', did_you_mean(kind, PRUNABLE), f"correct {where}")
    for what, why in (*flow_problems(found), *component_problems(found.get("components"))):
        raise UsageProblem(f"{where}: {what}", why, f"correct {where}")
    return read_realm(text)


def flow_problems(realm: Mapping[str, Any]) -> Iterator[Problem]:
    """The first of them is the message to the operator."""
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
        elif alias in OWN["authenticator configs"]:
            yield f'authenticatorConfig "{alias}" is one of Keycloak\'s own', "give it another alias"


def component_problems(components: Any, where: str = "components") -> Iterator[tuple[str, str]]:
    """What Keycloak would refuse half way, or ignore: what, and why."""
    if components is not None and not isinstance(components, Mapping):
        yield where, "it is a mapping: provider type -> list of components"
        return
    for kind, members in (components or {}).items():
        for one in members or []:
            label = f"{where}: {kind}: {one.get('name') or one.get('providerId')}"
            if not one.get("providerId"):
                yield label, "it has no providerId"
            for key in one:
                if key not in KEYS:
                    yield f'{label} has no "{key}"', did_you_mean(key, KEYS)
            yield from component_problems(one.get("subComponents"), label)
