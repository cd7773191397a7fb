"""A restore on this host: what its plan is decided from, and how its result is made to agree and is proved."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from ops.backup.around import left_over
from ops.backup.restore import volumes
from ops.backup.restore.plan import Facts
from ops.backup.restore.target import Chosen
from ops.core.errors import OpsError
from ops.core.plan import Step
from ops.core.process import until
from ops.core.state import State
from ops.deploy.steps import StartContainer, StopContainer, await_healthy
from ops.keycloak.admin import OPERATIONS, NoRealm, Refused
from ops.keycloak.probe import verify
from ops.keycloak.probe.edge import request
from ops.keycloak.probe.gather import public_url
from ops.keycloak.realm.live import apply_realm, declared
from ops.keycloak.repair.admin_api import as_now
from ops.keycloak.repair.steps import RecoverAdmin, RestoreOperations
from ops.keycloak.rotate import credentials
from ops.project import Project
from ops.secrets import verifiers
from ops.secrets.steps import SetCredential
from ops.secrets.table import TARGETS, target_named
from ops.store import versions
from ops.store.versions import secret_versions


def facts(project: Project, chosen: Chosen | None = None) -> Facts:
    """Everything that the plan is decided from."""
    from ops.observed import observe

    wanted, seen = project.deployed, observe(project, with_health=False)
    sizes = {part: volumes.present_size(project, part) for part in (chosen.parts if chosen else ())}
    return Facts(
        stack=wanted.stack, seen=replace(seen, unhealthy={}), supervise=wanted.supervise, version=wanted.supervise_version,
        sizes={part: amount for part, amount in sizes.items() if amount is not None},
        secrets=(present := present_secrets(project)), retired=_retired(project.state, present), left=left_over(project.state),
    )  # fmt: skip


def present_secrets(project: Project) -> dict[str, int]:
    """Secret -> its version that is in use.

    Containers log in with the version of the release that runs, also where a rotation was interrupted before they were
    replaced. Keycloak's accounts belong to the commands, which use the newest one.
    """
    newest, running = secret_versions(project.state), project.deployed.versions
    return {
        name: number if target_named(name).owner == "keycloak" else running.get(name, number)
        for name, number in newest.items() if name in project.deployed.stack.secrets
    }  # fmt: skip


def _retired(state: State, present: Mapping[str, int]) -> dict[str, int]:
    """Secret -> the newest version before the present one, where the state folder has any."""
    older = {name: [one for one in versions.numbers(state, name) if one < number] for name, number in present.items()}
    return {name: max(numbers) for name, numbers in older.items() if numbers}


def agree(project: Project, perform: Callable[[Step], None], report: Callable[[str], None], deadline: int) -> None:
    """Set the present secret of every client and user of Keycloak. Where the operations client itself has an older one, the way
    in without it is taken, which takes a stop of Keycloak.

    Parameters
    ----------
    perform: does a step. deadline: seconds for Keycloak to start again.
    """
    login, refused = as_now(project, OPERATIONS), []

    def undecided() -> str:
        try:
            login.log_in()
        except NoRealm as problem:
            return problem.why
        except Refused:
            refused.append(login)
        except OpsError as problem:
            return problem.why
        return ""

    if why := until(undecided, credentials.ANSWERS_WITHIN):
        raise OpsError("Keycloak does not answer", why, "inv keycloak; then run it again")
    if refused:
        report("the operations client is refused: recreating it")
        service = project.deployed.stack.services["keycloak"]
        compose = project.deployed.compose["services"]["keycloak"]
        perform(StopContainer("agree stop", "stop keycloak", slot="keycloak", grace=service.grace))
        perform(RecoverAdmin("agree recover", "make a temporary account", service=compose))
        perform(StartContainer("agree start", "start keycloak", slot="keycloak"))
        perform(await_healthy("keycloak", deadline=deadline))
        perform(RestoreOperations("agree restore", "repair the operations client"))
    report("bringing the realm to its declaration")
    apply_realm(declared(project), report, deletions=False)
    verify.ready(project, report)
    present = present_secrets(project)
    # The declaration covers clients. It cannot tell a user's password.
    for one in TARGETS:
        if not one.can_rotate or one.owner != "keycloak" or one.secret not in present:
            continue
        if not verifiers.accepts(project, one.to, one.secret, present[one.secret]):
            report(f"setting the current {one.to}")
            step = SetCredential(f"agree {one.secret}", "", secret=one.secret, version=present[one.secret], to=one.to)
            verifiers.set_credential(project, step)


def prove(project: Project, deadline: float, report: Callable[[str], None]) -> None:
    """A login, a read and a write, through the public listener. Raises OpsError naming the first that fails."""
    ends = time.monotonic() + deadline
    verify.verify(project, deadline, report)
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
    answer = request(public_url(project), project.state.site_roots, method, path, headers=headers)
    return "" if 200 <= answer.status < 300 else f"{method} {path}: HTTP {answer.status} {answer.text[:160]}"
