"""inv doctor: what this host has, what it lacks, and what to type."""

from __future__ import annotations

import json as json_module
from dataclasses import asdict

from invoke import Context

from ops.cli.command import verb
from ops.core.errors import HostLacks

_MARK = {"good": "[green]ok[/green]     ", "warning": "[yellow]warning[/yellow]", "bad": "[red]bad[/red]    "}


@verb(changes=False, help={"json": "print the findings for other programs"})
def doctor(c: Context, json: bool = False) -> None:
    """Check this host and say what to type.

    Podman, cgroups, limits, space, ports, clock, registries.
    """
    from ops.cli import show
    from ops.host.findings import findings
    from ops.host.preflight import look_around
    from ops.project import open_project

    found = findings(look_around(open_project(root_needed=False)))
    if json:
        print(json_module.dumps([asdict(finding) for finding in found], indent=2))
    else:
        for finding in found:
            meaning = f": {finding.meaning}" if finding.meaning else ""
            show.out.print(f"{_MARK[finding.level]} {finding.what}{meaning}")
            if finding.cure:
                show.out.print(f"        next: {finding.cure}")
    bad = [finding for finding in found if finding.level == "bad"]
    if bad:
        raise HostLacks(f"{len(bad)} finding(s) prevent the stack from running here", bad[0].what, bad[0].cure)
