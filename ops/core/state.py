"""The project's folder on this host: where each thing is kept, and how it is written so that no crash leaves half a file."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.core import files as disk
from ops.core import parts
from ops.core.errors import HostLacks
from ops.secrets.at_rest import encrypted_copies as mirror

H2_FOLDER = "h2"
"""Within the state folder, while Keycloak is moved off H2: the copy and the export. It holds password hashes."""


@dataclass(frozen=True)
class State:
    """Paths below `/var/lib/cc03/<project>` (an ordinary user's data folder when not root)."""

    root: Path

    @property
    def containers_conf(self) -> Path:
        return self.root / "containers.conf"

    @property
    def seccomp(self) -> Path:
        """Seccomp profiles of containers, each named by its content: a release names the one that it was made with."""
        return self.root / "seccomp"

    @property
    def allocation(self) -> Path:
        return self.root / "allocation.json"

    @property
    def journal(self) -> Path:
        return self.root / "journal.jsonl"

    @property
    def audit(self) -> Path:
        return self.root / "audit.jsonl"

    @property
    def audit_head(self) -> Path:
        return self.root / "audit.head"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets"

    @property
    def certs(self) -> Path:
        return self.root / "certs"

    @property
    def ca(self) -> Path:
        return self.root / "ca"

    @property
    def acme(self) -> Path:
        """Accounts with issuers of public certificates, and how they have answered."""
        return self.root / "acme"

    @property
    def challenges(self) -> Path:
        """What nginx shows an issuer that asks whether the public name is ours."""
        return self.root / "challenges"

    @property
    def site_roots(self) -> Path:
        """What a client of the public site trusts: the internal roots, and those of a certificate from elsewhere."""
        site = self.ca / "site.pem"
        return site if site.is_file() else self.ca / "root.pem"

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def releases(self) -> Path:
        return self.root / "releases"

    @property
    def activations(self) -> Path:
        return self.root / "activations.jsonl"

    @property
    def schema(self) -> Path:
        return self.root / "schema.jsonl"

    @property
    def scale(self) -> Path:
        return self.root / "scale.json"

    @property
    def current(self) -> Path:
        return self.releases / "current"

    @property
    def builds(self) -> Path:
        return self.root / "builds"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def ticker(self) -> Path:
        return self.root / "ticker"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics"

    @property
    def dumps(self) -> Path:
        return self.root / "dumps"

    @property
    def backup(self) -> Path:
        """What the host hands over to the backup."""
        return self.root / "backup"

    @property
    def handed(self) -> Path:
        """Secrets as files that containers mount, `UID/NAME`, where they are encrypted at rest: Podman would copy its own."""
        return self.root / "handed"

    @property
    def prober(self) -> Path:
        return self.root / "prober"

    def prepare(self) -> None:
        """Make the folder and its parts. It is for its owner only, also where it was made with another mode: containers reach
        what they mount of it past it, since the mounts are made by root.

        Raises HostLacks where it may not be written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.root.chmod(0o700)
            for private in (self.secrets, self.ca, self.acme, self.dumps):
                if not private.is_symlink():
                    private.mkdir(exist_ok=True, mode=0o700)
            for open_to_containers in (
                self.certs,
                self.challenges,
                self.config,
                self.logs,
                self.metrics,
                self.backup,
                self.releases,
                self.builds,
                self.ticker,
                self.seccomp,
            ):
                if not open_to_containers.is_symlink():
                    open_to_containers.mkdir(exist_ok=True, mode=0o755)
        except OSError as problem:
            raise HostLacks(f"cannot write {self.root}", str(problem.strerror), "run the command as root") from problem


def state_root() -> Path:
    """Folder that holds the state of every project on this host; CC03_STATE names another one."""
    if chosen := os.environ.get("CC03_STATE"):
        return Path(chosen).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/cc03")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "cc03"


def write(path: Path, content: str | bytes, *, mode: int = 0o644, owner: int | None = None) -> None:
    """Write a whole file or none of it: a new file beside the old one, flushed to disk, then one rename. It is on the disk
    when this returns."""
    data = content.encode() if isinstance(content, str) else content
    with disk.beside(path, data, mode=mode, owner=owner) as fresh, mirror.kept(path, fresh):
        fresh.replace(path)
        disk.to_disk(path.parent)


def move(old: Path, new: Path) -> None:
    """Rename a file within its folder. It has the new name on the disk when this returns."""
    with mirror.moved(old, new):
        old.rename(new)
        disk.to_disk(new.parent)


def append_line(
    path: Path, entry: Mapping[str, Any], *, kept: int | None = None,
    needed: Callable[[Sequence[Path]], Collection[Path]] = lambda finished: (),
) -> None:  # fmt: skip
    """Append one JSON object as a line, on disk when this returns. A line that a crash cut short does not swallow it.

    Parameters
    ----------
    kept: how many finished parts (parts.py) are kept of a file that is continued in another one when it is large; None: it is
    not continued. needed: those of the finished parts, oldest first, that are kept besides.
    """
    with parts.continued(path, finishes=kept is not None) as file:
        whole = new = file.seek(0, os.SEEK_END) == 0
        if not new:
            file.seek(-1, os.SEEK_END)
            whole = file.read() == b"\n"
        file.write(("" if whole else "\n").encode() + json.dumps(entry, sort_keys=True).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
        if new:
            disk.to_disk(path.parent)
            finished = parts.finished(path)
            old = finished[:-kept] if kept else []
            parts.remove(set(old).difference(needed(finished)) if old else ())


def link(path: Path, target: str) -> None:
    """Point a symbolic link elsewhere in one rename: whoever opens it sees the old target or the new one, never none. The
    names in its folder are on the disk when this returns."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fresh.symlink_to(target)
    fresh.replace(path)
    disk.to_disk(path.parent)


def read_json(path: Path) -> Mapping[str, Any] | None:
    """The content of a JSON file; None where there is none yet."""
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return value if isinstance(value, dict) else None


def dump(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"
