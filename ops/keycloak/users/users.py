"""Users of the realm, through the admin API: added, found, listed, locked and unlocked, and what is shown of them."""

from __future__ import annotations

import re
import secrets
import string
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ops.core.errors import OpsError, UsageProblem, did_you_mean
from ops.keycloak.admin import KEEPER, Api
from ops.project import Project

TO_READ = "inv --help keycloak.user"
BUILT_IN = ("offline_access", "uma_authorization")
"""Roles that Keycloak makes for its own use."""
DEFAULT_ROLES = "default-roles-"
"""Prefix of the role that every user of a realm holds."""
UNCLEAR = "0O1lI"
"""Characters that are mistaken for one another when read from a screen."""
ALPHABET = "".join(sorted(set(string.ascii_letters + string.digits) - set(UNCLEAR)))
GROUPS, GROUP = 4, 5
"""57 characters, 20 times: 116 bits. Longer than the realm's policy asks (12)."""
_KINDS = (string.ascii_lowercase, string.ascii_uppercase, string.digits)
RULES: Mapping[str, str] = {
    "length": "at least {} characters", "maxLength": "at most {} characters", "digits": "digits: {} or more",
    "upperCase": "capital letters: {} or more", "lowerCase": "small letters: {} or more",
    "specialChars": "other characters: {} or more", "notUsername": "not the user name",
    "notContainsUsername": "without the user name in it", "notEmail": "not the e-mail address",
    "passwordHistory": "none of the last {}",
}  # fmt: skip
"""Rule of a password policy that a user has to know -> in words."""
MADE_WITH_SECONDS = 60.0
"""A password that is younger than its user by more than this is not the one that the user was made with."""
MOST_EVENTS = 10_000
"""Logins that are read to tell each user's last one, the newest first."""
MOST_NAMES = 2_000
"""Names among which a mistyped one is looked for."""
LOCKS = "/attack-detection/brute-force/users"


@dataclass(frozen=True)
class Asked:
    """What was typed."""

    action: str
    name: str = ""
    email: str = ""
    first: str = ""
    last: str = ""
    roles: tuple[str, ...] = ()
    search: str = ""
    keep_sessions: bool = False


@dataclass(frozen=True)
class User:
    """One user as a list shows it, and `--json` prints it. last_login: seconds since 1970; None where no event tells."""

    name: str
    email: str = ""
    roles: tuple[str, ...] = ()
    enabled: bool = True
    locked: bool = False
    last_login: float | None = None
    sessions: int = 0
    required_actions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Observed:
    """What the realm says that is not part of a user."""

    members: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Role -> ids of the users who hold it directly."""
    default: tuple[str, ...] = ()
    """Roles that the default role stands for."""
    sessions: Mapping[str, int] = field(default_factory=dict)
    """Id of a user -> open sessions."""
    logins: Mapping[str, float] = field(default_factory=dict)
    """Id of a user -> last login, in seconds since 1970."""


def assignable(roles: Iterable[str]) -> tuple[str, ...]:
    """The roles of a realm that an operator gives and takes."""
    return tuple(sorted(role for role in roles if role not in BUILT_IN and not role.startswith(DEFAULT_ROLES)))


def refuse_unknown_roles(asked: Iterable[str], known: Iterable[str]) -> None:
    """Raises UsageProblem, with a suggestion, for a role that the realm does not have."""
    names = assignable(known)
    for role in asked:
        if role not in names:
            raise UsageProblem(f'there is no role "{role}" in the realm', did_you_mean(role, names), TO_READ)


def password(pick: Callable[[str], str]) -> str:
    """A one-time password that can be read out, with a capital letter, a small one, a digit and a dash.

    pick: one character of a text, by chance (secrets.choice).
    """
    while True:
        text = "-".join("".join(pick(ALPHABET) for _ in range(GROUP)) for _ in range(GROUPS))
        if all(any(character in kind for character in text) for kind in _KINDS):
            return text


def password_rules(policy: str) -> str:
    """All rules for the password that a user chooses, at once: Keycloak's form names only the first that is not met.

    policy: as the realm has it, for example `length(12) and notUsername`.
    """
    parts = re.findall(r"(\w+)(?:\(([^)]*)\))?", policy.replace(" and ", " "))
    return ", ".join(RULES[name].format(value) for name, value in parts if name in RULES)


def new_user(asked: Asked, one_time: str) -> dict[str, Any]:
    """The user as Keycloak's admin API takes it."""
    return {
        "username": asked.name, "email": asked.email, "emailVerified": True, "firstName": asked.first, "lastName": asked.last,
        "enabled": True, "requiredActions": ["UPDATE_PASSWORD"],
        "credentials": [{"type": "password", "value": one_time, "temporary": True}],
    }  # fmt: skip


