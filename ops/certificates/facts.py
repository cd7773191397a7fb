"""Every certificate as it is served and as it is stored, side by side: what `inv certs` shows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from cryptography import x509

from ops.certificates import observed as seen
from ops.certificates.leaves import IMPORTED, Stored
from ops.certificates.listening import file_of, listeners
from ops.certificates.served.handshake import Listener, Served, difference, look
from ops.engines.podman.observe import inspected_containers
from ops.engines.podman.supervisor.health import state_of
from ops.project import Project

NOT_RUNNING = "its container does not run"


@dataclass(frozen=True)
class Row:
    """One certificate. `served`: where -> what was shown there, and why that is not as it should be."""

    stored: Stored
    file: str
    served: Mapping[str, tuple[Served | None, str]]

    def findings(self) -> tuple[str, ...]:
        """What is wrong, in words."""
        name = self.stored.leaf.name
        of_file = [f"{name} on disk: {why}" for why in self.stored.problems]
        half = [f"{name}: a rotation was interrupted; inv certs.rotate completes it"] if self.stored.begun else []
        return (*of_file, *half, *(f"{name} at {at}: {why}" for at, (_, why) in self.served.items() if why))

    def as_json(self) -> dict[str, Any]:
        one = self.stored
        about = one.facts
        return {
            "name": one.leaf.name, "service": one.leaf.service, "source": one.source, "file": self.file,
            "names": list(about.names) if about else [], "issuer": about.issuer if about else "",
            "serial": about.serial if about else "", "key": about.key if about else "",
            "begins": f"{about.begins:%FT%TZ}" if about else None, "expires": f"{about.expires:%FT%TZ}" if about else None,
            "renewal": f"{one.renew_after:%FT%TZ}" if one.renew_after and one.source != IMPORTED else None,
            "chain_complete": not any("chain" in why for why in one.problems), "mode": f"{one.mode:04o}", "owner": one.owner,
            "served": [
                {"at": at, "serial": _serial(served), "as_it_should_be": not why, "why": why}
                for at, (served, why) in self.served.items()
            ],
            "findings": list(self.findings()),
        }  # fmt: skip


def _serial(served: Served | None) -> str:
    if served is None or not served.certificate:
        return ""
    return f"{x509.load_der_x509_certificate(served.certificate).serial_number:X}"


def survey(project: Project) -> list[Row]:
    """Look at every certificate and shake hands with every listener, side by side."""
    now = dt.datetime.now(dt.UTC)
    found = inspected_containers(project.host)
    leaves = seen.leaves_of(project)
    listening = listeners(project.state, project.stack, project.deployed.allocation, leaves)

    def shake(listener: Listener) -> tuple[Served | None, str]:
        item = found.get(listener.slot)
        if item is None or state_of(item) != "running":
            return None, NOT_RUNNING
        served = look(listener, int(item["State"]["Pid"]))
        return served, difference(listener, served)

    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = list(zip(listening, pool.map(shake, listening), strict=True))
    return [
        Row(
            seen.stored(project.state, leaf, now), str(file_of(project.state, leaf)),
            {f"{at.slot}:{at.port}": answer for at, answer in answers if at.name == leaf.name},
        )
        for leaf in leaves
    ]  # fmt: skip


def roots_as_handed_out(project: Project) -> list[str]:
    """Services whose file of trusted roots is not the authority's."""
    roots = (project.state.ca / "root.pem").read_bytes() if (project.state.ca / "root.pem").is_file() else b""
    wrong = []
    for leaf in seen.leaves_of(project):
        path = project.state.certs / leaf.service / "ca.pem"
        if not leaf.public and roots and (not path.is_file() or path.read_bytes() != roots):
            wrong.append(f"{leaf.service} trusts other roots than {project.state.ca}/root.pem; inv certs.rotate hands them out")
    return wrong
