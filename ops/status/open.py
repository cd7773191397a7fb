"""inv open: where everything is, and how to log in for the first time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke import Context

from ops.cli.command import verb

if TYPE_CHECKING:
    from ops.project import Project

OPERATOR, OPERATOR_PASSWORD, ADMIN_PASSWORD = "operator", "operator-password", "keycloak-admin"


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

    from ops.cli import show
    from ops.core.errors import HostLacks
    from ops.project import must_exist, open_project
    from ops.stack.compose import placeholders
    from ops.store.versions import newest, path_of

    project = must_exist(open_project())
    values = placeholders(project.settings, project.ports)
    if not newest(project.state, OPERATOR_PASSWORD) or not newest(project.state, ADMIN_PASSWORD):
        raise HostLacks(
            "there is no first login yet", f"project {project.name} has not been deployed on this host", "inv deploy"
        )
    kept, admin = (path_of(project.state, name, newest(project.state, name)) for name in (OPERATOR_PASSWORD, ADMIN_PASSWORD))
    if password:
        _refuse_spent(project)
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
    if port := project.ports.get("proxy_protocol"):
        drawn.add_row("for load balancers", f"port {port}, TLS after a header of the PROXY protocol")
    drawn.add_row("first login", f"user operator, one-time password in {kept} (inv open --password)")
    drawn.add_row("Keycloak's admin", f"user admin, password in {admin}")
    show.out.print(drawn)
    tunnel = "ssh -L {0}:127.0.0.1:{0} HOST".format(project.ports["ops"])
    show.out.print(f"[dim]The operator's pages answer on this host only; from elsewhere: {tunnel}[/dim]")


def _refuse_spent(project: Project) -> None:
    """Raises OpsError where the one-time password is not valid any more. A Keycloak that does not answer cannot say so."""
    from ops.cli import show
    from ops.core.errors import OpsError
    from ops.keycloak.users.users import Users

    try:
        why = Users.of(project).first_password_spent(OPERATOR)
    except OpsError as problem:
        show.err.print(f"[yellow]note:[/yellow] Keycloak did not say whether it is still valid: {problem.why}")
        return
    if why:
        raise OpsError("the one-time password is not valid any more", why, f"inv keycloak.user reset {OPERATOR}")
