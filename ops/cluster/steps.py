"""The kinds of steps of a plan for a cluster. Each with its data and its run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ops.core.errors import OpsError
from ops.core.plan import Step
from ops.core.process import until

if TYPE_CHECKING:
    from ops.engines.kubernetes.api import Api
    from ops.execution import Execution

KEYCLOAK_PORT = 8443
Object = Mapping[str, Any]


@dataclass(frozen=True)
class KeepSecret(Step):
    """Make a version of a secret where there is none, and keep it in the cluster, where it never changes."""

    secret: str = ""
    version: int = 1

    def run(self, execution: Execution) -> None:
        from ops.cluster.facts import LABEL_SECRET, held
        from ops.engines.kubernetes.api import Conflict
        from ops.engines.kubernetes.objects import LABEL_VERSION, SECRET, secret_object_name
        from ops.secrets.steps import GenerateSecret

        path = execution.state.secrets / self.secret / str(self.version)
        if not path.is_file():
            GenerateSecret(self.key, self.title, name=self.secret, version=self.version).run(execution)
        name = secret_object_name(self.secret, self.version)
        marks = {LABEL_SECRET: self.secret, LABEL_VERSION: str(self.version)}
        made = held(execution.project.name, name, SECRET, {"value": path.read_bytes()}, marks=marks)
        try:
            execution.project.kubernetes.create(made)
        except Conflict as problem:
            path.unlink()
            raise OpsError(
                f"the cluster has a secret {name} already", "another operator has made it meanwhile", "run the command again"
            ) from problem


@dataclass(frozen=True)
class KeepCertificate(Step):
    """Issue a certificate by the internal CA (made on first use), and keep it in the cluster; the CA with it."""

    service: str = ""
    version: int = 1
    names: tuple[str, ...] = ()

    def run(self, execution: Execution) -> None:
        from ops.certificates import authority, pki
        from ops.cluster.facts import AUTHORITY_NAME, NAMES, RENEW, authority_files, authority_hash, held
        from ops.engines.kubernetes.objects import AUTHORITY, CERTIFICATE, LABEL_VERSION, certificate_object_name
        from ops.stack.certificates import PUBLIC_TLS, TLS
        from ops.stack.model import EDGE, LABEL_HASH

        state, name, api = execution.state, execution.project.name, execution.project.kubernetes
        leaf = authority.new_leaf(state, name, self.service, self.names)
        parts = authority_files(state)
        api.apply(held(
            name, AUTHORITY_NAME, AUTHORITY, parts, immutable=False, annotations={LABEL_HASH: authority_hash(parts)}
        ))  # fmt: skip
        renew = pki.renew_after(pki.certificates_in(leaf)[0]).timestamp()
        content = {TLS: leaf, "ca.pem": parts["root.pem"], **({PUBLIC_TLS: leaf} if self.service == EDGE else {})}
        api.create(held(
            name, certificate_object_name(self.service, self.version), CERTIFICATE, content, service=self.service,
            annotations={NAMES: ",".join(self.names), RENEW: f"{renew:.0f}"}, marks={LABEL_VERSION: str(self.version)},
        ))  # fmt: skip


@dataclass(frozen=True)
class Apply(Step):
    """Have an object be what the release says, by server-side apply."""

    made: Object = field(kw_only=True)

    def run(self, execution: Execution) -> None:
        execution.touch()
        execution.project.kubernetes.apply(self.made)


@dataclass(frozen=True)
class Remove(Step):
    """Remove an object, with what it has made."""

    kind: str = ""
    name: str = ""

    def run(self, execution: Execution) -> None:
        execution.project.kubernetes.delete(self.kind, self.name)


@dataclass(frozen=True)
class AwaitRollout(Step):
    """Wait until all pods of a workload are of this release, and ready."""

    kind: str = ""
    name: str = ""
    deadline: int = 120

    def run(self, execution: Execution) -> None:
        from ops.engines.kubernetes.reads import hopeless, pods_of, unready

        api = execution.project.kubernetes
        for pod in pods_of(api.all_of("Pod"), self.name):
            if hopeless(pod):
                # Broken since before: it is made anew at once, instead of after minutes.
                api.delete("Pod", str(pod["metadata"]["name"]))

        def reason() -> str:
            found = api.get(self.kind, self.name)
            why = unready({**found, "kind": self.kind}) if found else "it is not there"
            if why and found:
                why = _pods_say(api, {**found, "kind": self.kind}, why)
            execution.report(self.key, why)
            return why

        if why := until(reason, self.deadline):
            raise OpsError(
                f"{self.name} is not ready within {self.deadline} s", why, f"inv logs {self.name}; inv status",
                last_words(api, self.name),
            )  # fmt: skip


def _pods_say(api: Api, workload: Object, why: str) -> str:
    """The reason with what the pods say. Raises OpsError where none of them will ever be ready."""
    from ops.engines.kubernetes.reads import ailment, hopeless, is_ready, pods_of

    name = str(workload["metadata"]["name"])
    pods = pods_of(api.all_of("Pod"), name)
    revision = (workload.get("status") or {}).get("updateRevision")
    for pod in pods:
        mark = pod["metadata"]["labels"].get("controller-revision-hash")
        if revision and mark != revision and hopeless(pod):
            # A StatefulSet waits for its broken pod to be ready before it replaces it (kubernetes/kubernetes#67250).
            api.delete("Pod", str(pod["metadata"]["name"]))
        elif hopeless(pod):
            raise OpsError(f"{name} does not start", ailment(pod), f"inv logs {name}; inv status", last_words(api, name))
    said = next((ailment(pod) for pod in reversed(pods) if not is_ready(pod)), "")
    claims = next((event for claim in claims_of(pods) for event in api.events(claim)[-1:]), "") if "no node" in said else ""
    return f"{why}: {claims or said}" if said else why


def claims_of(pods: list[Any]) -> list[str]:
    """Names of the volumes' claims."""
    volumes = [volume for pod in pods for volume in pod["spec"].get("volumes", ())]
    return [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "persistentVolumeClaim" in volume]


