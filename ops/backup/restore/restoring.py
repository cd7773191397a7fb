"""A restore on this host: what its plan is decided from, and how its result is proved."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from ops.backup.around import left_over
from ops.backup.restore import volumes
from ops.backup.restore.participant import participants
from ops.backup.restore.plan import Facts
from ops.backup.restore.target import Chosen
from ops.core.errors import OpsError
from ops.core.process import until
from ops.core.site import request
from ops.core.state import State
from ops.project import Project
from ops.secrets import facts as secrets
from ops.store import versions


def facts(project: Project, chosen: Chosen | None = None) -> Facts:
    """Everything that the plan is decided from."""
    from ops.observed import observe

    wanted, seen = project.deployed, observe(project, with_health=False)
    sizes = {part: volumes.present_size(project, part) for part in (chosen.parts if chosen else ())}
    return Facts(
        stack=wanted.stack, seen=replace(seen, unhealthy={}), supervise=wanted.supervise, version=wanted.supervise_version,
        sizes={part: amount for part, amount in sizes.items() if amount is not None},
        secrets=(present := secrets.present(project)), retired=_retired(project.state, present), left=left_over(project.state),
    )  # fmt: skip


def _retired(state: State, present: Mapping[str, int]) -> dict[str, int]:
    """Secret -> the newest version before the present one, where the state folder has any."""
    older = {name: [one for one in versions.numbers(state, name) if one < number] for name, number in present.items()}
    return {name: max(numbers) for name, numbers in older.items() if numbers}


def prove(project: Project, deadline: float, report: Callable[[str], None]) -> None:
    """A login, a read and a write, through the public listener. Raises OpsError naming the first that fails."""
    ends = time.monotonic() + deadline
    for one in participants():
        one.prove(project, deadline, report)
    for name, method, path in (("a read", "GET", "get"), ("a write", "POST", "post")):
        where = str(getattr(project.settings.prober, path))
        if not where:
            report(f"{name}: left out, prober.{path} is empty")
            continue
        if reason := until(partial(_asked, project, method, where), max(1.0, ends - time.monotonic())):
            raise OpsError(f"not verified: {name}", reason, "inv status; inv logs backend --since 10m")
        report(f"{name}: good")


def _asked(project: Project, method: str, path: str) -> str:
    headers = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
    answer = request(project.public_url, project.state.site_roots, method, path, headers=headers)
    return "" if 200 <= answer.status < 300 else f"{method} {path}: HTTP {answer.status} {answer.text[:160]}"
