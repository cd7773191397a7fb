"""The API of one cluster, in one namespace: objects as plain mappings, by the official client. Its errors become ours."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ops.core.errors import HostLacks, OpsError, UsageProblem
from ops.engines.kubernetes.objects import KINDS, Kind, Object
from ops.stack.cluster_settings import Kubernetes
from ops.stack.model import LABEL_PROJECT

if TYPE_CHECKING:
    from kubernetes.client import ApiClient, CoreV1Api

MANAGER = "cc03"
"""Field manager of everything that these commands apply."""
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 30.0
NEXT = "inv doctor"
APPLY, JSON, ANY = "application/apply-patch+yaml", "application/json", "application/json, */*"


class Absent(OpsError):
    """There is no such object, or no such namespace."""


class Conflict(OpsError):
    """Somebody else has changed or created it meanwhile."""


class Api:
    """cluster: of the settings. project: whose objects it is about."""

    def __init__(self, cluster: Kubernetes, project: str) -> None:
        self.cluster, self.project, self.namespace = cluster, project, cluster.namespace

    @cached_property
    def client(self) -> ApiClient:
        """Raises UsageProblem where the kubeconfig file has no such context."""
        # Takes 0.3 s of CPU to import, which commands on one host shall not pay.
        from kubernetes.config import new_client_from_config
        from kubernetes.config.config_exception import ConfigException

        try:
            client: ApiClient = new_client_from_config(os.environ.get("KUBECONFIG"), self.cluster.context or None)  # type: ignore[no-untyped-call]
        except (ConfigException, OSError) as problem:
            raise UsageProblem(
                f"there is no way to the cluster: context {self.cluster.context or '(current)'}",
                " ".join(str(problem).split()),
                "kubectl config get-contexts lists them; engine.kubernetes.context in config/stack.yaml names one, and the "
                "variable KUBECONFIG another file",
            ) from problem  # fmt: skip
        return client

    def ask(
        self, method: str, path: str, body: Any = None, *, content: str = JSON, accept: str = ANY,
        timeout: float = ANSWER_SECONDS, **query: Any,
    ) -> Any:  # fmt: skip
        """One request.

        body: sent as JSON. content: its type. accept: of the answer. query: parameters of the URL.
        Raises HostLacks where the cluster is out of reach or refuses, Absent, Conflict, or OpsError with what it says.
        """
        text = self.text(method, path, body, content=content, accept=accept, timeout=timeout, **query)
        return json.loads(text) if text else None

    def text(
        self, method: str, path: str, body: Any = None, *, content: str = JSON, accept: str = ANY,
        timeout: float = ANSWER_SECONDS, **query: Any,
    ) -> str:  # fmt: skip
        """The answer as it comes. Parameters and errors as of `ask`."""
        headers = {"Accept": accept, "Content-Type": content}
        with self._told():
            request = self.client.param_serialize(
                method, path, {}, list(query.items()), headers, auth_settings=["BearerToken"]
            )  # fmt: skip
            sent = json.dumps(body) if content == APPLY else body  # of what is not JSON by its name, the client takes text
            answer = self.client.call_api(
                request[0], request[1], request[2], body=sent, _request_timeout=(CONNECT_SECONDS, timeout)
            )
            said = bytes(answer.read() or b"").decode(errors="replace")  # type: ignore[no-untyped-call]
        if answer.status >= 400:
            raise refusal(answer.status, said, f"{method} {path}", self.namespace)
        return said

    def date(self) -> str:
        """The time on the cluster, as its answers say it; empty where they say none."""
        with self._told():
            request = self.client.param_serialize("GET", "/version", {}, [], {}, auth_settings=["BearerToken"])
            answer = self.client.call_api(
                request[0], request[1], request[2], _request_timeout=(CONNECT_SECONDS, ANSWER_SECONDS)
            )
            return str(answer.headers.get("Date", ""))

    @contextmanager
    def _told(self) -> Iterator[None]:
        import urllib3

        try:
            yield
        except (urllib3.exceptions.HTTPError, OSError) as problem:
            cause = getattr(problem, "reason", None) or problem
            raise HostLacks(
                "the cluster does not answer", f"{self.client.configuration.host}: {' '.join(str(cause).split())[:300]}",
                "kubectl cluster-info; KUBECONFIG and engine.kubernetes.context say which cluster is meant",
            ) from problem  # fmt: skip

    # Objects.

    def all_of(self, kind: str, selector: str = "") -> list[Object]:
        """Those of the project, or those that a selector of labels chooses."""
        found = self.ask("GET", KINDS[kind].path(self.namespace), labelSelector=selector or f"{LABEL_PROJECT}={self.project}")
        return [{**one, "kind": kind} for one in found["items"] or ()]

    def get(self, kind: str, name: str) -> Object | None:
        try:
            found: Object = self.ask("GET", KINDS[kind].path(self.namespace, name))
        except Absent:
            return None
        return found

    def apply(self, wanted: Mapping[str, Any]) -> Object:
        """Server-side apply: fields that this repository does not name stay whoever's they are."""
        path = KINDS[wanted["kind"]].path(self.namespace, wanted["metadata"]["name"])
        found: Object = self.ask("PATCH", path, dict(wanted), content=APPLY, fieldManager=MANAGER, force="true")
        return found

    def create(self, wanted: Mapping[str, Any]) -> Object:
        """Raises Conflict where there is one of that name."""
        found: Object = self.ask("POST", KINDS[wanted["kind"]].path(self.namespace), dict(wanted), fieldManager=MANAGER)
        return found

    def replace(self, kind: Kind, name: str, wanted: Mapping[str, Any]) -> Object:
        """Raises Conflict where it is not the version any more that was read."""
        found: Object = self.ask("PUT", kind.path(self.namespace, name), dict(wanted), fieldManager=MANAGER)
        return found

    def merge(self, kind: str, name: str, patch: Mapping[str, Any], manager: str = MANAGER) -> None:
        """Change some fields of an object. manager: the field manager that owns them afterwards."""
        path = KINDS[kind].path(self.namespace, name)
        self.ask("PATCH", path, dict(patch), content="application/merge-patch+json", fieldManager=manager)

    def delete(self, kind: str, name: str) -> None:
        """Remove an object, and what it has made. Without effect where there is none."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"}
        try:
            self.ask("DELETE", KINDS[kind].path(self.namespace, name), body)
        except Absent:
            return

    # Pods.

    def log_of(
        self, pod: str, *, container: str = "", lines: int | None = None, since: int | None = None, previous: bool = False
    ) -> str:
        """lines: the last ones only. since: seconds. previous: of the container before the last restart."""
        query: dict[str, Any] = {
            "timestamps": "true", "container": container or None, "tailLines": lines, "sinceSeconds": since,
            "previous": "true" if previous else None,
        }  # fmt: skip
        given = {key: value for key, value in query.items() if value is not None}
        return self.text("GET", f"{KINDS['Pod'].path(self.namespace, pod)}/log", **given)

    def events(self, name: str) -> list[str]:
        """What the cluster says of an object of that name, the newest last."""
        found = self.ask("GET", f"/api/v1/namespaces/{self.namespace}/events", fieldSelector=f"involvedObject.name={name}")
        by_time = sorted(found["items"] or (), key=lambda one: str(one.get("lastTimestamp") or one.get("eventTime") or ""))
        return [f"{one.get('reason')}: {one.get('message')}" for one in by_time if one.get("type") == "Warning"]

    def core(self) -> CoreV1Api:
        """The generated API, with a client of its own: a stream changes the client that it uses."""
        from kubernetes.client import ApiClient, CoreV1Api

        return CoreV1Api(ApiClient(self.client.configuration))

    def exec(self, pod: str, argv: tuple[str, ...], timeout: float) -> tuple[int, str]:
        """Run a program in a pod: its exit code, and what it has written. Raises OpsError where it does not end in time."""
        from kubernetes.client.exceptions import ApiException
        from kubernetes.stream import stream

        try:
            run = stream(
                self.core().connect_get_namespaced_pod_exec, pod, self.namespace, command=list(argv), stdin=False, stdout=True,
                stderr=True, tty=False, _preload_content=False,
            )  # fmt: skip
        except ApiException as problem:
            raise OpsError(
                f"cannot run {argv[0]} in {pod}", " ".join(str(problem.reason).split())[:300], f"inv logs {pod}"
            ) from problem
        run.run_forever(timeout=timeout)
        said = run.read_all()
        if run.is_open():
            run.close()
            raise OpsError(f"{argv[0]} in {pod} did not end within {timeout:.0f} s", said[-300:], f"inv logs {pod}")
        return int(run.returncode or 0), said


def refusal(status: int, said: str, what: str, namespace: str) -> OpsError:
    """What the API server has refused, in three lines. what: the request."""
    try:
        words = str(json.loads(said).get("message") or said)
    except ValueError:
        words = said
    words = " ".join(words.split())[:600] or f"HTTP {status}"
    role = (
        f"have an administrator apply the Role of docs/how-to/cluster.md in namespace {namespace}; {NEXT} lists what is missing"
    )
    refused: dict[tuple[int, bool], tuple[type[OpsError], str, str]] = {
        (401, False): (HostLacks, "the cluster does not know these credentials", "kubectl auth whoami shows who you are there"),
        (403, True): (HostLacks, "the cluster does not grant a right that this command needs", role),
        (403, False): (HostLacks, "the cluster's admission refuses an object", f"{NEXT}; docs/how-to/cluster.md, Admission"),
        (404, True): (Absent, f"there is no namespace {namespace}", f"kubectl create namespace {namespace}"),
        (404, False): (Absent, f"there is no such object: {what}", NEXT),
        (409, False): (Conflict, "the cluster has another version of an object", "run the command again"),
    }  # fmt: skip
    marked = {403: " cannot " in words, 404: words.startswith("namespaces ")}.get(status, False)
    busy = OpsError, "the cluster is overloaded or not ready", "run the command again in a minute"
    other = OpsError, f"the cluster refuses {what}", NEXT
    kind, said_what, next_step = refused.get((status, marked), busy if status in (429, 503, 504) else other)
    return kind(said_what, words, next_step)