def last_words(api: Api, service: str, role: str = "serving", lines: int = 5) -> list[str]:
    """The last lines of the newest pod that is not ready."""
    from ops.engines.kubernetes.reads import is_ready, pods_of, restarts

    for pod in reversed(pods_of(api.all_of("Pod"), service, role)):
        if not is_ready(pod):
            try:
                found = api.log_of(str(pod["metadata"]["name"]), lines=lines, previous=restarts(pod) > 0)
            except OpsError:
                return []
            return found.splitlines()
    return []


@dataclass(frozen=True)
class RunJob(Step):
    """Run a Job to its end, before any pod of the release. One that has failed is made anew."""

    made: Object = field(kw_only=True)
    service: str = ""
    deadline: int = 600

    def run(self, execution: Execution) -> None:
        from ops.engines.kubernetes.reads import finished

        api, name = execution.project.kubernetes, str(self.made["metadata"]["name"])
        if finished(api.get("Job", name)) == "failed":
            _removed(api, "Job", name)
        api.apply(self.made)

        def reason() -> str:
            return "" if finished(api.get("Job", name)) else "it runs"

        why = until(reason, self.deadline)
        if why or finished(api.get("Job", name)) != "done":
            raise OpsError(
                f"the database cannot be prepared for {self.service}", why or "the migration has failed",
                "correct the migration; the pods of the previous release serve", last_words(api, self.service, "one-off"),
            )  # fmt: skip


def _removed(api: Api, kind: str, name: str, seconds: float = 60.0) -> None:
    api.delete(kind, name)
    if until(lambda: "it is still there" if api.get(kind, name) else "", seconds):
        raise OpsError(f"{kind} {name} is not removed", f"it is still there after {seconds:.0f} s", "inv status")


@dataclass(frozen=True)
class ProveCanary(Step):
    """Start one pod of the new release outside of its Service; it must be ready, and stay so, before another is replaced."""

    made: Object = field(kw_only=True)
    service: str = ""
    deadline: int = 120
    settle: int = 5

    def run(self, execution: Execution) -> None:
        from ops.engines.kubernetes.reads import ailment, hopeless, is_ready

        api, name = execution.project.kubernetes, str(self.made["metadata"]["name"])
        _removed(api, "Pod", name)
        api.create(self.made)

        def reason() -> str:
            pod = api.get("Pod", name)
            if pod is not None and hopeless(pod):
                raise refused(ailment(pod))
            return ailment(pod) if pod else "it is not there"

        def refused(why: str) -> OpsError:
            return OpsError(
                f"the first pod of the new {self.service} does not work", why,
                f"no pod that serves was touched; correct {self.service}", last_words(api, self.service, "canary"),
            )  # fmt: skip

        try:
            if why := until(reason, self.deadline):
                raise refused(why)
            if self.settle and not until(
                lambda: "settling" if is_ready(api.get("Pod", name) or self.made) else "", self.settle
            ):
                raise refused("it was ready, and then it was not any more")
        finally:
            api.delete("Pod", name)


