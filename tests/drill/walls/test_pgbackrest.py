"""pgBackRest serves the one service that its configuration names, and not whoever has a certificate of the same authority."""

from __future__ import annotations

import pytest

from ops.core.process import Result
from ops.project import Project
from ops.stack.render import container_name
from tests.drill.stack import Drill

DENIED = "access denied"
FOLDERS = {"backup": ("/var/lib/pgbackrest/postgres", "archive"), "postgres": ("/var/lib/postgresql", "data")}
"""Server -> a folder of it, and what lies there."""
CLIENT = {"backup": "postgres", "postgres": "backup"}
INTRUDERS = ("redis", "backend-1", "keycloak", "prometheus")
"""All that share the network `data` with both servers. Grafana is optional."""


def listed(project: Project, slot: str, server: str, stanza: str = "main") -> Result:
    """A listing of the server's folder, asked with the certificate and from the network of a container."""
    service = project.stack.service_of(slot)
    tls = {"ca": "ca.pem", "cert": "tls.pem", "key": "tls.pem"}
    options = [f"--repo1-host-{kind}-file=/etc/tls/{file}" for kind, file in tls.items()]
    return project.host.run(
        (
            "podman", "run", "--rm", "--pull=never", "--network", f"container:{container_name(project.name, slot)}",
            "--user", f"{service.certificate_owner}:{service.certificate_owner}", "--cap-drop", "ALL", "--read-only",
            "--tmpfs", "/tmp:mode=1777", "--volume", f"{project.state.certs / service.name}:/etc/tls:ro",
            "--log-driver", "none", "--entrypoint", "pgbackrest", project.images["backup"].tag, f"--stanza={stanza}",
            f"--repo1-host={server}", "--repo1-host-type=tls", "--repo1-host-port=8432", *options,
            f"--repo1-path={FOLDERS[server][0]}", "--log-path=/tmp", "--log-level-file=off", "repo-ls",
        ),
        ok=None,
        timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("server", FOLDERS)
def test_named_client_is_served_its_stanza_alone(stand: Drill, project: Project, server: str) -> None:
    answer = listed(project, CLIENT[server], server)
    assert FOLDERS[server][1] in answer.stdout.split(), answer.last_words()

    other = listed(project, CLIENT[server], server, stanza="other")
    assert other.returncode != 0
    assert DENIED in other.stdout + other.stderr


@pytest.mark.parametrize("server", FOLDERS)
@pytest.mark.parametrize("slot", INTRUDERS)
def test_certificate_of_another_service_is_refused(stand: Drill, project: Project, server: str, slot: str) -> None:
    answer = listed(project, slot, server)

    assert answer.returncode != 0
    assert DENIED in answer.stdout + answer.stderr
