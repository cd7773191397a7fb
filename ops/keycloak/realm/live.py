"""The live realm through the admin API: read in a few requests, changed one by one. Every change can be made again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ops.core.errors import HostLacks, OpsError
from ops.keycloak.admin import ASK_SECONDS, KEEPER, OPERATIONS, Account, Answer, Api, Forbidden, Refused, Unreachable, connect
from ops.keycloak.realm.change import REFERENCE, Change, Ref, Request, masked
from ops.keycloak.realm.declaration import Declaration, read_realm
from ops.keycloak.realm.flows import CONFIG
from ops.keycloak.realm.kinds import FLOW, KINDS, OVERRIDES, PROVIDER_MAPPERS, SCOPE_MAPPERS
from ops.keycloak.realm.plan import plan_realm
from ops.keycloak.realm.rights import names_of
from ops.store.versions import secret_versions

if TYPE_CHECKING:
    from ops.project import Project

READ_SECONDS = 5
"""For one request of a read: a warm server answers the longest, the export, in 0.2 s, one that has just started in 3.4 s."""
READY_SECONDS = 120.0
"""How long it may go on without an answer, since the first question, before the changes are given up."""
PAUSE = 1.0
EXPORT = "partial-export?exportClients=true&exportGroupsAndRoles=true"


@dataclass
class Realm:
    """The admin API of one realm.

    versions: secret -> version that the realm should have. port: of the operator's listener.
    """

    project: Project
    declaration: Declaration
    versions: Mapping[str, int]
    port: int | None = None
    timeout: int = READ_SECONDS
    apis: dict[str, Api] = field(default_factory=dict)
    ids: dict[tuple[str, str], str] = field(default_factory=dict)
    refusal: str = ""
    """What was said instead of making the realm."""
    conflicts: dict[tuple[str, str], str] = field(default_factory=dict)
    """(kind, name) of what could not be made since something is there already -> what Keycloak said."""

    @classmethod
    def of(cls, project: Project, declaration: Declaration) -> Realm:
        """The realm of the release that runs, with the newest secrets."""
        return cls(project, declaration, secret_versions(project.state), project.deployed.allocation.ports["ops"])

    # ---- Requests

    def ask(self, account: Account, method: str, path: str, body: Any = None, *, ok: tuple[int, ...] = ()) -> Answer:
        """One request below admin/realms/. Raises as `Api.ask`, and HostLacks where the account has no secret yet."""
        return self._api(account).ask(method, path, body, ok=ok)

    def _api(self, account: Account) -> Api:
        if account.client_id not in self.apis:
            value = "" if account is OPERATIONS else self.secret(account.secret)
            connection = connect(self.project, account, port=self.port, value=value)
            connection.timeout = self.timeout
            api = Api(connection, realm="")
            api.log_in()
            self.apis[account.client_id] = api
        return self.apis[account.client_id]

    def secret(self, name: str) -> str:
        """The value that the realm should have. Raises HostLacks where the state folder has none yet."""
        path = self.project.state.secrets / name / str(self.versions.get(name, 1))
        try:
            return path.read_text().strip()
        except OSError as problem:
            raise HostLacks(f"cannot read the secret {name}", str(problem.strerror), "inv deploy") from problem

    # ---- Reading

    def read(self) -> Mapping[str, Any]:
        """The realm as `plan_realm` compares it, without secrets; empty where there is none. Raises OpsError."""
        return self.without_secrets(self.read_raw(), self.versions)

    def read_raw(self) -> dict[str, Any]:
        try:
            account = KEEPER
            found = self._read(KEEPER)
        except (Refused, Forbidden, HostLacks):
            # No realm yet, or an account that has to be mended first.
            account = OPERATIONS
            found = self._read(OPERATIONS)
        if found:
            self._remember(found)
            found["users"] = self._users(account, found)
        return found

    def without_secrets(self, found: Mapping[str, Any], versions: Mapping[str, int]) -> Mapping[str, Any]:
        """A realm that was read, with references in place of those secrets that are of these versions."""
        references: dict[str, str] = {}
        for name in sorted(self.declaration.secrets):
            path = self.project.state.secrets / name / str(versions.get(name, 1))
            if path.is_file():
                references[path.read_text().strip()] = f"@secret:{name}@"
        result: Mapping[str, Any] = masked(found, references)
        return result

    def _read(self, account: Account) -> dict[str, Any]:
        name = self.declaration.name
        self._api(account)
        with ThreadPoolExecutor(max_workers=2) as pool:
            export = pool.submit(self.ask, account, "POST", f"{name}/{EXPORT}", ok=(404,))
            # This list has the clients' secrets, which the export does not.
            clients = pool.submit(self.ask, account, "GET", f"{name}/clients", ok=(404,))
            if export.result().status == 404:
                return {}
            found = export.result().content
            aliases = {flow["id"]: flow["alias"] for flow in found.get("authenticationFlows") or []}
            return {**found, "clients": [by_alias(client, aliases) for client in clients.result().content]}

    def _users(self, account: Account, found: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The declared users as far as there are any."""
        clients = {one["clientId"] for one in found["clients"] if one.get("serviceAccountsEnabled")}
        wanted = [
            user for user in self.declaration.realm.get("users") or []
            if not user.get("serviceAccountClientId") or user["serviceAccountClientId"] in clients
        ]  # fmt: skip
        with ThreadPoolExecutor(max_workers=4) as pool:
            users = pool.map(lambda user: self._user(account, user), wanted)
            return [user for user in users if user]

    def _user(self, account: Account, declared: Mapping[str, Any]) -> dict[str, Any] | None:
        name, service = self.declaration.name, declared.get("serviceAccountClientId")
        if service:
            path = f"{name}/clients/{self.ids['client', service]}/service-account-user"
            found = self.ask(account, "GET", path).content
        else:
            path = f"{name}/users?exact=true&username={quote(declared['username'], safe='')}"
            found = next(iter(self.ask(account, "GET", path).content), None)
        if not found:
            return None
        self.ids["service account" if service else "user", service or found["username"]] = found["id"]
        own = f"{name}/users/{found['id']}"
        groups = self.ask(account, "GET", f"{own}/groups").content if "groups" in declared else []
        mapping = self.ask(account, "GET", f"{own}/role-mappings").content
        return {**found, **names_of(mapping), "groups": [group["path"] for group in groups]}

    def _remember(self, found: Mapping[str, Any]) -> None:
        """The ids of everything that a change may name."""
        for kind in (*KINDS.values(), SCOPE_MAPPERS, PROVIDER_MAPPERS):
            for item in kind.items(found).values():
                if isinstance(last := item.path[-1], Ref):
                    self.ids[last.kind, last.name] = item.content["id"]
        for word, key in ((FLOW, "authenticationFlows"), (CONFIG, "authenticatorConfig")):
            for one in found.get(key) or []:
                self.ids[word, one["alias"]] = one["id"]

    # ---- Changing

    def apply(self, change: Change) -> None:
        """Raises OpsError, naming the change, where Keycloak refuses it."""
        account = OPERATIONS if change.beyond_keeper or change.unusual else KEEPER
        try:
            self._send(account, change)
            if change.beyond_keeper:
                # Its next token has the rights that this has given it.
                self.apis.pop(KEEPER.client_id, None)
        except Unreachable:
            raise
        except OpsError as problem:
            raise OpsError(
                f"realm {self.declaration.name}: cannot {change.action} {change.kind} {change.name}", problem.why,
                "correct config/keycloak/realm.yaml; inv keycloak.plan shows what is left",
            ) from problem  # fmt: skip

    def _send(self, account: Account, change: Change) -> None:
        request, name = change.request, self.declaration.name
        if change.makes_realm:
            # The library sends a request again that took too long: then the first one has made it.
            answer = self.ask(account, "POST", "", self._filled(request.body), ok=(409,))
            self.refusal = answer.said if answer.status == 409 else ""
            return
        path = "/".join([name, *(quote(self._part(account, part), safe="") for part in request.path)])
        body = self._roles(account, request) if request.roles else self._filled(request.body)
        # What is there already, or gone already, was so made by a command that was killed.
        ok = {"POST": (409,), "DELETE": (404,)}.get(request.method, ())
        answer = self.ask(account, request.method, path, body, ok=ok if change.action != "update" else ())
        if change.action == "create" and answer.status == 409:
            self.conflicts[change.kind, change.name] = answer.said
        if change.action == "create" and answer.location:
            self.ids[change.kind, change.name] = answer.location.rpartition("/")[2]
        if change.kind == FLOW and change.action == "update":
            self.ids[FLOW, request.body["alias"]] = self.ids[FLOW, change.name]

    def _part(self, account: Account, part: str | Ref) -> str:
        if isinstance(part, str):
            return part
        if part.kind == "service account" and (part.kind, part.name) not in self.ids:
            path = f"{self.declaration.name}/clients/{self.ids['client', part.name]}/service-account-user"
            self.ids[part.kind, part.name] = self.ask(account, "GET", path).content["id"]
        try:
            return self.ids[part.kind, part.name]
        except KeyError:
            raise OpsError(
                f"there is no {part.kind} {part.name}", f"the declaration refers to {part.name}, which is not there",
                "correct config/keycloak/realm.yaml",
            ) from None  # fmt: skip

    def _roles(self, account: Account, request: Request) -> list[Mapping[str, Any]]:
        base = f"{self.declaration.name}/"
        if request.of:
            base += f"clients/{self._part(account, Ref('client', request.of))}/"
        return [self.ask(account, "GET", f"{base}roles/{quote(role, safe='')}").content for role in request.roles]

    def _filled(self, body: Any) -> Any:
        """The body with every reference replaced by its secret or its id."""
        if isinstance(body, Ref):
            return self._part(KEEPER, body)
        if isinstance(body, str):
            return REFERENCE.sub(lambda match: self.secret(match[1]), body)
        if isinstance(body, Mapping):
            return {key: self._filled(value) for key, value in body.items()}
        return [self._filled(value) for value in body] if isinstance(body, list) else body


