"""Section 9: the host, as far as this project uses it."""

from __future__ import annotations

from collections.abc import Iterator

from ops.security_audit.controls.control import Found, control
from ops.security_audit.facts import Facts, HostFiles


@control(
    "9.1",
    "The record of changes is whole",
    why="a line that is gone hides who did what",
    cure="inv audit.verify; docs/how-to/audit.md says what can be concluded",
    part="host",
)
def trail(facts: Facts) -> Iterator[Found]:
    if isinstance(facts.host, HostFiles):
        for finding in facts.host.trail:
            yield Found("audit.jsonl", finding, finding)


@control(
    "9.2",
    "No account of the host has an id of a container",
    why="it may read what belongs to the service, trace its processes and enter their file system, whatever the modes are",
    cure="give the account another id; inv doctor says how",
    part="host",
)
def accounts(facts: Facts) -> Iterator[Found]:
    if isinstance(facts.host, HostFiles):
        for one in facts.host.taken:
            who = f"{one.account.kind} {one.account.name}"
            yield Found(" and ".join(one.services), who, f"the {who} of the host has its id {one.id}")


@control(
    "9.3",
    "State and volumes are closed to other accounts of the host",
    why="configuration, logs, releases and data would be readable by whoever may log in, or has the id of a service",
    cure="inv deploy closes the state folder; chmod go= the folder of volumes that is named",
    part="host",
)
def closed(facts: Facts) -> Iterator[Found]:
    if isinstance(facts.host, HostFiles):
        for path in facts.host.entered:
            yield Found(path, "folder", "can be entered by any account of the host")
