"""Users of the realm, through the admin API: made, found, listed, locked out and let in again."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ops.core.errors import OpsError, UsageProblem, did_you_mean
from ops.keycloak.admin import KEEPER, Api
from ops.keycloak.users import plan
from ops.keycloak.users.plan import Asked, Seen, User
from ops.project import Project

ACCOUNT = KEEPER
"""In whose name users are kept: it manages users, and reads events, clients and the realm."""
MOST_EVENTS = 10_000
"""Logins that are read to tell each user's last one, the newest first."""
MOST_NAMES = 2_000
"""Names among which a mistyped one is looked for."""
LOCKS = "/attack-detection/brute-force/users"


@dataclass(frozen=True)
class Users:
    """The users of the realm."""

    api: Api

    @classmethod
    def of(cls, project: Project) -> Users:
        return cls(Api.of(project, ACCOUNT))

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
        return plan.first_password_spent(user, self.api.get(f"/users/{user['id']}/credentials"))

    def refuse(self, asked: Asked) -> None:
        """Raises UsageProblem where a user cannot be made as asked: the name is taken, or a role does not exist."""
        if self.find(asked.name):
            raise UsageProblem(
                f'there is a user "{asked.name}" already', "nothing was changed",
                f"inv keycloak.user reset {asked.name} gives a new one-time password",
            )  # fmt: skip
        if asked.roles:
            plan.refuse_unknown_roles(asked.roles, [role["name"] for role in self.api.get("/roles")])

    def password_rules(self) -> str:
        return plan.password_rules(str(self.api.get("").get("passwordPolicy") or ""))

    def add(self, asked: Asked) -> str:
        """Make a user with its roles, or none at all. Returns the one-time password."""
        one_time = plan.password(secrets.choice)
        roles = [self.api.get(f"/roles/{role}") for role in asked.roles]
        identity = self.api.ask("POST", "/users", plan.new_user(asked, one_time)).location.rpartition("/")[2]
        try:
            if roles:
                self.api.ask("POST", f"/users/{identity}/role-mappings/realm", roles)
        except BaseException:
            with suppress(OpsError):
                self.api.ask("DELETE", f"/users/{identity}")
            raise
        return one_time

    def reset(self, identity: str, *, keep_sessions: bool) -> tuple[str, int]:
        """Give a new one-time password, end the sessions and the lock. Returns the password and the number of sessions."""
        one_time = plan.password(secrets.choice)
        credential = {"type": "password", "value": one_time, "temporary": True}
        self.api.ask("PUT", f"/users/{identity}/reset-password", credential)
        ended = 0 if keep_sessions else self.end_sessions(identity)
        self.unlock(identity)
        return one_time, ended

    def unlock(self, identity: str) -> Mapping[str, Any]:
        """Forget the failed logins of one user. Returns what was counted until then."""
        status: Mapping[str, Any] = self.api.get(f"{LOCKS}/{identity}")
        if status.get("disabled") or status.get("numFailures"):
            self.api.ask("DELETE", f"{LOCKS}/{identity}")
        return status

    def enable(self, user: Mapping[str, Any], *, enabled: bool) -> None:
        # The whole of it: what a partial one leaves out, the user profile takes for cleared.
        self.api.ask("PUT", f"/users/{user['id']}", {**user, "enabled": enabled})

    def delete(self, identity: str) -> None:
        self.api.ask("DELETE", f"/users/{identity}")

    def details(self, user: Mapping[str, Any]) -> dict[str, Any]:
        """Everything that an operator may want to know of one user."""
        identity = user["id"]
        held = self.api.get(f"/users/{identity}/role-mappings/realm/composite")
        logins = plan.last_logins(self.api.get("/events", type="LOGIN", user=identity, max=1))
        return plan.details(
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
        seen = self._seen()
        return sorted((plan.user_of(user, seen) for user in raw), key=lambda user: user.name)

    def _seen(self) -> Seen:
        roles = [role["name"] for role in self.api.get("/roles")]
        default = next((role for role in roles if role.startswith(plan.DEFAULT_ROLES)), "")
        members = {
            role: frozenset(user["id"] for user in self.api.pages(f"/roles/{role}/users", briefRepresentation="true"))
            for role in (*plan.assignable(roles), *([default] if default else []))
        }
        composites = self.api.get(f"/roles/{default}/composites/realm") if default else []
        active = [client["id"] for client in self.api.get("/client-session-stats") if int(client["active"])]
        sessions = [one for client in active for one in self.api.pages(f"/clients/{client}/user-sessions")]
        events = self.api.pages("/events", most=MOST_EVENTS, type="LOGIN")
        return Seen(
            members=members, default=tuple(role["name"] for role in composites), sessions=plan.session_counts(sessions),
            logins=plan.last_logins(events),
        )  # fmt: skip
