"""What stack.yaml says about backups, in the files that the two containers read. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ops.settings import Settings

INSIDE = "/var/lib/cc03-repositories"
"""Where the backup container sees the folders of further repositories."""
SCHEDULE = ("full_at", "full_every", "diff_every", "incr_every", "drill_at", "keep", "synchronous")


def backup_toml(text: str, settings: Settings) -> str:
    """backup.toml with the settings in the place of its own values; comments stay.

    Raises ValueError where the file has no such key: a defect of this repository.
    """
    for key in SCHEDULE:
        value = settings.get("backup", key)
        written = json.dumps(value)
        text, found = re.subn(rf"^({key} = )(\"[^\"]*\"|\d+|true|false)", rf"\g<1>{written}", text, flags=re.MULTILINE)
        if found != 1:
            raise ValueError(f"config/backup/backup.toml has {found} lines `{key} = `")
    return text


def repositories_json(repositories: Sequence[Mapping[str, Any]]) -> str:
    """repositories.json, as docs/reference/backup.md describes it."""
    listed = [
        {
            "name": one["name"], "kind": "folder", "where": {"path": f"{INSIDE}/{one['name']}"}, "keep": one["keep"],
            "append_only": one["append_only"],
        }
        for one in repositories
    ]  # fmt: skip
    return json.dumps({"version": 1, "repositories": listed}, indent=1) + "\n"


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
    repositories = settings.get("backup", "repositories")
    if service == "backup" and "backup.toml" in files:
        more = {"repositories.json": repositories_json(repositories)} if repositories else {}
        return {**files, "backup.toml": backup_toml(files["backup.toml"], settings), **more}
    if service == "postgres" and repositories and "pgbackrest.conf" in files:
        text = repositories_conf(files["pgbackrest.conf"], len(repositories))
        return {**files, "pgbackrest.d/repositories.conf": text}
    return dict(files)


def mounts(settings: Settings) -> list[str]:
    """Folders of further repositories, as compose.yaml would mount them into the backup container."""
    return [f"{one['path']}:{INSIDE}/{one['name']}" for one in settings.get("backup", "repositories")]


def interruption(settings: Settings) -> dict[str, Any]:
    """What compose.yaml would say of the backup container's replacement: with the receiver on, who writes waits for it."""
    if not settings.get("backup", "synchronous"):
        return {}
    return {"gap_seconds": 10, "interrupts": "who writes waits; reading goes on"}