@dataclass(frozen=True)
class ApplyRealmByForward(Step):
    """Make the live realm as declared, through a port that is forwarded to a pod of Keycloak."""

    realm: str = ""
    versions: Mapping[str, int] = field(default_factory=dict)

    def run(self, execution: Execution) -> None:
        from ops.engines.kubernetes.forward import forwarded
        from ops.engines.kubernetes.reads import is_ready, pods_of
        from ops.keycloak.realm.declaration import read_realm
        from ops.keycloak.realm.live import Realm, apply_realm

        api = execution.project.kubernetes
        pod = next((one for one in pods_of(api.all_of("Pod"), "keycloak") if is_ready(one)), None)
        if pod is None:
            raise OpsError("Keycloak's realm cannot be applied", "no pod of Keycloak is ready", "inv status")
        with forwarded(api, str(pod["metadata"]["name"]), KEYCLOAK_PORT) as port:
            realm = Realm(execution.project, read_realm(self.realm), self.versions, port)
            apply_realm(realm, execution.reporter(self), deletions=False)


@dataclass(frozen=True)
class KeepRelease(Step):
    """Keep all objects of a release in the cluster, for a rollback from any machine."""

    number: int = 0
    digest: str = ""
    objects: tuple[Object, ...] = field(default=(), repr=False)
    more: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def run(self, execution: Execution) -> None:
        from ops.cluster.facts import held, packed, release_name
        from ops.engines.kubernetes.objects import LABEL_VERSION, RELEASE
        from ops.stack.model import LABEL_HASH

        content = {"release": packed([dict(one) for one in self.objects], self.more)}
        marks = {LABEL_VERSION: str(self.number)}
        notes = {LABEL_HASH: self.digest}
        name = release_name(self.number)
        made = held(execution.project.name, name, RELEASE, content, marks=marks, annotations=notes)
        execution.project.kubernetes.create(made)


@dataclass(frozen=True)
class MakeCurrent(Step):
    """Note which release runs. make: from what the ConfigMap says now, what it says then."""

    said: Mapping[str, str] = field(default_factory=dict)

    def run(self, execution: Execution) -> None:
        note_current(execution.project.kubernetes, lambda before: {**before, **self.said})


def note_current(api: Api, change: Callable[[Mapping[str, str]], Mapping[str, str]]) -> None:
    """Change what the cluster says of the release that runs."""
    from ops.cluster.facts import CURRENT_NAME
    from ops.engines.kubernetes.objects import labels

    found = api.get("ConfigMap", CURRENT_NAME)
    data = dict(change((found or {}).get("data") or {}))
    about = {"name": CURRENT_NAME, "labels": labels(api.project)}
    api.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": data})


@dataclass(frozen=True)
class Restart(Step):
    """Replace all pods of a workload, one after the other."""

    kind: str = ""
    name: str = ""
    at: str = ""

    def run(self, execution: Execution) -> None:
        patch = {"spec": {"template": {"metadata": {"annotations": {"cc03.restarted-at": self.at}}}}}
        execution.project.kubernetes.merge(self.kind, self.name, patch, "cc03-restart")


@dataclass(frozen=True)
class SetReplicas(Step):
    """Have a workload run so many pods, and wait for it."""

    kind: str = ""
    name: str = ""
    number: int = 0
    deadline: int = 120

    def run(self, execution: Execution) -> None:
        from ops.engines.kubernetes.reads import pods_of

        api = execution.project.kubernetes
        api.merge(self.kind, self.name, {"spec": {"replicas": self.number}})
        if self.number:
            AwaitRollout(self.key, self.title, kind=self.kind, name=self.name, deadline=self.deadline).run(execution)
        elif until(lambda: "its pods end" if pods_of(api.all_of("Pod"), self.name) else "", self.deadline):
            raise OpsError(f"{self.name} does not stop", f"a pod is left after {self.deadline} s", "inv status")
