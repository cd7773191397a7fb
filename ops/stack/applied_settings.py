"""What stack.yaml adds to compose.yaml and to mounted configuration: further repositories of backups, receivers of alerts, the
PROXY protocol. Pure.

The PROXY protocol has a port of its own: a listener that expects its header refuses every other connection, and the site's port
is also that of the prober, the audit, browsers of this host and load balancers that speak HTTP. docs/adr/0046-proxy-protocol.md
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ops.stack import alert_receivers
from ops.stack.alert_receivers import BASE, alertmanager_files
from ops.stack.model import EDGE
from ops.stack.repositories import OUTWARD, Repository, given
from ops.stack.settings import Settings

# ---- Backups

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

    own: its pgbackrest.conf, whose lines `repo1-host…` are repeated. number: of further repositories.
    """
    lines = re.findall(r"^repo1-(host.*)$", own, re.MULTILINE)
    return "[global]\n" + "".join(f"repo{index}-{line}\n" for index in range(2, number + 2) for line in lines)


def with_settings(service: str, files: Mapping[str, str], settings: Settings) -> dict[str, str]:
    """Mounted configuration of one service, with what the settings say about backups and alerts."""
    repositories = settings.repositories
    if service == "backup" and "backup.toml" in files:
        more = {ca_file(one): str(one.where["ca"]) for one in repositories if "ca" in one.where}
        more |= {"repositories.json": repositories_json(repositories)} if repositories else {}
        return {**files, "backup.toml": backup_toml(files["backup.toml"], settings), **more}
    if service == "postgres" and repositories and "pgbackrest.conf" in files:
        text = repositories_conf(files["pgbackrest.conf"], len(repositories))
        return {**files, "pgbackrest.d/repositories.conf": text}
    if service == ALERTMANAGER and BASE in files:
        return alertmanager_files(files, settings.alerts)
    return dict(files)


def mounts(settings: Settings) -> list[str]:
    """Folders of further repositories, as compose.yaml would mount them into the backup container."""
    return [f"{one.where['path']}:{INSIDE}/{one.name}" for one in settings.repositories if not one.remote]


def with_repositories(document: dict[str, Any], settings: Settings) -> None:
    """compose.yaml with what further repositories take: mounts, credentials, and a way out where one is elsewhere.

    document: compose.yaml as parsed; it is changed in place.
    """
    backup, repositories = document["services"]["backup"], settings.repositories
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


# ---- Receivers of alerts on other machines

ALERTING = "alerting"
"""Exists where stack.yaml declares a receiver on another machine; Alertmanager alone stands on it."""
ALERTMANAGER = "alertmanager"


def with_way_out(document: dict[str, Any], settings: Settings) -> tuple[str, ...]:
    """Put Alertmanager on a network that leads out, with the secrets of its receivers, where `alerts` declares any.

    Returns host and port of everything that it may connect to.

    document: compose.yaml as parsed; it is changed in place.
    """
    if ALERTMANAGER not in document["services"]:
        return settings.alerts.reached
    alertmanager, secrets = document["services"][ALERTMANAGER], settings.alerts.secrets
    if settings.alerts.reached:
        document["networks"][ALERTING] = {}
        alertmanager["networks"] = [*alertmanager["networks"], ALERTING]
    if secrets:
        alertmanager["secrets"] = [*alertmanager.get("secrets", []), *secrets]
        document["secrets"] = {**document.get("secrets", {}), **{name: {"external": True} for name in secrets}}
    return settings.alerts.reached


def issued(secret: str) -> tuple[str, str]:
    """Of a secret that is issued elsewhere: what it is, and the command that stores it. Empty: it is generated here."""
    if repository := given(secret):
        return f"the credentials of the repository {repository}", f"inv backup.credentials {repository} FILE"
    if receiver := alert_receivers.given(secret):
        return f"the URL or password of the receiver {receiver} of alerts", f"inv alerts.credentials {receiver} FILE"
    return "", ""


# ---- Load balancers that pass on TCP

PROXY_PORT = "proxy_protocol"
"""Of the port, below `ports` in stack.yaml; without it there is no such listener."""
PROXY_LISTENS = 8444
"""nginx' own port for it (config/nginx/public.conf)."""
PROXY_HOLDER = "edge"
PROXY = "proxy"
"""How TLS begins there: after that header."""


def with_listener(document: dict[str, Any], ports: Mapping[str, int]) -> None:
    """Publish the listener where there is a port for it.

    document: compose.yaml as parsed; it is changed in place.
    """
    services = document["services"]
    if PROXY_PORT in ports and PROXY_HOLDER in services:
        services[PROXY_HOLDER]["ports"] = [*services[PROXY_HOLDER]["ports"], f"{ports[PROXY_PORT]}:{PROXY_LISTENS}"]
        services[EDGE]["x-cc03"]["tls"]["ports"][str(PROXY_LISTENS)] = PROXY


def filled(ports: Mapping[str, int]) -> dict[str, str]:
    """What nginx' configuration takes from it.

    Load balancers are believed in one way only: one that passes on TCP passes on whatever `X-Forwarded-For` a client writes.
    """
    on = PROXY_PORT in ports
    return {
        "CC03_PROXY_PROTOCOL_OFF": "" if on else "# ",
        "CC03_CLIENT_ADDRESS": PROXY_PORT if on else "X-Forwarded-For",
    }
