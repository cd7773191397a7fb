"""A realm that does what the admin API is asked for: the contract between a realm's plan and Keycloak, shortly.

tests/smoke/test_realm.py asks the same of Keycloak itself.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ops.keycloak.realm import components
from ops.keycloak.realm.change import Change, Ref
from ops.keycloak.realm.declaration import Declaration, parse_realm
from ops.keycloak.realm.defaults import CLIENT, DEFAULT_SCOPES, OWN_CLIENTS, OWN_SCOPES, REALM, REQUIRED_ACTIONS
from ops.keycloak.realm.flows import BINDINGS, OF_PROVIDERS, Flows, in_use
from ops.keycloak.realm.kinds import OVERRIDES, groups, new_clients_scopes
from ops.keycloak.realm.plan import plan_realm

DECLARED = (Path(__file__).resolve().parents[2] / "config" / "keycloak" / "realm.yaml").read_text(encoding="utf-8")


OWN = ("username", "email")
"""Mappers that the model makes with a directory."""
SAML = ("role_list", "saml_organization")


def declared(text: str = DECLARED) -> Declaration:
    return parse_realm(text, "realm.yaml")


def _member(objects: list[dict[str, Any]], name: str, key: str = "name") -> dict[str, Any]:
    return next(one for one in objects if one[key] == name)


def _change_list(method: str, have: list[Any], names: Iterable[Any]) -> None:
    for name in names:
        assert (name in have) == (method == "DELETE"), f"{method} {name}: {have}"
        have.remove(name) if method == "DELETE" else have.append(name)


def _hidden(config: dict[str, list[str]]) -> dict[str, list[str]]:
    return {key: ["**********"] if key == "bindCredential" else value for key, value in config.items()}


def _name(part: Ref) -> str:
    return f"service-account-{part.name}" if part.kind == "service account" else part.name


class Model:
    """`live`: the realm as `plan_realm` takes it."""

    def __init__(self) -> None:
        self.live: dict[str, Any] = {}

    def become(self, wanted: Declaration) -> Model:
        """As `apply_realm`: planned again where more is made than was asked for."""
        while changes := plan_realm(wanted, self.live):
            for change in changes:
                self.perform(change)
                if change.makes_realm or change.adds_more:
                    break
            else:
                break
        return self

    def perform(self, change: Change) -> None:
        request = copy.deepcopy(change.request)
        if OVERRIDES in (request.body or {}):
            used = {key: ref.name if isinstance(ref, Ref) else ref for key, ref in request.body[OVERRIDES].items()}
            assert all(alias in ("", *Flows.of(self.live).tops) for alias in used.values())
            request.body[OVERRIDES] = used
        path = [_name(part) if isinstance(part, Ref) else part for part in request.path]
        if change.makes_realm:
            self._make(request.body)
        elif not path:
            assert all(request.body.get(key) in (None, *Flows.of(self.live).tops) for key in BINDINGS), "nothing to bind to"
            self.live.update(request.body)
        else:
            kind, rest = path[0].replace("-", "_"), path[1:]
            getattr(self, f"_{kind}")(request.method, rest, request)

    def _make(self, body: dict[str, Any]) -> None:
        own = [{"name": "offline_access"}, {"name": "uma_authorization"}]
        default = {"name": f"default-roles-{body['realm']}", "composites": {"realm": ["offline_access", "uma_authorization"]}}
        given = {role["name"] for role in body["roles"]["realm"]}
        users = [{"realmRoles": [], "groups": [], **user} for user in body.get("users", [])]
        self.live = {
            **copy.deepcopy(dict(REALM)), **body, "users": users,
            "roles": {"realm": [*own, *([] if default["name"] in given else [default]), *body["roles"]["realm"]], "client": {}},
            "clients": [{"clientId": name, "directAccessGrantsEnabled": name == "admin-cli"} for name in OWN_CLIENTS],
            "clientScopes": [
                {"name": name, "protocol": "saml" if name in SAML else "openid-connect", "protocolMappers": []}
                for name in OWN_SCOPES
            ],
            **{key: list(names) for key, names in DEFAULT_SCOPES.items()}, "defaultGroups": [],
            "components": {
                "org.keycloak.keys.KeyProvider": [
                    {"name": "rsa-generated", "providerId": "rsa-generated", "config": {"priority": ["100"]}}
                ],
                "org.keycloak.services.clientregistration.policy.ClientRegistrationPolicy": [
                    {"name": "Trusted Hosts", "providerId": "trusted-hosts", "subType": "anonymous", "config": {}}
                ],
            },
            "requiredActions": [
                {"alias": alias, "enabled": on, "defaultAction": asked}
                for alias, (on, asked) in REQUIRED_ACTIONS.items()
            ],
            "scopeMappings": [], "clientScopeMappings": {}, "groups": [],
            "identityProviders": [], "identityProviderMappers": [],
            "authenticationFlows": [
                {"alias": alias, "providerId": "basic-flow", "topLevel": True, "builtIn": True, "authenticationExecutions": []}
                for alias in (*(REALM[key] for key in BINDINGS), "saml ecp")
            ],
            "authenticatorConfig": [], "clientProfiles": {"profiles": []}, "clientPolicies": {"policies": []},
        }  # fmt: skip
        for client in body["clients"]:
            assert client["clientId"] not in OWN_CLIENTS, "Keycloak would not make it, nor its roles"
            self._new_client(client)

    def _new_client(self, client: dict[str, Any]) -> None:
        own = new_clients_scopes(client, self.live)
        scopes = [*own["defaultClientScopes"], *(["service_account"] if client.get("serviceAccountsEnabled") else [])]
        made = {**copy.deepcopy(dict(CLIENT)), **own, "defaultClientScopes": scopes}
        kinds = ("defaultClientScopes", "optionalClientScopes")
        if any(kind in client for kind in kinds):
            made |= {kind: [] for kind in kinds}  # as Keycloak has it: one list that is given empties the other
        self.live["clients"].append({**made, **client})

    def _members(self, key: str, of: Iterable[str], method: str, rest: list[str]) -> None:
        assert rest[0] in of
        _change_list("POST" if method == "PUT" else method, self.live[key], rest)

    def _default_groups(self, method: str, rest: list[str], request: Any) -> None:
        self._members("defaultGroups", groups(self.live), method, rest)

    def _default_default_client_scopes(self, method: str, rest: list[str], request: Any) -> None:
        assert method == "DELETE" or rest[0] not in self.live["defaultOptionalClientScopes"]
        self._members("defaultDefaultClientScopes", [one["name"] for one in self.live["clientScopes"]], method, rest)

    def _default_optional_client_scopes(self, method: str, rest: list[str], request: Any) -> None:
        assert method == "DELETE" or rest[0] not in self.live["defaultDefaultClientScopes"]
        self._members("defaultOptionalClientScopes", [one["name"] for one in self.live["clientScopes"]], method, rest)

    def _components(self, method: str, rest: list[str], request: Any) -> None:
        """Keycloak gives a directory its mappers, shows no secret, and leaves a key alone that is not sent."""
        body: Any = request.body
        if method == "POST":
            assert all(isinstance(value, str) for values in body["config"].values() for value in values)
            siblings: Any = self.live["components"]
            if above := body.pop("parentId", None):
                siblings = self._component(above.name)[1].setdefault("subComponents", {})
            kind = body.pop("providerType")
            if body["providerId"] == "ldap":
                made = {
                    name: {"providerId": "user-attribute-ldap-mapper", "config": {"ldap.attribute": [name]}} for name in OWN
                }
                mappers = [{"name": name, **mapper} for name, mapper in made.items()]
                body["subComponents"] = {"org.keycloak.storage.ldap.mappers.LDAPStorageMapper": mappers}
            siblings.setdefault(kind, []).append({**body, "config": _hidden(body["config"])})
            return
        siblings, have = self._component(rest[0])
        if method == "DELETE":
            siblings.remove(have)
        else:
            have["config"] |= _hidden(body["config"])

    def _component(self, path: str) -> tuple[Any, Any]:
        """Those beside it, and the component itself."""
        above = components.parent(path)
        tree = self._component(above)[1]["subComponents"] if above else self.live["components"]
        kind, name = path.split("/")[-2:]
        siblings = next(members for key, members in tree.items() if key.endswith(f".{kind}"))
        return siblings, next(one for one in siblings if name in (one.get("name"), one["providerId"]))

    def _put(self, objects: list[Any], method: str, rest: list[str], body: Any, key: str, keep: tuple[str, ...] = ()) -> None:
        """A collection of named objects. keep: what a change of one does not touch."""
        if method == "POST":
            assert not rest
            assert body[key] not in [one[key] for one in objects]
            objects.append(body)
            return
        have = _member(objects, rest[0].rpartition("/")[2] if key == "name" else rest[0], key)
        if method == "DELETE":
            objects.remove(have)
        else:
            kept = {name: have[name] for name in keep if name in have}
            have.clear()
            have.update({**body, **kept})

    def _roles(self, method: str, rest: list[str], request: Any, client: str = "") -> None:
        roles = self.live["roles"]["client"].setdefault(client, []) if client else self.live["roles"]["realm"]
        if rest[1:] == ["composites"]:
            composites = _member(roles, rest[0]).setdefault("composites", {})
            lists = composites.setdefault("client", {}) if request.of else composites
            _change_list(method, lists.setdefault(request.of or "realm", []), request.roles)
        else:
            self._put(roles, method, rest, request.body, "name", ("composites",))

    def _clients(self, method: str, rest: list[str], request: Any) -> None:
        if method == "POST" and not rest:
            self._new_client(request.body)
            return
        client = _member(self.live["clients"], rest[0], "clientId")
        match rest[1:]:
            case []:
                keep = ("protocolMappers", "defaultClientScopes", "optionalClientScopes")
                self._put(self.live["clients"], method, rest, request.body, "clientId", keep)
            case ["roles", *more]:
                self._roles(method, more, request, rest[0])
            case ["scope-mappings", *more]:
                self._mapping("client", rest[0], method, more, request)
            case ["protocol-mappers", "models", *more]:
                self._put(client["protocolMappers"], method, more, request.body, "name")
            case [kind, scope]:
                key = {"default-client-scopes": "defaultClientScopes", "optional-client-scopes": "optionalClientScopes"}[kind]
                _change_list("POST" if method == "PUT" else method, client[key], [scope])

    def _client_scopes(self, method: str, rest: list[str], request: Any) -> None:
        match rest[1:]:
            case ["scope-mappings", *more]:
                self._mapping("clientScope", rest[0], method, more, request)
            case ["protocol-mappers", "models", *more]:
                have = _member(self.live["clientScopes"], rest[0]).setdefault("protocolMappers", [])
                self._put(have, method, more, request.body, "name")
            case _:
                self._put(self.live["clientScopes"], method, rest, request.body, "name", ("protocolMappers",))

    def _mapping(self, kind: str, name: str, method: str, more: list[str], request: Any) -> None:
        everywhere = self.live["clientScopeMappings"]
        entries = self.live["scopeMappings"] if more == ["realm"] else everywhere.setdefault(more[1], [])
        assert request.of == ("" if more == ["realm"] else more[1])
        entry = next((one for one in entries if one.get(kind) == name), None)
        if entry is None:
            entry = {kind: name, "roles": []}
            entries.append(entry)
        _change_list(method, entry["roles"], request.roles)

    def _groups(self, method: str, rest: list[str], request: Any) -> None:
        found: Any = {path: item.content for path, item in groups(self.live).items()}
        match rest:
            case []:
                self.live["groups"].append(request.body)
            case [path, "children"]:
                parent: Any = found[path]
                parent.setdefault("subGroups", []).append(request.body)
            case [path, "role-mappings", *more]:
                self._user_roles(found[path], method, more, request)
            case [path]:
                above = path.rpartition("/")[0]
                siblings: Any = found[above]["subGroups"] if above else self.live["groups"]
                self._put(siblings, method, rest, request.body, "name", ("subGroups", "realmRoles", "clientRoles"))

    def _users(self, method: str, rest: list[str], request: Any) -> None:
        fresh = {"realmRoles": [f"default-roles-{self.live['realm']}"], "groups": []}
        if not rest:
            self.live["users"].append({**request.body, **fresh})
            return
        user = next((one for one in self.live["users"] if one["username"] == rest[0]), None)
        if user is None:
            client = rest[0].removeprefix("service-account-")
            assert _member(self.live["clients"], client, "clientId")["serviceAccountsEnabled"]
            user = {"username": rest[0], "serviceAccountClientId": client, **fresh}
            self.live["users"].append(user)
        match rest[1:]:
            case []:
                user.update(request.body)
            case ["role-mappings", *more]:
                self._user_roles(user, method, more, request)
            case ["groups", path]:
                assert path in groups(self.live)
                _change_list("POST" if method == "PUT" else method, user["groups"], [path])

    def _user_roles(self, who: Any, method: str, more: list[str], request: Any) -> None:
        lists = who.setdefault("clientRoles", {}) if request.of else who
        assert more == (["clients", request.of] if request.of else ["realm"])
        _change_list(method, lists.setdefault(request.of or "realmRoles", []), request.roles)

    def _identity_provider(self, method: str, rest: list[str], request: Any) -> None:
        match rest:
            case ["instances", _, "mappers", *more]:
                self._put(self.live["identityProviderMappers"], method, more, request.body, "name")
            case ["instances", *more]:
                self._put(self.live["identityProviders"], method, more, request.body, "alias")

    def _client_policies(self, method: str, rest: list[str], request: Any) -> None:
        assert method == "PUT"
        key = {"profiles": "clientProfiles", "policies": "clientPolicies"}[rest[0]]
        self.live[key] = request.body
        known = [one["name"] for one in self.live["clientProfiles"]["profiles"]]
        assert all(name in known for one in self.live["clientPolicies"]["policies"] for name in one.get("profiles", []))

    def _authentication(self, method: str, rest: list[str], request: Any) -> None:
        match rest:
            case ["required-actions", *more]:
                self._put(self.live["requiredActions"], method, more, request.body, "alias")
            case ["flows", *more]:
                self._flow(method, more, request.body)
            case ["executions"]:
                self._execution(request.body)
            case ["executions", name, "config"]:
                flow, _, execution = name.partition("/")
                found = _member(self.live["authenticationFlows"], flow, "alias")["authenticationExecutions"]
                one = [one for one in found if execution in (one.get("flowAlias"), one.get("authenticator"))][-1]
                one["authenticatorConfig"] = request.body["alias"]
                self._put(self.live["authenticatorConfig"], method, [], request.body, "alias")
            case ["config", alias]:
                self._free(request.body["alias"], "authenticatorConfig")
                _member(self.live["authenticatorConfig"], alias, "alias").update(request.body)
                for one in self._executions("authenticatorConfig", alias):
                    one["authenticatorConfig"] = request.body["alias"]

    def _free(self, alias: str, kind: str) -> None:
        assert alias not in [one["alias"] for one in self.live[kind]], f"{alias} exists"

    def _executions(self, key: str, value: str) -> list[dict[str, Any]]:
        flows = self.live["authenticationFlows"]
        return [one for flow in flows for one in flow["authenticationExecutions"] if one.get(key) == value]

    def _flow(self, method: str, rest: list[str], body: Any) -> None:
        flows = self.live["authenticationFlows"]
        if method == "POST":
            self._free(body["alias"], "authenticationFlows")
            flows.append({**body, "authenticationExecutions": []})
            return
        flow = _member(flows, rest[0], "alias")
        assert not flow["builtIn"]
        if method == "DELETE":
            assert not in_use(rest[0], self.live), f"{rest[0]} is in use"
            everything = Flows.of(self.live)
            gone = everything.reach(rest[0])
            configs = everything.configured(gone)
            self.live["authenticationFlows"] = [one for one in flows if one["alias"] not in gone]
            self.live["authenticatorConfig"] = [one for one in self.live["authenticatorConfig"] if one["alias"] not in configs]
            return
        self._free(body["alias"], "authenticationFlows")
        flow.update(body)
        for one in self._executions("flowAlias", rest[0]):
            one["flowAlias"] = body["alias"]
        # Whoever uses it knows it by its id.
        overrides = [one.get(OVERRIDES) or {} for one in self.live["clients"]]
        holders: list[tuple[Any, Any]] = [(self.live, BINDINGS), *((one, list(one)) for one in overrides)]
        for holder, keys in [*holders, *((one, OF_PROVIDERS) for one in self.live["identityProviders"])]:
            for key in keys:
                if holder.get(key) == rest[0]:
                    holder[key] = body["alias"]

    def _execution(self, body: dict[str, Any]) -> None:
        flow = _member(self.live["authenticationFlows"], body.pop("parentFlow").name, "alias")
        assert not flow["builtIn"]
        if "flowId" in body:
            body["flowAlias"] = body.pop("flowId").name
        flow["authenticationExecutions"].append(body)
