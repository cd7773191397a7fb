"""inv stop, start, restart, destroy: what exists is stopped, started and removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke import Context

from ops.cli.command import verb
from ops.cli.execute import Decision, Operation, execute, planned
from ops.core.errors import HostLacks

if TYPE_CHECKING:
    from ops.core.plan import Plan


@verb()
def stop(c: Context) -> None:
    """Stop the stack; nothing is removed.

    Every container within its grace period, and the health supervisor.
    """
    from ops.cli import show
    from ops.lifecycle.plan import plan_stop
    from ops.observed import observe
    from ops.project import RUNS, must_exist, on_cluster, open_project

    project = open_project(cluster=RUNS)
    if project.cluster:
        if on_cluster().stop(project):
            show.out.print("stopped; [bold]inv start[/bold] brings everything back")
        return
    must_exist(project)

    def decide() -> Plan:
        seen = observe(project, (), with_health=False)
        return plan_stop(project.deployed.stack, seen, ticker=bool(seen.ticker))

    if execute(Operation(project, "stop", planned(project, decide))):
        show.out.print("stopped; [bold]inv start[/bold] brings everything back")


@verb()
def start(c: Context) -> None:
    """Start the stopped stack, in order.

    Waits until it is healthy, and starts the health supervisor.
    """
    from ops.cli import show
    from ops.lifecycle.plan import plan_start
    from ops.observed import observe
    from ops.project import RUNS, must_exist, on_cluster, open_project

    project = open_project(cluster=RUNS)
    if project.cluster:
        if on_cluster().start(project):
            show.out.print("[bold green]started[/bold green]")
        return
    must_exist(project)

    def decide() -> Plan:
        seen = observe(project, (), with_health=False)
        if not seen.containers:
            raise HostLacks("nothing to start", f"project {project.name} has no containers", "inv deploy")
        wanted = project.deployed
        return plan_start(wanted.stack, seen, wanted.supervise, wanted.supervise_version, wanted.firewall)

    if execute(Operation(project, "start", planned(project, decide))):
        show.out.print("[bold green]started[/bold green]")


@verb(help={"service": "name of the service"})
def restart(c: Context, service: str) -> None:
    """Restart one service, one replica at a time.

    Each is healthy before the next is restarted.
    """
    from ops.cli import show
    from ops.lifecycle.plan import plan_restart
    from ops.observed import observe
    from ops.project import RUNS, known_service, must_exist, on_cluster, open_project
    from ops.releases.situation import must_run

    project = open_project(cluster=RUNS)
    known_service(project, service)
    if project.cluster:
        on_cluster().restart(project, service)
        show.out.print(f"[bold green]restarted[/bold green] {service}")
        return
    must_run(must_exist(project))

    def decide() -> Decision:
        plan = plan_restart(project.deployed.stack, observe(project, (), with_health=False), service)
        if not plan.steps:
            raise HostLacks(
                f"{service} has no containers", "it was never deployed on this host", f"inv deploy --service {service}"
            )
        # Restarting is the wish itself, not a difference to what is wanted.
        return Decision(project, plan)

    execute(Operation(project, "restart", decide, plans_first=False, remembers=False))
    show.out.print(f"[bold green]restarted[/bold green] {service}")


@verb(help={
    "keep-data": "keep volumes, secrets, certificates and releases (the default)",
    "yes": "do not ask for confirmation",
})  # fmt: skip
def destroy(c: Context, keep_data: bool = True, yes: bool = False) -> None:
    """Remove the stack; data stays unless told otherwise.

    --no-keep-data removes the data too. Asks for the project's name.
    """
    from ops.cli import show
    from ops.lifecycle.plan import plan_destroy
    from ops.observed import observe
    from ops.project import RUNS, on_cluster, open_project

    # Also where the key of the secrets is gone: what remains must be removable.
    project = open_project(secrets_needed=False, cluster=RUNS)
    if project.cluster:
        if on_cluster().destroy(project, keep_data=keep_data, yes=yes):
            kept = "its volumes, secrets and releases are kept" if keep_data else "nothing of it is left"
            show.out.print(f"[bold]{project.name}[/bold] is removed from the cluster; {kept}")
        return

    def decide() -> Plan:
        return plan_destroy(project.deployed.stack, observe(project, (), with_health=False), keep_data=keep_data)

    if execute(Operation(project, "destroy", planned(project, decide), yes=yes, word=project.name)):
        kept = "its volumes and state are kept" if keep_data else "nothing of it is left but its images"
        show.out.print(f"[bold]{project.name}[/bold] is removed from this host; {kept}")
