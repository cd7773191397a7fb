"""What stack.yaml says about backups, in the files that the two containers read. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ops.stack.repositories import OUTWARD, Repository
from ops.stack.settings import Settings

INSIDE = "/var/lib/cc03-repositories"
"""Where the backup container sees the folders of further repositories."""
OWNER = 60711
"""uid of the backup container's programs."""
SCHEDULE = ("full_at", "full_every", "diff_every", "incr_every", "drill_at", "keep", "synchronous")


def backup_toml(text: str, settings: Settings) -> str:
    """backup.toml with the settings in the place of its own values; comments stay.

    Raises ValueError where the file has no such key: a defect of this repository.
    """
    for key in SCHEDULE:
        value = getattr(settings.backup, key)
        written = json.dumps(value)
        text, found = re.subn(rf"^({key} = )(\"[^\"]*\"|\d+|true|false)", rf"\g<1>{written}", text, flags=re.MULTILINE)
        if found != 1:
            raise ValueError(f"config/backup/backup.toml has {found} lines `{key} = `")
    return text


def declared(settings: Settings) -> tuple[Repository, ...]:
    """Repositories besides the local one, in the order by which pgBackRest numbers them from 2 on."""
    return settings.repositories


def ca_file(repository: Repository) -> str:
    """Name of the file beside repositories.json that holds the certificates a server must be signed by."""
    return f"{repository.name}-ca.pem"


def repositories_json(repositories: Iterable[Repository]) -> str:
    """repositories.json, as docs/reference/backup.md describes it."""
    return json.dumps({"version": 1, "repositories": [_entry(one) for one in repositories]}, indent=1) + "\n"


def _entry(one: Repository) -> dict[str, Any]:
    where = {key: value for key, value in one.where.items() if key != "address"}
    if one.kind == "folder":
        where = {"path": f"{INSIDE}/{one.name}"}
    elif "ca" in where:
        where["ca"] = ca_file(one)
    secrets = {part: f"/run/secrets/{name}" for part, name in one.secrets.items()}
    return {
        "name": one.name, "kind": one.kind, "where": where, "keep": one.keep, "append_only": one.append_only,
        **({"secrets": secrets} if secrets else {}),
    }  # fmt: skip


def repositories_conf(own: str, number: int) -> str:
    """pgbackrest.d/repositories.conf of PostgreSQL's side: it reaches every repository by the same server.

    Parameters
    ----------
    own: its pgbackrest.conf, whose lines `repo1-host…` are repeated. number: of further repositories.
    """
    lines = re.findall(r"^repo1-(host.*)$", own, re.MULTILINE)
    return "[global]\n" + "".join(f"repo{index}-{line}\n" for index in range(2, number + 2) for line in lines)


def with_settings(service: str, files: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Mounted configuration of one service, with what the settings say about backups."""
    repositories = declared(settings)
    if service == "backup" and "backup.toml" in files:
        more = {ca_file(one): str(one.where["ca"]) for one in repositories if "ca" in one.where}
        more |= {"repositories.json": repositories_json(repositories)} if repositories else {}
        return {**files, "backup.toml": backup_toml(files["backup.toml"], settings), **more}
    if service == "postgres" and repositories and "pgbackrest.conf" in files:
        text = repositories_conf(files["pgbackrest.conf"], len(repositories))
        return {**files, "pgbackrest.d/repositories.conf": text}
    return dict(files)


def mounts(settings: Settings) -> list[str]:
    """Folders of further repositories, as compose.yaml would mount them into the backup container."""
    return [f"{one.where['path']}:{INSIDE}/{one.name}" for one in declared(settings) if not one.remote]


def with_repositories(document: dict[str, Any], settings: Settings) -> None:
    """compose.yaml with what further repositories take: mounts, credentials, and a way out where one is elsewhere.

    Parameters
    ----------
    document: compose.yaml as parsed; it is changed in place.
    """
    backup, repositories = document["services"]["backup"], declared(settings)
    remote = [one for one in repositories if one.remote]
    secrets = [name for one in remote for name in one.secrets.values()]
    backup["volumes"] = [*backup.get("volumes", []), *mounts(settings)]
    backup["secrets"] = [*backup.get("secrets", []), *secrets]
    document["secrets"] = {**document.get("secrets", {}), **{name: {"external": True} for name in secrets}}
    if remote:
        document["networks"][OUTWARD] = {}
        backup["networks"] = [*backup["networks"], OUTWARD]
    known = {name: str(one.where["address"]) for one in remote if "address" in one.where for name in one.names}
    if known:
        backup["extra_hosts"] = [f"{name}:{address}" for name, address in known.items()]


def interruption(settings: Settings) -> dict[str, Any]:
    """What compose.yaml would say of the backup container's replacement: with the receiver on, who writes waits for it."""
    if not settings.backup.synchronous:
        return {}
    return {"downtime": {"seconds": 10, "effect": "writes wait; reads continue"}}
