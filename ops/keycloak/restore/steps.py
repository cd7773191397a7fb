"""What is done to Keycloak once its database was restored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.core.errors import OpsError
from ops.core.plan import Step
from ops.core.process import until

if TYPE_CHECKING:
    from ops.execution import Execution

START_SECONDS = 900
"""For a Keycloak that has to be stopped and started again."""


@dataclass(frozen=True)
class AgreeSecrets(Step):
    """Set the present secret of every client and user of Keycloak: what was restored may be from before a rotation.

    Where the operations client itself has an older one, it is recreated, which takes a stop of Keycloak.
    """

    def run(self, execution: Execution) -> None:
        from ops.keycloak.probe import verify
        from ops.keycloak.realm import live
        from ops.secrets import facts, verifiers
        from ops.secrets.steps import SetCredential
        from ops.secrets.table import TARGETS

        project, report = execution.project, execution.reporter(self)
        if self._is_refused(execution):
            report("the operations client is refused: recreating it")
            self._recreate(execution)
        report("bringing the realm to its declaration")
        live.apply_realm(live.declared(project), report, deletions=False)
        verify.ready(project, report)
        present = facts.present(project)
        # The declaration covers clients. It cannot tell a user's password.
        for one in TARGETS:
            if not one.can_rotate or one.owner != "keycloak" or one.secret not in present:
                continue
            if not verifiers.accepts(project, one.to, one.secret, present[one.secret]):
                report(f"setting the current {one.to}")
                step = SetCredential(f"agree {one.secret}", "", secret=one.secret, version=present[one.secret], to=one.to)
                verifiers.set_credential(project, step)

    @staticmethod
    def _is_refused(execution: Execution) -> bool:
        """Whether Keycloak refuses the present secret of the operations client. Raises OpsError where it does not answer."""
        from ops.keycloak.admin import OPERATIONS, NoRealm, Refused
        from ops.keycloak.repair.admin_api import as_now
        from ops.keycloak.rotate.credentials import ANSWERS_WITHIN

        login, refused = as_now(execution.project, OPERATIONS), []

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

        if why := until(undecided, ANSWERS_WITHIN):
            raise OpsError("Keycloak does not answer", why, "inv keycloak; then run it again")
        return bool(refused)

    @staticmethod
    def _recreate(execution: Execution) -> None:
        from ops.deploy.steps import StartContainer, StopContainer, await_healthy
        from ops.keycloak.repair.steps import RecoverAdmin, RestoreOperations

        deployed = execution.project.deployed
        service, compose = deployed.stack.services["keycloak"], deployed.compose["services"]["keycloak"]
        for step in (
            StopContainer("agree stop", "stop keycloak", slot="keycloak", grace=service.grace),
            RecoverAdmin("agree recover", "make a temporary account", service=compose),
            StartContainer("agree start", "start keycloak", slot="keycloak"),
            await_healthy("keycloak", deadline=START_SECONDS),
            RestoreOperations("agree restore", "repair the operations client"),
        ):
            step.run(execution)