def by_alias(client: dict[str, Any], aliases: Mapping[str, str]) -> dict[str, Any]:
    """A client that names flows as a declaration does, and not by their ids."""
    used = client.get(OVERRIDES) or {}
    return {**client, OVERRIDES: {key: aliases.get(flow, flow) for key, flow in used.items()}}


@contextmanager
def observed_realm(project: Project, text: str) -> Iterator[Callable[[Mapping[str, int]], Mapping[str, Any] | None]]:
    """Read the live realm while the block does something else.

    text: its declaration; empty: nothing is read.

    The block gets a function: versions of secrets -> the realm without secrets, or None where it cannot be read now. Why is
    no matter of a plan: it will be tried again when it is to be changed, and then everything is said.
    """
    if not text or not project.state.current.is_symlink():
        yield lambda versions: None
        return
    realm = Realm.of(project, read_realm(text))
    with ThreadPoolExecutor(max_workers=1) as pool:
        asked = pool.submit(_tried, realm)

        def answer(versions: Mapping[str, int]) -> Mapping[str, Any] | None:
            found = asked.result()
            return None if found is None else realm.without_secrets(found, versions)

        yield answer


def _tried(realm: Realm) -> dict[str, Any] | None:
    try:
        return realm.read_raw()
    except (OpsError, OSError, ValueError):
        return None


