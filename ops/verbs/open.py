"""inv open: where everything is, and how to log in for the first time."""

from __future__ import annotations

from invoke import Context

from ops.verbs.common import verb


@verb(
    changes=False,
    name="open",
    help={
        "password": "print the operator's one-time password, and nothing else",
        "json": "print the URLs for other programs",
    },
)
def open_urls(c: Context, password: bool = False, json: bool = False) -> None:
    """Print the URLs and where the first login is kept."""
    import json as json_module

    from rich.table import Table

    from ops import show
    from ops.compose import placeholders
    from ops.errors import HostLacks
    from ops.machine.project import must_exist, open_project

    project = must_exist(open_project())
    values = placeholders(project.settings, project.ports)
    kept = project.state.secrets / "operator-password" / "1"
    if not kept.exists():
        raise HostLacks(
            "there is no first login yet", f"project {project.name} has not been deployed on this host", "inv deploy"
        )
    if password:
        print(kept.read_text())
        return
    site, ops = values["CC03_PUBLIC_URL"], values["CC03_OPS_URL"]
    urls = {
        "site": f"{site}/",
        "CA certificate": f"http://{project.settings.domain}:{project.ports['http']}/ca.pem",
        "operator's pages": f"{ops}/",
        "Prometheus": f"{ops}/prometheus/",
        "Alertmanager": f"{ops}/alertmanager/",
        "logs": f"{ops}/logs/",
        "Keycloak administration": f"{ops}/auth/admin/",
    }
    if json:
        print(json_module.dumps({**urls, "first_login": {"user": "operator", "password_file": str(kept)}}, indent=2))
        return
    drawn = Table.grid(padding=(0, 3))
    for name, url in urls.items():
        drawn.add_row(name, url)
    drawn.add_row("first login", f"user operator, one-time password in {kept} (inv open --password)")
    drawn.add_row("Keycloak's admin", f"user admin, password in {project.state.secrets / 'keycloak-admin' / '1'}")
    show.out.print(drawn)
    tunnel = "ssh -L {0}:127.0.0.1:{0} HOST".format(project.ports["ops"])
    show.out.print(f"[dim]The operator's pages answer on this host only; from elsewhere: {tunnel}[/dim]")
