"""inv doctor: what this host has and lacks, and what to type; inv service.install: the stack at boot, by a systemd unit."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from invoke import Context

from ops.cli.command import print_json, verb
from ops.core import files
from ops.core.errors import HostLacks
from ops.core.machine import host_facts
from ops.core.plan import Described, Plan
from ops.core.process import run

UNITS = Path("/etc/systemd/system")
_MARK = {"good": "[green]ok[/green]     ", "warning": "[yellow]warning[/yellow]", "bad": "[red]bad[/red]    "}


@verb(changes=False, help={"json": "print the findings for other programs"})
def doctor(c: Context, json: bool = False) -> None:
    """Check this host, or the cluster, and say what to type.

    Podman, cgroups, limits, space, ports, clock, registries; version, rights, storage.
    """
    from ops.cli import show
    from ops.host.findings import findings
    from ops.host.preflight import look_around
    from ops.project import RUNS, on_cluster, open_project

    project = open_project(root_needed=False, cluster=RUNS)
    found = tuple(on_cluster().findings(project)) if project.cluster else findings(look_around(project))
    if json:
        print_json([asdict(finding) for finding in found])
    else:
        for finding in found:
            meaning = f": {finding.meaning}" if finding.meaning else ""
            show.out.print(f"{_MARK[finding.level]} {finding.what}{meaning}")
            if finding.cure:
                show.out.print(f"        next: {finding.cure}")
    bad = [finding for finding in found if finding.level == "bad"]
    if bad:
        raise HostLacks(f"{len(bad)} finding(s) prevent the stack from running here", bad[0].what, bad[0].cure)


@verb(help={"show": "print the unit, and install nothing"})
def install(c: Context, show: bool = False) -> None:
    """Start the stack at boot (systemd).

    Installs a unit that also keeps the health supervisor running.
    """
    from ops.audit_log.record import audited
    from ops.host.unit import unit, unit_name
    from ops.project import open_project

    project = open_project()
    text = unit(project.name, project.state.root, project.host.lasting_environment)
    if show:
        print(text, end="")
        return
    if not host_facts().systemd:
        raise HostLacks(
            "cannot install a systemd unit", "this host does not run systemd",
            "inv service.install --show prints it; without systemd, run inv start at boot",
        )  # fmt: skip
    with audited(project, Plan("service.install", (Described("unit", f"install and enable {unit_name(project.name)}"),))):
        files.write(UNITS / unit_name(project.name), text)
        run(("systemctl", "daemon-reload"), timeout=60)
        run(("systemctl", "enable", unit_name(project.name)), timeout=60)
    print(f"{unit_name(project.name)} is installed and enabled: it starts the stack at boot")


@verb()
def remove(c: Context) -> None:
    """Remove that unit again.

    The running stack stays as it is.
    """
    from ops.audit_log.record import audited
    from ops.host.unit import unit_name
    from ops.project import open_project

    project = open_project()
    name = unit_name(project.name)
    if not host_facts().systemd:
        raise HostLacks("there is no unit to remove", "this host does not run systemd", "inv status")
    with audited(project, Plan("service.remove", (Described("unit", f"disable and remove {name}"),))):
        run(("systemctl", "disable", name), timeout=60, ok=None)
        (UNITS / name).unlink(missing_ok=True)
        run(("systemctl", "daemon-reload"), timeout=60)
    print(f"{name} is removed")