def user_of(raw: Mapping[str, Any], observed: Observed) -> User:
    """`raw`: as Keycloak's list of users with their brute-force status has it."""
    identity, held = raw["id"], set[str]()
    for role, members in observed.members.items():
        if identity in members:
            held.update(observed.default if role.startswith(DEFAULT_ROLES) else (role,))
    return User(
        name=raw["username"], email=str(raw.get("email") or ""), enabled=bool(raw.get("enabled")),
        locked=bool((raw.get("bruteForceStatus") or {}).get("disabled")), roles=assignable(held),
        required_actions=tuple(raw.get("requiredActions") or ()), last_login=observed.logins.get(identity),
        sessions=observed.sessions.get(identity, 0),
    )  # fmt: skip


def last_logins(events: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Id of a user -> last login, in seconds since 1970. Keycloak's clock counts milliseconds."""
    found: dict[str, float] = {}
    for event in events:
        if identity := event.get("userId"):
            found[identity] = max(found.get(identity, 0.0), float(event["time"]) / 1000)
    return found


def session_counts(sessions: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Id of a user -> open sessions. One that several clients share is listed by each of them and counts once."""
    owners = {session["id"]: session["userId"] for session in sessions}
    return {user: sum(owner == user for owner in owners.values()) for user in set(owners.values())}


def _at(moment: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment)) if moment else "-"


def _words(actions: Iterable[str]) -> str:
    return ", ".join(action.lower().replace("_", " ") for action in actions) or "-"


def row(user: User) -> tuple[str, ...]:
    """What a table shows of a user."""
    state = ("locked" if user.locked else "yes") if user.enabled else "disabled"
    return (
        user.name, user.email, ", ".join(user.roles) or "-", state, _at(user.last_login), str(user.sessions),
        _words(user.required_actions),
    )  # fmt: skip


def details(user: Mapping[str, Any], roles: Iterable[str], status: Mapping[str, Any], sessions: int, login: float | None,
            credentials: Iterable[Mapping[str, Any]]) -> dict[str, Any]:  # fmt: skip
    """Everything that an operator may want to know of one user.

    user, status, credentials: as Keycloak's admin API has them, times in milliseconds. roles: those that the user
    holds, however. login: the last one, in seconds since 1970.
    """
    kinds = {str(one["type"]): float(one.get("createdDate") or 0) / 1000 for one in credentials}
    return {
        "name": user["username"], "email": str(user.get("email") or ""), "first": str(user.get("firstName") or ""),
        "last": str(user.get("lastName") or ""), "enabled": bool(user.get("enabled")), "locked": bool(status.get("disabled")),
        "failures": int(status.get("numFailures", 0)), "roles": list(assignable(roles)),
        "required_actions": list(user.get("requiredActions") or ()), "created": float(user["createdTimestamp"]) / 1000,
        "last_login": login, "sessions": sessions, "credentials": kinds,
    }  # fmt: skip


def detail_lines(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The same as lines of a table."""
    state = "locked" if found["locked"] else "enabled" if found["enabled"] else "disabled"
    return [
        ("name", found["name"]), ("e-mail", found["email"] or "-"),
        ("full name", f"{found['first']} {found['last']}".strip() or "-"),
        ("state", f"{state}, {found['failures']} failed login(s) counted"), ("roles", ", ".join(found["roles"]) or "-"),
        ("must at the next login", _words(found["required_actions"])), ("made", _at(found["created"])),
        ("last login", _at(found["last_login"])), ("sessions", str(found["sessions"])),
        *((f"{kind} since", _at(since)) for kind, since in sorted(found["credentials"].items())),
    ]  # fmt: skip


def first_password_spent(user: Mapping[str, Any], credentials: Iterable[Mapping[str, Any]]) -> str:
    """Why the password that a user was made with is not valid any more; empty where it still is.

    user, credentials: UserRepresentation and CredentialRepresentation of Keycloak's admin API; times in milliseconds.
    """
    passwords = [float(one["createdDate"]) for one in credentials if one.get("type") == "password"]
    if not passwords:
        return "the user has no password"
    if "UPDATE_PASSWORD" not in user.get("requiredActions", ()):
        return "it was used, and the user has chosen another password"
    late = max(passwords) - float(user["createdTimestamp"]) > MADE_WITH_SECONDS * 1000
    return "inv keycloak.user reset has replaced it" if late else ""


@dataclass(frozen=True)
class Users:
    """The users of the realm, kept by the account that manages them, and reads events, clients and the realm."""

    api: Api

    @classmethod
    def of(cls, project: Project) -> Users:
        return cls(Api.of(project, KEEPER))

    def find(self, name: str) -> dict[str, Any] | None:
        """A user as Keycloak describes it; None where nobody has that name."""
        found = self.api.get("/users", username=name, exact="true", briefRepresentation="false")
        return next((user for user in found if user["username"] == name), None)

    def must_find(self, name: str) -> dict[str, Any]:
        """The same. Raises UsageProblem, with a suggestion, where nobody has that name."""
        if user := self.find(name):
            return user
        names = [user["username"] for user in self.api.pages("/users", most=MOST_NAMES, briefRepresentation="true")]
        suggestion = did_you_mean(name, names[:20] if len(names) > 20 else names)
        if len(names) > 20:
            close = did_you_mean(name, names)
            suggestion = close if close.startswith("did you mean") else f"{len(names)} users, none of a name like it"
        raise UsageProblem(f'there is no user "{name}"', suggestion, "inv keycloak.user list")

    def first_password_spent(self, name: str) -> str:
        """Why the one-time password that a user was made with is not valid any more; empty where it still is."""
        user = self.find(name)
        if user is None:
            return "the user does not exist any more"
        return first_password_spent(user, self.api.get(f"/users/{user['id']}/credentials"))

    def refuse(self, asked: Asked) -> None:
        """Raises UsageProblem where a user cannot be made as asked: the name is taken, or a role does not exist."""
        if self.find(asked.name):
            raise UsageProblem(
                f'there is a user "{asked.name}" already', "nothing was changed",
                f"inv keycloak.user reset {asked.name} gives a new one-time password",
            )  # fmt: skip
        if asked.roles:
            refuse_unknown_roles(asked.roles, [role["name"] for role in self.api.get("/roles")])

    def password_rules(self) -> str:
        return password_rules(str(self.api.get("").get("passwordPolicy") or ""))

    def add(self, asked: Asked) -> dict[str, Any]:
        """Make a user with its roles, or none at all."""
        one_time = password(secrets.choice)
        roles = [self.api.get(f"/roles/{role}") for role in asked.roles]
        identity = self.api.ask("POST", "/users", new_user(asked, one_time)).location.rpartition("/")[2]
        try:
            if roles:
                self.api.ask("POST", f"/users/{identity}/role-mappings/realm", roles)
        except BaseException:
            with suppress(OpsError):
                self.api.ask("DELETE", f"/users/{identity}")
            raise
        return {"one_time_password": one_time, "roles": list(asked.roles)}

    def reset(self, user: Mapping[str, Any], *, keep_sessions: bool) -> dict[str, Any]:
        """Give a new one-time password, end the sessions and the lock."""
        one_time = password(secrets.choice)
        credential = {"type": "password", "value": one_time, "temporary": True}
        self.api.ask("PUT", f"/users/{user['id']}/reset-password", credential)
        ended = 0 if keep_sessions else self.end_sessions(user["id"])
        self.unlock(user)
        return {"one_time_password": one_time, "sessions_ended": ended, "enabled": user["enabled"]}

    def unlock(self, user: Mapping[str, Any]) -> dict[str, Any]:
        """Forget the failed logins of one user."""
        status = self.api.get(f"{LOCKS}/{user['id']}")
        locked, failures = bool(status.get("disabled")), int(status.get("numFailures", 0))
        if locked or failures:
            self.api.ask("DELETE", f"{LOCKS}/{user['id']}")
        return {"was_locked": locked, "failures": failures, "enabled": user["enabled"]}

    def disable(self, user: Mapping[str, Any]) -> dict[str, Any]:
        # First, so that nobody logs in between.
        self._enable(user, enabled=False)
        return {"sessions_ended": self.end_sessions(user["id"]), "was_enabled": user["enabled"]}

    def enable(self, user: Mapping[str, Any]) -> dict[str, Any]:
        self._enable(user, enabled=True)
        return {"was_enabled": user["enabled"]}

    def _enable(self, user: Mapping[str, Any], *, enabled: bool) -> None:
        # The whole of it: what a partial one leaves out, the user profile takes for cleared.
        self.api.ask("PUT", f"/users/{user['id']}", {**user, "enabled": enabled})

    def delete(self, user: Mapping[str, Any]) -> dict[str, Any]:
        ended = self.end_sessions(user["id"])
        self.api.ask("DELETE", f"/users/{user['id']}")
        return {"sessions_ended": ended}

    def details(self, user: Mapping[str, Any]) -> dict[str, Any]:
        """Everything that an operator may want to know of one user."""
        identity = user["id"]
        held = self.api.get(f"/users/{identity}/role-mappings/realm/composite")
        logins = last_logins(self.api.get("/events", type="LOGIN", user=identity, max=1))
        return details(
            user, [role["name"] for role in held], self.api.get(f"{LOCKS}/{identity}"), len(self.sessions(identity)),
            logins.get(identity), self.api.get(f"/users/{identity}/credentials"),
        )  # fmt: skip

    def sessions(self, identity: str) -> list[tuple[str, bool]]:
        """(id, whether it is an offline one) of every session of a user."""
        online = [(session["id"], False) for session in self.api.get(f"/users/{identity}/sessions")]
        offline = {
            session["id"]
            for client in self.api.pages("/clients")
            for session in self.api.get(f"/users/{identity}/offline-sessions/{client['id']}")
        }
        return [*online, *((one, True) for one in sorted(offline))]

    def end_sessions(self, identity: str) -> int:
        """End every session and revoke every offline token of a user; how many those were."""
        sessions = self.sessions(identity)
        self.api.ask("POST", f"/users/{identity}/logout")
        for session, offline in sessions:
            if offline:
                self.api.ask("DELETE", f"/sessions/{session}?isOffline=true", ok=(404,))
        return len(sessions)

    def list(self, search: str) -> list[User]:
        """Everybody whose name, e-mail address, first or last name holds `search`, by name."""
        asked: dict[str, Any] = {"search": f"*{search}*"} if search else {}
        # What the admin console's own list asks: the lock of each user comes along, instead of one request for each.
        raw = list(self.api.pages("/ui-ext/brute-force-user", briefRepresentation="false", **asked))
        observed = self._observed()
        return sorted((user_of(user, observed) for user in raw), key=lambda user: user.name)

    def _observed(self) -> Observed:
        roles = [role["name"] for role in self.api.get("/roles")]
        default = next((role for role in roles if role.startswith(DEFAULT_ROLES)), "")
        members = {
            role: frozenset(user["id"] for user in self.api.pages(f"/roles/{role}/users", briefRepresentation="true"))
            for role in (*assignable(roles), *([default] if default else []))
        }
        composites = self.api.get(f"/roles/{default}/composites/realm") if default else []
        active = [client["id"] for client in self.api.get("/client-session-stats") if int(client["active"])]
        sessions = [one for client in active for one in self.api.pages(f"/clients/{client}/user-sessions")]
        events = self.api.pages("/events", most=MOST_EVENTS, type="LOGIN")
        return Observed(
            members=members, default=tuple(role["name"] for role in composites), sessions=session_counts(sessions),
            logins=last_logins(events),
        )  # fmt: skip
