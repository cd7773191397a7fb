"""What a cluster has and lacks for the stack, and what to type."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from ops.core.errors import OpsError
from ops.host.findings import CLOCK_SECONDS, Finding

if TYPE_CHECKING:
    from ops.engines.kubernetes.api import Api

LEAST = (1, 34)
"""The first version in which a pod's preStop may sleep on every cluster (KEP-3960)."""
ALL = ("get", "list", "create", "patch", "delete")
RIGHTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    *(("", one, ALL) for one in (
        "configmaps", "secrets", "services", "serviceaccounts", "persistentvolumeclaims", "pods",
    )),
    ("", "pods/log", ("get",)), ("", "pods/portforward", ("create",)), ("", "events", ("list",)),
    *(("apps", one, ALL) for one in ("deployments", "statefulsets", "daemonsets")), ("batch", "jobs", ALL),
    ("networking.k8s.io", "networkpolicies", ALL), ("policy", "poddisruptionbudgets", ALL),
    ("coordination.k8s.io", "leases", ("get", "create", "update")),
)  # fmt: skip
"""(API group, resource, verbs) that the commands use in the namespace: the Role of docs/how-to/cluster.md."""
ENFORCE = "pod-security.kubernetes.io/enforce"


def granted(rules: Iterable[Mapping[str, Any]], group: str, resource: str, verb: str) -> bool:
    """Whether one of the rules (SelfSubjectRulesReview) grants a right on every object of a resource."""
    return any(
        {group, "*"} & set(rule.get("apiGroups") or ()) and {resource, "*"} & set(rule.get("resources") or ())
        and {verb, "*"} & set(rule.get("verbs") or ()) and not rule.get("resourceNames")
        for rule in rules
    )  # fmt: skip


def missing(rules: Iterable[Mapping[str, Any]]) -> list[str]:
    """Resource by resource: `secrets: get, list`."""
    known = list(rules)
    lacking = (
        (resource, [verb for verb in verbs if not granted(known, group, resource, verb)]) for group, resource, verbs in RIGHTS
    )
    return [f"{resource}: {', '.join(verbs)}" for resource, verbs in lacking if verbs]


def findings(api: Api) -> Iterator[Finding]:
    """Raises HostLacks where the cluster does not answer."""
    yield from _version(api.ask("GET", "/version"))
    yield from _clock(api)
    about, given = _asked(api, f"/api/v1/namespaces/{api.namespace}")
    if given == "Absent":
        yield Finding(
            "bad",
            f"there is no namespace {api.namespace}",
            "nothing can be created",
            f"kubectl create namespace {api.namespace}",
        )
    elif about and about["metadata"].get("labels", {}).get(ENFORCE) != "restricted":
        yield Finding(
            "warning", f"Pod Security of namespace {api.namespace} is not `restricted`",
            "somebody else may start pods with rights there", f"kubectl label namespace {api.namespace} {ENFORCE}=restricted",
        )  # fmt: skip
    elif about:
        yield Finding("good", f"namespace {api.namespace}, under Pod Security `restricted`")
    yield from _rights(api)
    yield from _storage(api)
    yield Finding(
        "warning", "whether NetworkPolicies are enforced was not tried", "a network plug-in without them lets every "
        "pod connect to every other one", "the documentation of the cluster's network plug-in says it",
    )  # fmt: skip


def _version(said: Mapping[str, Any]) -> Iterator[Finding]:
    found = tuple(int(re.sub(r"\D", "", str(said[part])) or 0) for part in ("major", "minor"))
    if found < LEAST:
        yield Finding(
            "bad", f"Kubernetes {said['gitVersion']}", f"{LEAST[0]}.{LEAST[1]} is needed: pods sleep before they stop",
            "upgrade the cluster",
        )  # fmt: skip
    else:
        yield Finding("good", f"Kubernetes {said['gitVersion']}")


def _clock(api: Api) -> Iterator[Finding]:
    at = api.date()
    offset = (datetime.now(UTC) - parsedate_to_datetime(at)).total_seconds() if at else 0.0
    if abs(offset) > CLOCK_SECONDS:
        yield Finding(
            "warning", f"the clock of this machine and the cluster's differ by {offset:.0f} s", "certificates "
            "that are issued here may not be valid there yet", "timedatectl set-ntp true, on the machine that is wrong",
        )  # fmt: skip


def _asked(api: Api, path: str) -> tuple[Any, str]:
    """The answer, or the kind of refusal."""
    try:
        return api.ask("GET", path), ""
    except OpsError as problem:
        return None, type(problem).__name__


def _rights(api: Api) -> Iterator[Finding]:
    body = {
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": api.namespace},
    }  # fmt: skip
    rules = api.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", body)["status"]["resourceRules"]
    if lacking := missing(rules):
        yield Finding(
            "bad", f"rights on {len(lacking)} kinds are missing in namespace {api.namespace}", "; ".join(lacking),
            "have an administrator apply the Role of docs/how-to/cluster.md",
        )  # fmt: skip
    else:
        yield Finding("good", "all rights that the commands need")


def _storage(api: Api) -> Iterator[Finding]:
    classes, refused = _asked(api, "/apis/storage.k8s.io/v1/storageclasses")
    if refused:
        yield Finding("warning", "storage classes cannot be listed", "no right to; a missing one is noticed by a deploy alone")
        return
    names = {one["metadata"]["name"] for one in classes["items"]}
    marked = "storageclass.kubernetes.io/is-default-class"
    default = [
        one["metadata"]["name"] for one in classes["items"] if (one["metadata"].get("annotations") or {}).get(marked) == "true"
    ]  # fmt: skip
    wanted = api.cluster.storageClass
    if wanted and wanted not in names:
        yield Finding(
            "bad", f"there is no storage class {wanted}", f"there are: {', '.join(sorted(names)) or 'none'}",
            "correct engine.kubernetes.storageClass in config/stack.yaml",
        )  # fmt: skip
    elif not wanted and not default:
        yield Finding(
            "bad", "there is no default storage class", f"there are: {', '.join(sorted(names)) or 'none'}",
            "engine.kubernetes.storageClass in config/stack.yaml names one",
        )  # fmt: skip
    else:
        yield Finding("good", f"storage class {wanted or default[0]}")
