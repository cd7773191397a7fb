"""What one way to break Keycloak is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.drill.keycloak.hands import SLOT, Keycloak

Act = Callable[[Keycloak], None]
Suffers = Callable[[Keycloak], str]


def no_login(keycloak: Keycloak) -> str:
    """Why nobody suffers yet."""
    return "" if keycloak.login_problem() else "people can still log in"


def fails_to_start(keycloak: Keycloak) -> str:
    """It has failed to start twice, and is not just failing for the third time."""
    item = keycloak.container()
    if item.get("State", {}).get("Status") == "exited" and not item.get("RestartCount"):
        return ""
    return "" if int(item.get("RestartCount", 0)) >= 2 else "it has not failed twice yet"


def loops(keycloak: Keycloak) -> str:
    number = int(keycloak.container().get("RestartCount", 0))
    return "" if number >= 4 else f"{number} restarts are no loop yet"


def down(keycloak: Keycloak) -> str:
    item = keycloak.container()
    return "" if item.get("State", {}).get("Status") != "running" else "its container runs"


def serves(keycloak: Keycloak) -> str:
    """For what harms without stopping anybody: Keycloak has come back from the change."""
    return keycloak.login_problem()


def answers(keycloak: Keycloak) -> str:
    """For one that people cannot use: it has come back at least."""
    try:
        status = keycloak.inside(9000, "/health/ready").status_code
    except (OSError, AssertionError) as problem:
        return str(problem)[:200]
    return "" if status == 200 else f"health says {status}"


def at_once(keycloak: Keycloak) -> str:
    return ""


def mend(keycloak: Keycloak) -> None:
    keycloak.mend()


def nothing(keycloak: Keycloak) -> None:
    pass


@dataclass(frozen=True)
class Breakage:
    """One failure, made for real.

    finding: what the diagnosis must name first. undo: what puts it right without the product's help, for a repair that failed.
    suffers: why it is too early to look. beside: findings that may be certain as well, as they are the same fault seen from
    elsewhere. mends: whether `inv keycloak.fix` does it without a person. loses: whether the break itself takes rows away.
    """

    id: str
    finding: str
    break_it: Act
    undo: Act = mend
    suffers: Suffers = no_login
    beside: tuple[str, ...] = ()
    mends: bool = True
    loses: bool = False
    unwatched: bool = False
    """Whether the health ticker would mend it before it is looked at."""
    suffers_within: float = 90.0
    """Seconds until it must be felt."""

    def __str__(self) -> str:
        return self.id


def sql(statements: str, *, database: str = "postgres", disconnect: bool = True) -> Act:
    """Statements of the superuser; Keycloak's sessions end with them, as they would with the next restart of either side."""

    def act(keycloak: Keycloak) -> None:
        keycloak.psql(statements, database)
        if disconnect:
            keycloak.disconnect()

    return act


def then(*acts: Act) -> Act:
    def act(keycloak: Keycloak) -> None:
        for one in acts:
            one(keycloak)

    return act


def restart(keycloak: Keycloak) -> None:
    keycloak.restart()


def start(*slots: str) -> Act:
    def act(keycloak: Keycloak) -> None:
        for slot in slots or (SLOT,):
            keycloak.podman("start", keycloak.name(slot), ok=None)

    return act
