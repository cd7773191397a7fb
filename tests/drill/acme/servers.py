"""Issuers for the length of a drill: Pebble, in containers on this host's own network, and a DNS server that they ask."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ops.certificates import pki
from ops.core.process import until
from tests.drill.backup.servers import free_port, listening
from tests.drill.stack import Drill

IMAGE = "localhost/cc03-drill/pebble"
START_SECONDS = 30.0
LIFE_SECONDS = 90 * 86400
EAB_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
"""Pebble's own example, of no worth anywhere else."""


def build(drill: Drill) -> None:
    base = dict(drill.project.images["nginx"].bases)["trixie"]
    context = str(Path(__file__).parent / "pebble")
    argv = ("podman", "build", "--quiet", "--pull=never", "--network", "host", "--build-arg", f"BASE={base}", "--tag", IMAGE)
    drill.project.host.run((*argv, context), timeout=600)


class Container:
    """One program of that image, on this host's network."""

    def __init__(self, drill: Drill, name: str, folder: Path) -> None:
        self.host, self.name, self.folder = drill.project.host, f"{drill.project.name}-{name}", folder

    def run(self, argv: tuple[str, ...], env: Mapping[str, str], port: int) -> None:
        given = (part for name, value in env.items() for part in ("--env", f"{name}={value}"))
        start = ("podman", "run", "--detach", "--name", self.name, "--network", "host", "--pull=never", *given)
        self.host.run((*start, "--volume", f"{self.folder}:/etc/pebble:ro", IMAGE, *argv))
        reason = until(lambda: listening(port), START_SECONDS)
        assert not reason, reason

    def remove(self) -> None:
        self.host.run(("podman", "rm", "--force", "--time", "0", "--ignore", self.name))

    def pause(self) -> None:
        """It takes connections and says nothing any more."""
        self.host.run(("podman", "pause", self.name))

    def resume(self) -> None:
        self.host.run(("podman", "unpause", self.name))


class Names(Container):
    """A DNS server in which every name is this host, and a record is set by who asks for it (pebble-challtestsrv)."""

    def __init__(self, drill: Drill, folder: Path) -> None:
        super().__init__(drill, "acme-names", folder)
        self.port, self.management = free_port(), free_port()

    def start(self) -> None:
        off = ("-doh", "", "-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", "")
        at = ("-dns01", f"127.0.0.1:{self.port}", "-management", f"127.0.0.1:{self.management}")
        self.run(("pebble-challtestsrv", *off, *at), {}, self.management)

    def hook(self, folder: Path) -> Path:
        """A program as an operator writes it for his provider of DNS."""
        path = folder / "dns-hook"
        url = f"http://127.0.0.1:{self.management}"
        path.write_text(
            "#!/bin/sh -eu\n"
            'case "$1" in\n'
            f'  add)    curl -sSf -d "{{\\"host\\": \\"$2.\\", \\"value\\": \\"$3\\"}}" {url}/set-txt ;;\n'
            f'  remove) curl -sSf -d "{{\\"host\\": \\"$2.\\"}}" {url}/clear-txt ;;\n'
            "esac\n"
        )
        path.chmod(0o755)
        return path


class Pebble(Container):
    """An issuer. `rejects`: share of good nonces, in percent, that it refuses. `answers_at`: port at which it looks for our
    answer; 0: nginx' own. `eab`: whether it opens accounts for its own customers only."""

    def __init__(
        self, drill: Drill, name: str, folder: Path, names: Names, *, rejects: int = 5, answers_at: int = 0, eab: bool = False
    ) -> None:  # fmt: skip
        folder.mkdir(exist_ok=True)
        super().__init__(drill, f"acme-{name}", folder)
        self.issuer, self.names, self.rejects, self.eab = name, names, rejects, eab
        self.port, self.management = free_port(), free_port()
        self.answers_at = answers_at or drill.project.ports["http"]

    def start(self) -> None:
        self.remove()
        now = datetime.now(UTC)
        root = pki.make_root("drill", now)
        signer = pki.make_intermediate(root, "drill", now)
        leaf = pki.issue(signer, "pebble", ["localhost"], now)
        files = {"ca.pem": root.certificate, "cert.pem": leaf.certificate + signer.certificate, "key.pem": leaf.key}
        for file, content in files.items():
            (self.folder / file).write_bytes(content)
        (self.folder / "config.json").write_text(json.dumps({"pebble": self._config()}))
        env = {"PEBBLE_WFE_NONCEREJECT": str(self.rejects), "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0"}
        program = ("pebble", "-strict", "-config", "config.json", "-dnsserver", f"127.0.0.1:{self.names.port}")
        self.run(program, env, self.port)

    def _config(self) -> dict[str, Any]:
        return {
            "listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": "cert.pem", "privateKey": "key.pem", "httpPort": self.answers_at, "tlsPort": free_port(),
            "ocspResponderURL": "", "externalAccountBindingRequired": self.eab, "retryAfter": {"authz": 1, "order": 1},
            "externalAccountMACKeys": {"customer": EAB_KEY} if self.eab else {}, "certificateValidityPeriod": LIFE_SECONDS,
        }  # fmt: skip

    @property
    def ca(self) -> str:
        """By which its own TLS is verified."""
        return (self.folder / "ca.pem").read_text()

    def roots(self) -> str:
        """Of what it issues; others at each start."""
        answer = requests.get(f"https://localhost:{self.management}/roots/0", verify=str(self.folder / "ca.pem"), timeout=10)
        return answer.text

    def entry(self, *, port: int = 0, trusted: bool = True, **more: Any) -> dict[str, Any]:
        """Of stack.yaml. `port`: of what stands before it. `trusted`: whether clients trust what it issues."""
        ca = self.ca + (self.roots() if trusted else "")
        return {"name": self.issuer, "directory": f"https://localhost:{port or self.port}/dir", "ca": ca, **more}

    def account(self, drill: Drill) -> Any:
        return load_pem_private_key((drill.project.state.acme / f"{self.issuer}.key").read_bytes(), None)
