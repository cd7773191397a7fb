"""Redis as one file, fetched as a replica would, proven readable before it counts."""

import hashlib
import os
import re
from pathlib import Path

from . import command
from .errors import JobError
from .paths import CERTIFICATES, OWN_CERTIFICATE, SECRETS

FETCH = [
    "redis-cli", "-h", "redis", "--tls", "--cacert", CERTIFICATES / "ca.pem", "--cert", OWN_CERTIFICATE,
    "--key", OWN_CERTIFICATE, "--user", "backup", "--no-auth-warning", "--rdb",
]  # fmt: skip
CHECK = ["redis-check-rdb"]
SECRET = SECRETS / "redis-backup"
DEADLINE = 900


def take(target: Path) -> dict:
    """{keys, expires, bytes, sha256}; `expires` are the keys that end by themselves."""
    # In the environment of this one child, since argv is readable by everybody.
    command.run([*FETCH, target], deadline=DEADLINE, env={"REDISCLI_AUTH": SECRET.read_text().strip()})
    with target.open("rb") as stream:
        os.fsync(stream.fileno())
    return {**check(target), "bytes": target.stat().st_size, "sha256": digest(target)}


def check(path: Path) -> dict:
    """Has redis-check-rdb read all of it, its checksum included."""
    return parse_check(command.run([*CHECK, path], deadline=DEADLINE))


def parse_check(text: str) -> dict:
    """Raises JobError where the report does not say how many keys there are."""
    keys, expires = re.search(r"(\d+) keys read", text), re.search(r"(\d+) expires", text)
    if not keys:
        raise JobError(f"redis-check-rdb: {' '.join(text.split())[-300:]}")
    return {"keys": int(keys[1]), "expires": int(expires[1]) if expires else 0}


def digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
