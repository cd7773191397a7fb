"""kubectl as one of the users of a control plane."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ops.core.process import Result, run, until

ACCOUNT_SECONDS = 30.0
OPERATOR_RIGHTS = "admin"
"""A role that every cluster has: everything within a namespace but its quota and the namespace itself."""


class Client:
    """program: Kubernetes' own, at a path that ends in `kubectl`. kubeconfig: of the user."""

    def __init__(self, program: Path, kubeconfig: Path) -> None:
        self.program, self.kubeconfig = program, kubeconfig

    def run(self, *argv: str, ok: tuple[int, ...] | None = (0,), timeout: float = 60.0, stdin: str | None = None) -> Result:
        return run((str(self.program), f"--kubeconfig={self.kubeconfig}", *argv), timeout=timeout, ok=ok, stdin=stdin)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Server-side apply of these objects."""
        self.run(*APPLY, stdin=listed(objects))

    def get(self, *argv: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("get", "--output=json", *argv).stdout)
        return found

    def refusal(self, *argv: str, stdin: str | None = None) -> str:
        """Why kubectl does not do this; empty where it does."""
        answer = self.run(*argv, ok=None, stdin=stdin)
        return answer.last_words() if answer.returncode else ""

    def apply_refusal(self, *objects: dict[str, Any]) -> str:
        """Why these objects cannot be applied; empty where they are."""
        return self.refusal(*APPLY, stdin=listed(objects))

    def not_ready(self, nodes: Iterable[str]) -> str:
        """Those of the nodes that are not ready."""
        ready = {
            node["metadata"]["name"] for node in self.get("nodes")["items"]
            for one in node.get("status", {}).get("conditions", ()) if (one["type"], one["status"]) == ("Ready", "True")
        }  # fmt: skip
        return ", ".join(name for name in nodes if name not in ready)

    def make_namespace(self, name: str, user: str) -> None:
        """Make a namespace for restricted pods, with all rights within it for a user, and wait for the account of its pods."""
        self.apply(*namespace(name, user))
        reason = until(lambda: self.refusal("get", "serviceaccount", "default", f"--namespace={name}"), ACCOUNT_SECONDS)
        assert not reason, reason

    @contextmanager
    def namespace_for(self, test: str, user: str) -> Iterator[str]:
        """A namespace named after a test, as of `make_namespace`, which is removed afterwards."""
        name = test.replace("_", "-").lower()[:60].rstrip("-")
        self.make_namespace(name, user)
        yield name
        self.run("delete", "namespace", name, "--wait=false")

    def await_rollout(self, namespace: str, name: str, seconds: float) -> None:
        self.run("rollout", "status", f"--namespace={namespace}", name, f"--timeout={seconds:.0f}s", timeout=seconds + 10)


APPLY = ("apply", "--server-side", "--field-manager=tests", "--force-conflicts", "--filename=-")


def listed(objects: tuple[dict[str, Any], ...]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def namespace(name: str, user: str = "") -> tuple[dict[str, Any], ...]:
    """A namespace whose pods are restricted, and all rights within it for a user; empty: for nobody."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/enforce-version": "latest"}
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    if not user:
        return (made,)
    group = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": {"name": user, "namespace": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": OPERATOR_RIGHTS},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    }  # fmt: skip
    return made, binding
