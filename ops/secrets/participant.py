"""Secrets as a part of a deploy: generated, given to containers, and set where they are verified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ops.core.errors import HostLacks
from ops.core.plan import Step
from ops.deploy.participant import Participant
from ops.secrets import plan
from ops.secrets.steps import GenerateSecret, StoreSecret
from ops.stack.applied_settings import issued
from ops.stack.model import Seen, Service
from ops.stack.render import secret_name
from ops.stack.wanted import Wanted

if TYPE_CHECKING:
    from ops.project import Project


class Secrets(Participant):
    def refuse(self, project: Project, seen: Seen) -> None:
        plan.refuse_lost_secrets(project.stack, seen, project.state.root)

    def ground(self, wanted: Wanted, seen: Seen, services: Sequence[Service], only: str | None) -> Sequence[Step]:
        """Secrets of services that are given them through their API need no copy of Podman's.

        Raises HostLacks where one is missing that cannot be generated.
        """
        alone = wanted.stack.services.get(only or "")
        configured = [one for one in wanted.stack.services.values() if alone in (None, one)]
        mounted = {secret for service in services for secret in service.mounts}
        steps: list[Step] = []
        for name in sorted({*mounted, *(secret for service in configured for secret in service.api_secrets)}):
            version = wanted.versions[name]
            made = seen.secret_versions.get(name, 0) >= version
            what, command = issued(name)
            if not made and what:
                raise HostLacks(f"this host does not have {what}", "stack.yaml names it, and nobody has given them", command)
            generate = GenerateSecret(f"generate {name}", f"generate secret {name}", name=name, version=version)
            if not made:
                steps.append(generate)
            if name in mounted and (not made or secret_name(wanted.stack.project, name, version) not in seen.given):
                key, title = f"secret {name}", f"store secret {name}"
                steps.append(StoreSecret(key, title, () if made else (generate,), name=name, version=version))
        return steps

    def before(self, wanted: Wanted, seen: Seen, service: Service) -> Sequence[Step]:
        return plan.awaited(plan.beside(wanted, seen, service))

    def between(self, wanted: Wanted, seen: Seen, service: Service) -> Sequence[Step]:
        return plan.awaited(plan.told(wanted, seen, service))

    def behind(self, wanted: Wanted, seen: Seen, service: Service) -> Sequence[Step]:
        return plan.settled(wanted, seen, service)

    def served(self, project: Project) -> None:
        from ops.secrets.verifiers import retire

        retire(project)
