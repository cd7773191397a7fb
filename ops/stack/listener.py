"""A port that speaks TLS, for those who ask it: the health supervisor has a copy of this module. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SITE = "site.pem"
"""Beside the internal roots: these, and those of a certificate from elsewhere that the public site has."""


@dataclass(frozen=True)
class Listener:
    """One port of one container that speaks TLS.

    `name`: of the certificate. `protocol`: `tls`, `postgres` (which asks for TLS first) or `proxy` (which expects a header of
    the PROXY protocol first). `server_name`: what a client asks for and verifies. `file`: the stored certificate with its key,
    which also serves as the client's where one is asked for.
    `ca`: what is trusted. `public`: whether strangers are its clients.
    """

    name: str
    service: str
    slot: str
    container: str
    address: str
    port: int
    protocol: str
    server_name: str
    file: str
    ca: str
    public: bool = False

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Listener:
        return cls(**value)

    def trusted(self) -> str:
        """The file of roots that its clients trust."""
        site = Path(self.ca).with_name(SITE)
        return str(site) if self.public and site.is_file() else self.ca
