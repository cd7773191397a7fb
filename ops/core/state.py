"""The project's folder on this host: where each thing is kept."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ops.core.errors import HostLacks

H2_FOLDER = "h2"
"""Within the state folder, while Keycloak is moved off H2: the copy and the export. It holds password hashes."""


class Below:
    """A path below the state folder."""

    def __init__(self, within: str) -> None:
        self.within = within

    def __get__(self, state: State, owner: type[State]) -> Path:
        return state.root / self.within


@dataclass(frozen=True)
class State:
    """Paths below `/var/lib/cc03/<project>` (an ordinary user's data folder when not root)."""

    root: Path

    containers_conf = Below("containers.conf")
    seccomp = Below("seccomp")
    """Seccomp profiles of containers, each named by its content: a release names the one that it was made with."""
    allocation = Below("allocation.json")
    journal = Below("journal.jsonl")
    audit = Below("audit.jsonl")
    audit_head = Below("audit.head")
    lock = Below("lock")
    secrets = Below("secrets")
    certs = Below("certs")
    ca = Below("ca")
    acme = Below("acme")
    """Accounts with issuers of public certificates, and how they have answered."""
    challenges = Below("challenges")
    """What nginx shows an issuer that asks whether the public name is ours."""
    config = Below("config")
    releases = Below("releases")
    current = Below("releases/current")
    activations = Below("activations.jsonl")
    schema = Below("schema.jsonl")
    scale = Below("scale.json")
    builds = Below("builds")
    logs = Below("logs")
    ticker = Below("ticker")
    metrics = Below("metrics")
    dumps = Below("dumps")
    backup = Below("backup")
    """What the host provides to the backup container."""
    handed = Below("handed")
    """Secrets as files that containers mount, `UID/NAME`, where they are encrypted at rest: Podman would copy its own."""
    prober = Below("prober")
    security_audit = Below("security-audit.json")
    """What the last `inv audit` found."""

    @property
    def site_roots(self) -> Path:
        """What a client of the public site trusts: the internal roots, and those of a certificate from elsewhere."""
        site = self.ca / "site.pem"
        return site if site.is_file() else self.ca / "root.pem"

    def prepare(self) -> None:
        """Make the folder and its parts. It is for its owner only, also where it was made with another mode: containers reach
        what they mount of it past it, since the mounts are made by root.

        Raises HostLacks where it may not be written.
        """
        private = (self.secrets, self.ca, self.acme, self.dumps)
        open_to_containers = (
            self.certs, self.challenges, self.config, self.logs, self.metrics, self.backup, self.releases, self.builds,
            self.ticker, self.seccomp,
        )  # fmt: skip
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.root.chmod(0o700)
            for folder, mode in {**dict.fromkeys(private, 0o700), **dict.fromkeys(open_to_containers, 0o755)}.items():
                if not folder.is_symlink():
                    folder.mkdir(exist_ok=True, mode=mode)
        except OSError as problem:
            raise HostLacks(f"cannot write {self.root}", str(problem.strerror), "run the command as root") from problem


def state_root() -> Path:
    """Folder that holds the state of every project on this host; CC03_STATE names another one."""
    if chosen := os.environ.get("CC03_STATE"):
        return Path(chosen).absolute()
    if os.geteuid() == 0:
        return Path("/var/lib/cc03")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "cc03"
