"""The signed list of what a set consists of. It ties PostgreSQL's backup to the files of the same moment."""

import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path

from . import command
from .errors import JobError
from .paths import DATA, HOST, RUN

VERSION = 1
KEY = RUN / "signing.der"
SIGNERS = HOST / "signers.pem"
"""Public keys of all versions of the secret: what an older one has signed stays good."""
PEM = re.compile("-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----\n", re.DOTALL)
NAME, SIGNATURE = "manifest.json", "manifest.sig"
FACTS = "facts.json"
"""Member of host.tar in which the host says what ran: release, checkout, images."""


def build(*, name: str, kind: str, project: str, parts: Mapping[str, object]) -> dict:
    """`parts`: labels, fingerprint, redis, prometheus, logs, host, tools, missing."""
    return {"version": VERSION, "set": name, "kind": kind, "project": project, **parts}


def text(manifest: Mapping[str, object]) -> str:
    return json.dumps(manifest, indent=1, sort_keys=True) + "\n"


def write(manifest: Mapping[str, object], folder: Path, key: Path = KEY) -> None:
    (folder / NAME).write_text(text(manifest))
    # One line each: what is signed is a file, since Ed25519 reads its message twice.
    command.run(
        ["openssl", "pkeyutl", "-sign", "-keyform", "DER", "-inkey", key, "-rawin", "-in", folder / NAME,
         "-out", folder / SIGNATURE],
        deadline=30,
    )  # fmt: skip


def public_key(key: Path = KEY) -> str:
    return command.run(["openssl", "pkey", "-inform", "DER", "-in", key, "-pubout"], deadline=30)


def public_keys(key: Path = KEY, signers: Path = SIGNERS) -> str:
    """Those of this stack: the present one, and all that it has ever signed with, as the host says."""
    return public_key(key) + (signers.read_text() if signers.exists() else "")


def read(folder: Path, public: str) -> dict:
    """Raises JobError where the signature is of none of these keys. `public`: PEM, one after the other."""
    if not any(_signed_by(folder, one) for one in dict.fromkeys(PEM.findall(public))):
        raise JobError("the manifest was not signed by this stack, or was altered since")
    document = json.loads((folder / NAME).read_text())
    if document["version"] != VERSION:
        raise JobError(f"the manifest has version {document['version']}, this program reads {VERSION}")
    return document


def _signed_by(folder: Path, public: str) -> bool:
    trusted = folder / "trusted.pem"
    trusted.write_text(public)
    try:
        command.run(
            ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", trusted, "-rawin", "-in", folder / NAME,
             "-sigfile", folder / SIGNATURE],
            deadline=30,
        )  # fmt: skip
    except JobError:
        return False
    finally:
        trusted.unlink()
    return True


def facts(archive: Path) -> dict:
    """What host.tar says of itself, and how many members it has: what they hold is encrypted, and the host proves that it opens
    (inv backup.verify). Raises JobError where it cannot be read to its end."""
    try:
        with tarfile.open(archive) as opened:
            names, said = 0, {}
            for member in opened:
                names += 1
                stream = opened.extractfile(member) if member.isfile() else None
                if stream and member.name.removeprefix("./") == FACTS:
                    said = json.loads(stream.read())
                elif stream:
                    while stream.read(2**20):
                        pass
    except (tarfile.TarError, OSError, ValueError) as error:
        raise JobError(f"host.tar cannot be read: {error}") from None
    if not names:
        raise JobError("host.tar is empty")
    return {"members": names, "facts": said}


def prometheus_blocks(folder: Path = DATA / "prometheus") -> list[str]:
    """Names (ULIDs) of the completed blocks."""
    return sorted(path.name for path in folder.iterdir() if (path / "meta.json").is_file())


def tools() -> dict[str, str]:
    asked = {"pgbackrest": ["pgbackrest", "version"], "restic": ["restic", "version"], "redis": ["redis-server", "--version"]}
    said = {name: command.run(argv, deadline=30).strip() for name, argv in asked.items()}
    said["postgres"] = command.run(["/usr/lib/postgresql/15/bin/postgres", "--version"], deadline=30).strip()
    return said
