"""Steps that change the keys that the realm signs with."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.core.errors import OpsError
from ops.core.plan import Step

if TYPE_CHECKING:
    from ops.execution import Execution
    from ops.keycloak.admin import Api

PROVIDER_TYPE = "org.keycloak.keys.KeyProvider"
SEEN_SECONDS, PAUSE = 10.0, 0.5
"""For the public listener to show what the admin API has changed."""


def _api(execution: Execution) -> Api:
    from ops.keycloak.admin import OPERATIONS, Api

    return Api.of(execution.project, OPERATIONS)


@dataclass(frozen=True)
class CreateKey(Step):
    """Have the realm sign with a new key; the previous one continues to verify."""

    provider: str = ""
    """Kind of Keycloak's key provider."""
    name: str = ""
    priority: int = 100
    like: str = ""
    """Id of the provider whose size and algorithm it takes over."""

    def run(self, execution: Execution) -> None:
        api = _api(execution)
        old = api.get(f"/components/{self.like}")
        config = {**old["config"], "priority": [str(self.priority)], "enabled": ["true"], "active": ["true"]}
        api.ask("POST", "/components", {
            "name": self.name, "providerId": self.provider, "providerType": PROVIDER_TYPE, "parentId": old["parentId"],
            "config": config,
        })  # fmt: skip


@dataclass(frozen=True)
class VerifyKeys(Step):
    """Verify that the realm signs with the keys of these names, and that everybody can fetch them and all others."""

    names: tuple[str, ...] = ()

    def run(self, execution: Execution) -> None:
        from ops.core.site import request
        from ops.keycloak.probe.edge import KEYS
        from ops.keycloak.rotate.keys import providers
        from ops.stack.compose import placeholders

        api, project = _api(execution), execution.project
        found = providers(api.get("/components", type=PROVIDER_TYPE))
        said = api.get("/keys")
        signing = {key["providerId"] for key in said["keys"] if key["kid"] in said["active"].values()}
        if idle := [one.algorithm for one in found if one.name in self.names and one.identity not in signing]:
            raise OpsError("the new key does not sign", f"{', '.join(idle)}: another one does", "inv keycloak")
        usable = {
            key["kid"] for key in said["keys"]
            if key.get("use") == "SIG" and key.get("publicKey") and key["status"] in ("ACTIVE", "PASSIVE")
        }  # fmt: skip
        url, ends = placeholders(project.settings, project.ports)["CC03_PUBLIC_URL"], time.monotonic() + SEEN_SECONDS
        while True:
            published = request(url, project.state.site_roots, "GET", KEYS).json().get("keys", [])
            if not (missing := usable - {key["kid"] for key in published}):
                return
            if time.monotonic() > ends:
                raise OpsError("the public site does not show every key", f"missing: {', '.join(missing)}", "inv keycloak")
            time.sleep(PAUSE)


@dataclass(frozen=True)
class RetireKey(Step):
    """Have a key sign nothing any more; it still verifies what it has signed."""

    identity: str = ""
    name: str = ""
    """Its name from now on, which says until when it is needed."""

    def run(self, execution: Execution) -> None:
        api = _api(execution)
        old = api.get(f"/components/{self.identity}")
        config = {**old["config"], "active": ["false"]}
        api.ask("PUT", f"/components/{self.identity}", {**old, "name": self.name, "config": config})


@dataclass(frozen=True)
class RemoveKey(Step):
    """Remove a retired key of which everything that it has signed has expired."""

    identity: str = ""

    def run(self, execution: Execution) -> None:
        _api(execution).ask("DELETE", f"/components/{self.identity}", ok=(404,))
