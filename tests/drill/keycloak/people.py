"""Those whom Keycloak knows: users with passwords, clients, open sessions. Made, counted, and logged in again later."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from ops.keycloak.schema.dump import ask
from tests.drill.stack import Drill
from tests.smoke.accounts import Accounts, Login
from tests.smoke.live import Live

PREFIX = "drill-"
EMPTY = ("databasechangelog", "databasechangeloglock", "migration_model", "event_entity", "admin_event_entity")
"""Tables that say how the schema was made, or what happened: they are expected to differ."""
COUNT = """
SELECT t || '=' || (xpath('/row/c/text()', query_to_xml('SELECT count(*) AS c FROM ' || quote_ident(t), false, true, '')))[1]
  FROM (SELECT table_name::text AS t FROM information_schema.tables
         WHERE table_schema = 'public' AND table_type = 'BASE TABLE') x ORDER BY t;
"""


def rows(stack: Drill, database: str = "keycloak") -> dict[str, int]:
    """Table -> rows, of every table of Keycloak."""
    project = stack.project
    found = (line.split("=") for line in ask(project.engine, database, COUNT).splitlines())
    return {name: int(number) for name, number in found if name not in EMPTY}


@dataclass
class People:
    """Users, clients and sessions that a test has made."""

    stack: Drill
    passwords: dict[str, str] = field(default_factory=dict)
    refresh: dict[str, str] = field(default_factory=dict)
    """User -> refresh token of the session that was opened."""

    @property
    def live(self) -> Live:
        return Live(self.stack.project)

    def make(self, users: int, clients: int = 0, sessions: int = 0) -> None:
        accounts = Accounts(self.live)
        for _ in range(users):
            name, password = PREFIX + secrets.token_hex(5), secrets.token_urlsafe(24)
            credentials = [{"type": "password", "value": password, "temporary": False}]
            user = {"username": name, "enabled": True, "email": f"{name}@drill.invalid", "emailVerified": True,
                    "firstName": "Drill", "lastName": "User", "credentials": credentials}  # fmt: skip
            accounts.admin("POST", "/users", json=user)
            self.passwords[name] = password
        for number in range(clients):
            client = {"clientId": f"{PREFIX}client-{number}", "publicClient": False, "serviceAccountsEnabled": True}
            accounts.admin("POST", "/clients", json=client)
        for name in list(self.passwords)[-sessions:] if sessions else ():
            self.refresh[name] = Login(self.live).tokens(name, self.passwords[name])["refresh_token"]

    def assert_everybody_gets_in(self, number: int = 5) -> None:
        """Users log in by password, and the sessions that were open go on."""
        for name in list(self.passwords)[:number]:
            assert Login(self.live).tokens(name, self.passwords[name])["access_token"], name
        for name, token in self.refresh.items():
            answer = Login(self.live).refresh(token)
            assert answer.status_code == 200, f"the session of {name} is gone: {answer.text[:200]}"
            self.refresh[name] = answer.json()["refresh_token"]

    def remove(self) -> None:
        accounts = Accounts(self.live)
        for user in accounts.admin("GET", "/users", params={"search": PREFIX, "max": "1000"}).json():
            accounts.admin("DELETE", f"/users/{user['id']}")
        for client in accounts.admin("GET", "/clients", params={"search": "true", "clientId": f"{PREFIX}client-"}).json():
            accounts.admin("DELETE", f"/clients/{client['id']}")
        self.passwords.clear()
        self.refresh.clear()
