"""Authentication flows of the realm: declared whole, and never changed while somebody logs in through them. Pure.

A flow that is not as declared and in use is set aside under another alias, which changes nothing for those who use it: Keycloak
binds by id. The flow is made anew in its place, whoever used the former one is bound to it, each by one request, and the former
one goes. So every login meets one of the two, whole. A change in place would take several requests as well, and between
them a flow would be neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import Any

from ops.core.errors import UsageProblem, did_you_mean
from ops.keycloak.realm.change import Change, Difference, Object, Path, Ref, Request, differences, merged, same
from ops.keycloak.realm.defaults import OWN_FLOWS
from ops.keycloak.realm.kinds import FLOW, KINDS, OVERRIDES, named, with_flow_ids

BINDINGS = (
    "browserFlow", "clientAuthenticationFlow", "directGrantFlow", "dockerAuthenticationFlow", "firstBrokerLoginFlow",
    "registrationFlow", "resetCredentialsFlow",
)  # fmt: skip
OF_PROVIDERS = ("firstBrokerLoginFlowAlias", "postBrokerLoginFlowAlias")
EXECUTION, CONFIG = "execution", "authenticator config"
FORMER = re.compile(r" - former( \d+)?$")
"""How the alias ends that a flow is set aside under, and those of its parts. Keycloak takes no brackets."""
STEP = 10
"""Between priorities where none are declared, as Keycloak has it."""


@dataclass(frozen=True)
class Flows:
    """Flows by alias, sub-flows among them, and the configurations of their executions by alias."""

    flows: Mapping[str, Object]
    configs: Mapping[str, Object]

    @classmethod
    def of(cls, realm: Object) -> Flows:
        return cls(named(realm.get("authenticationFlows"), "alias"), named(realm.get("authenticatorConfig"), "alias"))

    def executions(self, alias: str) -> list[Object]:
        found = self.flows[alias].get("authenticationExecutions") or []
        filled: list[Object] = [{"priority": (place + 1) * STEP, **one} for place, one in enumerate(found)]
        return sorted(filled, key=lambda one: int(one["priority"]))

    def reach(self, alias: str) -> list[str]:
        """The flow and its sub-flows, whoever contains first."""
        found = [alias]
        for name in found:
            below = [one.get("flowAlias") for one in self.executions(name)] if name in self.flows else []
            found += [one for one in below if one and one not in found]
        return [name for name in found if name in self.flows]

    def configured(self, aliases: Iterable[str]) -> list[str]:
        """Configurations of the executions of these flows."""
        found = [one.get("authenticatorConfig") for alias in aliases for one in self.executions(alias)]
        return [one for one in found if one and one in self.configs]

    @property
    def tops(self) -> list[str]:
        below = {one.get("flowAlias") for alias in self.flows for one in self.executions(alias)}
        return [alias for alias, flow in self.flows.items() if flow.get("topLevel", alias not in below)]


def unlike(alias: str, wanted: Flows, live: Flows) -> list[Difference]:
    """Every value of a flow and of its sub-flows that is not as declared. Both have a flow of this alias."""
    found: list[Difference] = []
    for name in wanted.reach(alias):
        if name not in live.flows:
            continue  # Told by the flow that should contain it.
        declared, have = wanted.flows[name], live.flows[name]
        kinds = {"providerId": declared.get("providerId", "basic-flow")}
        if "description" in declared:
            kinds["description"] = declared["description"]
        found += differences(kinds, have, path="" if name == alias else name)
        found += _executions_unlike(name, wanted, live)
    return found


def _executions_unlike(flow: str, wanted: Flows, live: Flows) -> Iterator[Difference]:
    declared, have = wanted.executions(flow), live.executions(flow)
    names, now = [_name(one) for one in declared], [_name(one) for one in have]
    if names != now:
        more = sorted(names) != sorted(now)
        yield Difference(f"{flow}.executions", now if more else ", ".join(now), names if more else ", ".join(names))
        return
    for one, other in zip(declared, have, strict=True):
        path = f"{flow}/{_name(one)}"
        for key in ("requirement", "priority", "authenticator", "authenticatorConfig"):
            if not same(one.get(key), other.get(key)):
                yield Difference(f"{path}.{key}", other.get(key), one.get(key))
        config = one.get("authenticatorConfig")
        if config and config == other.get("authenticatorConfig"):
            values = (live.configs.get(config) or {}).get("config") or {}
            yield from differences(wanted.configs[config].get("config") or {}, values, path=path)


def _name(execution: Object) -> str:
    return str(execution.get("flowAlias") or execution.get("authenticator"))


@dataclass(frozen=True)
class Turnover:
    """What is to be done about the flows.

    before: sets aside and makes. after: binds whom nothing else binds. last: removes what was set aside.
    realm, live: both with what everything else has to find: who used a flow that was set aside uses it still, and shall use the
    new one.
    """

    before: tuple[Change, ...]
    after: tuple[Change, ...]
    last: tuple[Change, ...]
    realm: Object
    live: Object


def turnover(realm: Object, live: Object) -> Turnover:
    """Raises UsageProblem for what Keycloak would refuse half way: an alias of its own or of a flow that is not declared,
    and a binding to a flow that is not there.
    """
    wanted, have = Flows.of(realm), Flows.of(live)
    _refuse_unknown(realm, {*wanted.tops, *have.tops})
    aside: dict[str, str] = {}
    formers: dict[str, str] = {}
    before: list[Change] = []
    made: list[str] = []
    removed: list[str] = []
    for alias in wanted.tops:
        old = [name for name in have.tops if FORMER.search(name) and FORMER.sub("", name) == alias]
        formers |= dict.fromkeys(old, alias)
        for name in old:
            before += _set_aside(name, have, aside, name.removeprefix(alias))
        if alias in have.tops:
            if have.flows[alias].get("builtIn"):
                raise UsageProblem(*own_flow(alias), "correct config/keycloak/realm.yaml")
            found = unlike(alias, wanted, have)
            if not found:
                continue
            if in_use(alias, live):
                suffixes = chain((" - former",), (f" - former {number}" for number in count(2)))
                suffix = next(one for one in suffixes if alias + one not in have.flows)
                before += _set_aside(alias, have, aside, suffix, found)
                formers[alias + suffix] = alias
            else:
                before.append(removal(alias, found=found))
                removed += have.reach(alias)
        made.append(alias)
    before += _make_room(made, wanted, have, {*aside, *removed, *formers})
    for alias in made:
        before += _made(alias, wanted)
    shown = _renamed(live, aside)
    bound, after = _bound(realm, shown, formers)
    return Turnover(tuple(before), tuple(after), tuple(removal(name) for name in formers), bound, shown)


def bindings(realm: Object) -> Iterator[tuple[str, str]]:
    """(what is bound, alias of the flow), of all that is declared; an empty alias takes a binding away."""
    yield from ((key, realm[key]) for key in BINDINGS if key in realm)
    for client in realm.get("clients") or []:
        used = client.get(OVERRIDES) or {}
        yield from ((f"client {client['clientId']}: {key}", alias) for key, alias in used.items() if alias)
    for provider in realm.get("identityProviders") or []:
        yield from (
            (f"identity provider {provider['alias']}: {key}", provider[key]) for key in OF_PROVIDERS if provider.get(key)
        )


def _refuse_unknown(realm: Object, known: set[str]) -> None:
    for what, alias in bindings(realm):
        if alias not in known:
            why = f"it is neither declared nor in the live realm; {did_you_mean(alias, known)}"
            raise UsageProblem(f'{what}: there is no authentication flow "{alias}"', why, "correct config/keycloak/realm.yaml")


def own_flow(alias: str) -> tuple[str, str]:
    return (
        f'the authentication flow "{alias}" is Keycloak\'s own, and never changed',
        f'declare a copy under another alias, its sub-flows too, and bind that one (for example "browserFlow: my {alias}")',
    )  # fmt: skip


def in_use(alias: str, live: Object) -> bool:
    """Whether somebody may log in through it: it is bound in the realm, in a client or in an identity provider."""
    return any(used == alias for _, used in bindings(live))


def _set_aside(
    alias: str, have: Flows, aside: dict[str, str], suffix: str, found: Iterable[Difference] = ()
) -> Iterator[Change]:  # fmt: skip
    """Everything of a flow under another alias. What was renamed before this was broken off is not renamed again."""
    first = tuple(found)
    reached = have.reach(alias)
    for name in reached:
        if not name.endswith(suffix):
            aside[name] = name + suffix
            flow = {key: have.flows[name].get(key) for key in ("description", "providerId", "topLevel", "builtIn")}
            request = Request("PUT", (*_flow(name),), {**flow, "alias": name + suffix})
            yield Change("update", FLOW, name, request, (*first, Difference("alias", name, name + suffix)))
        first = ()
    for name in have.configured(reached):
        if not name.endswith(suffix):
            path: Path = ("authentication", "config", Ref(CONFIG, name))
            body = {"alias": name + suffix, "config": have.configs[name].get("config") or {}}
            yield Change("update", CONFIG, name, Request("PUT", path, body), (Difference("alias", name, name + suffix),))


def _flow(alias: str) -> Path:
    return ("authentication", "flows", Ref(FLOW, alias))


def removal(alias: str, action: str = "discard", found: Iterable[Difference] = ()) -> Change:
    """With sub-flows and configurations. Discarding is no loss that somebody has to confirm: another one takes its place."""
    return Change(action, FLOW, alias, Request("DELETE", _flow(alias)), tuple(found))


def _make_room(made: list[str], wanted: Flows, have: Flows, gone: set[str]) -> Iterator[Change]:
    """Removes what a command that was killed has left of a flow, in no other one. gone: aliases that are free by then."""
    kept = {name: top for top in have.tops for name in have.reach(top)}
    needed = [name for alias in made for name in wanted.reach(alias)]
    lost = [name for name in have.flows if name not in kept]
    below = {name for one in lost for name in have.reach(one)[1:]}
    for name in needed:
        if name in kept and name not in gone:
            raise _taken(f'authentication flow "{name}"', kept[name])
    for name in lost:
        if name not in below and not set(needed).isdisjoint(have.reach(name)):
            yield removal(name)
    configs = {name: top for top in have.tops for name in have.configured(have.reach(top)) if top not in gone}
    for name in wanted.configured(needed):
        if name in configs:
            raise _taken(f'authenticator config "{name}"', configs[name])


def _taken(what: str, owner: str) -> UsageProblem:
    return UsageProblem(
        f"the {what} cannot be made", f'the flow "{owner}" of the live realm has one of that alias, and they are unique',
        "give it another alias in config/keycloak/realm.yaml",
    )  # fmt: skip


def _made(alias: str, wanted: Flows) -> Iterator[Change]:
    flows = wanted.reach(alias)
    for name in flows:
        flow = wanted.flows[name]
        body = {
            "alias": name, "description": flow.get("description", ""), "providerId": flow.get("providerId", "basic-flow"),
            "topLevel": name == alias, "builtIn": False,
        }  # fmt: skip
        yield Change("create", FLOW, name, Request("POST", ("authentication", "flows"), body))
    for name in flows:
        for execution in wanted.executions(name):
            yield from _execution(name, execution, wanted)


def _execution(flow: str, declared: Object, wanted: Flows) -> Iterator[Change]:
    name = f"{flow}/{_name(declared)}"
    body = {
        "parentFlow": Ref(FLOW, flow), "requirement": declared["requirement"], "priority": declared["priority"],
        "authenticatorFlow": "flowAlias" in declared,
    }  # fmt: skip
    if "authenticator" in declared:
        body["authenticator"] = declared["authenticator"]
    if "flowAlias" in declared:
        body["flowId"] = Ref(FLOW, declared["flowAlias"])
    yield Change("create", EXECUTION, name, Request("POST", ("authentication", "executions"), body))
    if alias := declared.get("authenticatorConfig"):
        path: Path = ("authentication", "executions", Ref(EXECUTION, name), "config")
        config = {"alias": alias, "config": wanted.configs[alias].get("config") or {}}
        yield Change("create", CONFIG, alias, Request("POST", path, config))


# Who uses a flow.


def _renamed(live: Object, aside: Mapping[str, str]) -> dict[str, Any]:
    """The live realm as it is when these flows have been set aside."""
    return {**live, **_rebound(live, BINDINGS, aside), "clients": [
        {**one, OVERRIDES: {**one[OVERRIDES], **_rebound(one[OVERRIDES], one[OVERRIDES], aside)}} if one.get(OVERRIDES) else one
        for one in live.get("clients") or []
    ], "identityProviders": [
        {**one, **_rebound(one, OF_PROVIDERS, aside)} for one in live.get("identityProviders") or []
    ]}  # fmt: skip


def _rebound(holder: Object, keys: Iterable[str], names: Mapping[str, str]) -> dict[str, str]:
    return {key: names[holder[key]] for key in keys if holder.get(key) in names}


def _bound(realm: Object, live: Object, formers: Mapping[str, str]) -> tuple[Object, list[Change]]:
    """The declaration, bound to new flows where it says nothing and a former one is used; and changes of what it has not."""
    result = {**_rebound(live, BINDINGS, formers), **realm}
    changes: list[Change] = []
    clients, providers = named(realm.get("clients"), "clientId"), named(realm.get("identityProviders"), "alias")
    for client in live["clients"]:
        name, used = client["clientId"], client.get(OVERRIDES) or {}
        if found := _rebound(used, used, formers):
            if name in clients:
                clients[name] = {**clients[name], OVERRIDES: {**found, **(clients[name].get(OVERRIDES) or {})}}
            else:
                path: Path = ("clients", Ref("client", name))
                changes.append(_rebinding("client", name, path, {OVERRIDES: found}, client, KINDS["clients"].elsewhere))
    for provider in live["identityProviders"]:
        alias = provider["alias"]
        if now := _rebound(provider, OF_PROVIDERS, formers):
            if alias in providers:
                providers[alias] = {**now, **providers[alias]}
            else:
                path = ("identity-provider", "instances", alias)
                changes.append(replace(_rebinding("identity provider", alias, path, now, provider), unusual=True))
    for key, objects in (("clients", clients), ("identityProviders", providers)):
        if key in realm:
            result[key] = list(objects.values())
    return result, changes


def _rebinding(kind: str, name: str, path: Path, bound: Object, live: Object, skip: tuple[str, ...] = ()) -> Change:
    request = with_flow_ids(Request("PUT", path, merged(bound, live, skip)))
    return Change("update", kind, name, request, tuple(differences(bound, live)))


def undeclared_flows(realm: Object, live: Object) -> list[str]:
    """Flows that somebody made; without sub-flows, and without those that a declared one takes the place of."""
    wanted, have = Flows.of(realm), Flows.of(live)
    return [
        alias for alias in have.tops
        if alias not in OWN_FLOWS and not have.flows[alias].get("builtIn") and FORMER.sub("", alias) not in wanted.flows
    ]  # fmt: skip