def apply_realm(realm: Realm, report: Callable[[str], None], *, deletions: bool, only: tuple[str, ...] = ()) -> int:
    """Make the live realm as declared; how many changes that took.

    deletions: whether what is listed under `prune` may be deleted: somebody has confirmed it.
    only: names of the clients and users that it is about, with what belongs to them; empty: everything.
    Raises OpsError, naming the change that failed. What was done until then stays, and is not done again the next time.
    """
    realm.timeout = ASK_SECONDS
    until, done = time.monotonic() + READY_SECONDS, 0
    made: set[tuple[str, str]] = set()
    while True:
        try:
            for change in _left(realm, deletions, only):
                if (change.kind, change.name) in made:
                    why = realm.refusal or "it is not there"
                    raise OpsError(f"{change.kind} {change.name} cannot be made", why, "inv keycloak")
                report(change.described())
                realm.apply(change)
                done += 1
                if change.makes_realm or change.adds_more:
                    made.add((change.kind, change.name))
                    break
            else:
                _must_be_there(realm, deletions, only)
                return done
        except Unreachable as problem:
            # One that has just started is slow, and one request takes longer than nginx waits: the next read finds what it did.
            if time.monotonic() > until:
                raise
            report(problem.why)
            time.sleep(PAUSE)


def _must_be_there(realm: Realm, deletions: bool, only: tuple[str, ...]) -> None:
    """Raises OpsError where a conflict was not with what a killed command has made: then it is still to be made."""
    if not realm.conflicts:
        return
    for change in _left(realm, deletions, only):
        if (why := realm.conflicts.get((change.kind, change.name))) is not None and change.action == "create":
            raise OpsError(
                f"realm {realm.declaration.name}: cannot create {change.kind} {change.name}",
                why or "Keycloak says that something of that name or address is there already (HTTP 409)",
                "rename it in config/keycloak/realm.yaml, or remove what it conflicts with; inv keycloak.plan shows the rest",
            )  # fmt: skip
    realm.conflicts.clear()


def _left(realm: Realm, deletions: bool, only: tuple[str, ...]) -> list[Change]:
    return [
        one for one in plan_realm(realm.declaration, realm.read())
        if (deletions or one.action != "delete") and (not only or one.name.partition("/")[0] in only)
    ]  # fmt: skip


def declared(project: Project) -> Realm:
    """The realm as the release that runs declares it.

    Raises HostLacks where that is a release from before there was a declaration.
    """
    text = project.deployed.realm
    if not text:
        raise HostLacks("the realm has no declaration", "the release that runs has none", "inv deploy")
    return Realm.of(project, read_realm(text))
