"""A restore on this host: what is known before it, what is written down of it, how its result is proved."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ops.errors import OpsError
from ops.keycloak_steps import HandOver, RecoverAdmin, RestoreOperations
from ops.machine import state as files
from ops.machine.backup import volumes
from ops.machine.keycloak import probe, rotate, verify
from ops.machine.keycloak.edge import request
from ops.machine.keycloak.login import HUMAN, Login
from ops.machine.keycloak.look import Place
from ops.machine.keycloak.realm import bring_about, declared
from ops.machine.observe import observe, secret_versions
from ops.machine.project import Project
from ops.machine.state import State
from ops.machine.wait import until
from ops.model import Step
from ops.plan.backup.target import Chosen
from ops.plan.containers import grace
from ops.plan.restore import Facts
from ops.steps import AwaitHealthy, StartContainer, StopContainer

ADMIN_SECRET = "keycloak-admin"  # noqa: S105  (a name)


def journal(state: State) -> Path:
    return state.root / "restore.json"


def left_over(state: State) -> Mapping[str, Any] | None:
    """What a restore that did not come to its end wrote down."""
    return files.read_json(journal(state))


def facts(project: Project, chosen: Chosen | None = None) -> Facts:
    """Everything that the plan is decided from."""
    wanted, host = project.deployed, project.host
    seen = observe(host, (), with_health=False)
    sizes = {part: volumes.present_size(host, part) for part in (chosen.parts if chosen else ())}
    return Facts(
        stack=wanted.stack, seen=replace(seen, unhealthy={}), supervise=wanted.supervise, version=wanted.supervise_version,
        sizes={part: amount for part, amount in sizes.items() if amount is not None},
        secrets=secret_versions(project.state), left=left_over(project.state),
    )  # fmt: skip


def agree(project: Project, perform: Callable[[Step], None], report: Callable[[str], None], deadline: int) -> None:
    """Keycloak's accounts get today's secrets. Where the operations client itself has an older one, the way in without it is
    taken, which takes a stop of Keycloak.

    Parameters
    ----------
    perform: does a step. deadline: seconds for Keycloak to start again.
    """
    login = Login(project)

    def undecided() -> str:
        why = login.as_operations()
        return "" if login.refused else why

    if why := until(undecided, rotate.ANSWERS_WITHIN):
        raise OpsError("Keycloak does not answer", why, "inv keycloak; then run it again")
    if login.refused:
        report("the operations client is refused: making it anew")
        service = project.deployed.stack.services["keycloak"]
        compose = project.deployed.compose["services"]["keycloak"]
        perform(StopContainer("agree stop", "stop keycloak", slot="keycloak", grace=grace(service)))
        perform(RecoverAdmin("agree recover", "make a temporary account", service=compose))
        perform(StartContainer("agree start", "start keycloak", slot="keycloak"))
        perform(AwaitHealthy("agree healthy", "wait for keycloak", slot="keycloak", deadline=deadline))
        perform(RestoreOperations("agree restore", "make the operations client good"))
    report("bringing the realm to its declaration")
    bring_about(declared(project), report, deletions=False)
    probe.ready(project, report)
    version = secret_versions(project.state).get(ADMIN_SECRET)
    if version and not rotate.holds(project, f"user {HUMAN}", ADMIN_SECRET, version):
        report("giving the administrator today's password")
        rotate.hand_over(project, HandOver("agree admin", "", secret=ADMIN_SECRET, version=version, to=f"user {HUMAN}"))


def prove(project: Project, deadline: float, report: Callable[[str], None]) -> None:
    """A login, a read and a write, through the public listener. Raises OpsError naming the first that fails."""
    ends = time.monotonic() + deadline
    verify.verify(project, deadline, report)
    for name, method, path in (("a read", "GET", "get"), ("a write", "POST", "post")):
        where = str(project.settings.get("prober", path))
        if not where:
            report(f"{name}: left out, prober.{path} is empty")
            continue
        if reason := until(partial(_asked, project, method, where), max(1.0, ends - time.monotonic())):
            raise OpsError(f"not verified: {name}", reason, "inv status; inv logs backend --since 10m")
        report(f"{name}: good")


def _asked(project: Project, method: str, path: str) -> str:
    headers = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
    answer = request(Place(project, {}).public_url, project.state.site_roots, method, path, headers=headers)
    return "" if 200 <= answer.status < 300 else f"{method} {path}: HTTP {answer.status} {answer.text[:160]}"
