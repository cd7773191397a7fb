"""Repositories on machines that do not answer, and how they are kept from holding up the others.

PostgreSQL's archiver asks all repositories before it sends anything to any. One that takes connections and says nothing held
up the local archive for more than two minutes (measured). So each is asked for a greeting, and as long as it gives none,
pgBackRest is told of a place in its stead that fails at once: the others get their WAL, and PostgreSQL keeps it for this one.
"""

import socket
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from . import configuration
from .log import log
from .paths import CONFIG
from .repositories import Repository

SECONDS = 5.0
"""For a connection, and again for the greeting."""


def split(repositories: Sequence[Repository]) -> tuple[list[Repository], dict[str, str]]:
    """(those that answer, name -> why the others do not). The tools are told where that has changed."""
    remote = [one for one in repositories if one.remote]
    if not remote:
        return list(repositories), {}
    with ThreadPoolExecutor() as pool:
        said = dict(zip((one.name for one in remote), pool.map(greeting, remote), strict=True))
    gone = {name: why for name, why in said.items() if why}
    _tell(repositories, gone)
    return [one for one in repositories if one.name not in gone], gone


def _tell(repositories: Sequence[Repository], gone: Mapping[str, str]) -> None:
    if sorted(gone) != configuration.told_away():
        configuration.write(tuple(repositories), frozenset(gone))
        log("WARNING" if gone else "INFO", "repositories that do not answer", away=dict(gone))


def greeting(repository: Repository) -> str:
    """Why a machine does not greet as one of its kind does; empty: it does."""
    try:
        if repository.kind == "s3":
            _tls(repository)
        else:
            _ssh(repository)
    except OSError as problem:
        return f"{repository.name} does not answer: {str(problem) or type(problem).__name__}"
    return ""


def _tls(repository: Repository) -> None:
    where = repository.where
    endpoint = urlsplit(where["endpoint"])
    host = str(endpoint.hostname) if where.get("path_style") else f"{where['bucket']}.{endpoint.hostname}"
    context = ssl.create_default_context(cafile=str(CONFIG / where["ca"]) if "ca" in where else None)
    with socket.create_connection((host, endpoint.port or 443), timeout=SECONDS) as plain:
        context.wrap_socket(plain, server_hostname=host).close()


def _ssh(repository: Repository) -> None:
    where = repository.where
    with socket.create_connection((where["host"], where.get("port", 22)), timeout=SECONDS) as plain:
        if not plain.recv(255).startswith(b"SSH-"):
            raise OSError("it is no SSH server")
