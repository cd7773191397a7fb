"""Passwords of PostgreSQL's roles and of Redis' users, told and tried inside their own containers, on standard input."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ops.core.errors import OpsError
from ops.engines.podman import argv as podman
from ops.engines.podman import postgres
from ops.project import Project
from ops.stack.render import container_name, login_of

SECONDS = 30.0
HOME = {"app": "app", "app_2": "app", "app_migration": "app", "keycloak": "keycloak", "grafana": "grafana"}
"""Role -> the one database that it reaches; the others reach `postgres`."""
WRONG = 1
"""Exit code of compose/redis/bin/log-in where the password is refused."""


def set_role(project: Project, name: str, values: Sequence[tuple[int, str]]) -> None:
    """Where it is so already, nothing is written."""
    _set_roles(project, [name], values[-1][1], name)


def set_pair(project: Project, name: str, values: Sequence[tuple[int, str]]) -> None:
    """With one value both roles get it: who knows nothing of the second one logs in as well. With two, only the newer one's.

    Only the role of the newest version has to be let in: the other one may be what a change was put back for.
    """
    version, value = values[-1]
    user = login_of(name, version)
    _set_roles(project, [user] if len(values) > 1 else [login_of(name, 1), login_of(name, 2)], value, user)


def _set_roles(project: Project, names: Iterable[str], value: str, user: str) -> None:
    """user: the one that has to be let in."""
    container = container_name(project.name, "postgres")
    wrong = [name for name in names if _refused(project, name, value)]
    if not wrong:
        return
    statements = "\n".join(f"ALTER ROLE {name} PASSWORD :'value';" for name in wrong)
    postgres.execute(project.host, container, "postgres", statements, {"value": value})
    if user in wrong and (said := _refused(project, user, value)):
        raise OpsError(f"PostgreSQL refuses {user} with the password that it was just given", said, "inv status")


def _refused(project: Project, name: str, value: str) -> str:
    container = container_name(project.name, "postgres")
    return postgres.login_problem(project.host, container, name, HOME.get(name, "postgres"), value, SECONDS)


def role_accepts(project: Project, name: str, version: int, value: str) -> bool:
    return not _refused(project, name, value)


def pair_accepts(project: Project, name: str, version: int, value: str) -> bool:
    """Whether either of the two lets it in."""
    return any(not _refused(project, login_of(name, number), value) for number in (version, version + 1))


def set_user(project: Project, name: str, values: Sequence[tuple[int, str]]) -> None:
    argv = podman.exec_with_input(container_name(project.name, "redis"), ("set-passwords", name))
    lines = "".join(f"{value}\n" for _, value in values)
    answer = project.host.run(argv, timeout=SECONDS, stdin=lines, ok=None)
    if answer.returncode:
        raise OpsError(f"Redis does not take a password of {name}", answer.last_words(1), "inv logs redis --since 10m")


def user_accepts(project: Project, name: str, version: int, value: str) -> bool:
    """Raises OpsError where Redis does not answer."""
    argv = podman.exec_with_input(container_name(project.name, "redis"), ("log-in", name))
    answer = project.host.run(argv, timeout=SECONDS, stdin=value + "\n", ok=None)
    if answer.returncode not in (0, WRONG):
        raise OpsError("Redis does not answer", answer.last_words(1), "inv logs redis --since 10m")
    return answer.returncode == 0
