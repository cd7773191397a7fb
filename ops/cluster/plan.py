"""From what a cluster has to a release: which objects are created, changed and removed, and in which order. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ops.cluster.facts import CURRENT_NAME, Observed, digest_of
from ops.cluster.steps import (
    Apply,
    ApplyRealmByForward,
    AwaitRollout,
    KeepCertificate,
    KeepRelease,
    KeepSecret,
    MakeCurrent,
    ProveCanary,
    Remove,
    RunJob,
    SetReplicas,
)
from ops.core.plan import Change, Plan, Step
from ops.engines.kubernetes.objects import WORKLOADS, Object, hash_of, identity, secret_object_name, service_of
from ops.engines.kubernetes.reads import finished, replicas_of, unready
from ops.stack.model import Service
from ops.stack.render import digest

KEYCLOAK = "keycloak"
KEPT = ("PersistentVolumeClaim", "Pod")
"""Kinds of which nothing is removed because a release does not have it: data, and what workloads have made."""
JOB_SECONDS = 900


@dataclass(frozen=True)
class Wish:
    """A release for a cluster.

    objects: all but Secrets. services: those that run, in their order. secrets: of the realm too. certificates: service ->
    names. canaries: service -> its first pod. number: of a release that there is; None: of a new one. realm: its declaration,
    with the versions of its secrets.
    """

    objects: Sequence[Object]
    services: Sequence[Service]
    secrets: Mapping[str, int]
    certificates: Mapping[str, tuple[int, tuple[str, ...]]]
    canaries: Mapping[str, Object] = field(default_factory=dict)
    realm: str = ""
    realm_versions: Mapping[str, int] = field(default_factory=dict)
    number: int | None = None
    images: Mapping[str, str] = field(default_factory=dict)
    """Tag of an image -> its reference by digest."""
    said: Mapping[str, str] = field(default_factory=dict)
    """What else the ConfigMap of releases is to say."""
    settle: int = 5
    verb: str = "deploy"

    @property
    def digest(self) -> str:
        return digest_of(self.objects, self.secrets, self.realm)

    @property
    def realm_digest(self) -> str:
        return digest([self.realm, dict(self.realm_versions)]) if self.realm else ""


def due_certificates(
    wanted: Mapping[str, tuple[str, ...]], seen: Observed, now: float
) -> dict[str, tuple[int, tuple[str, ...]]]:  # fmt: skip
    """Service -> version and names of the certificate that it should have. now: seconds of the epoch."""
    found = {}
    for service, names in wanted.items():
        have = seen.certificates.get(service)
        good = have is not None and have.names == names and have.renew_after > now
        found[service] = ((have.version if have else 0) + (not good), names)
    return found


def plan(wish: Wish, seen: Observed) -> Plan:
    """Steps from what was seen to what is wanted; none when they agree."""
    number = number_of(wish, seen)
    kept = _kept(wish, seen)
    base = [one for one in wish.objects if one["kind"] not in (*WORKLOADS, "Job")]
    ground: list[Step] = [*kept, *(_apply(one, seen, tuple(kept)) for one in base if _differs(one, seen))]
    ground += _release(wish, seen, number, tuple(ground))
    rolled = _workloads(wish, seen, tuple(ground))
    steps = [*ground, *rolled]
    steps += _made_current(wish, seen, number, tuple(steps))
    steps += _orphans(wish, seen, tuple(steps))
    return Plan(wish.verb, tuple(steps), changes=tuple(_changes(wish, seen)))


def number_of(wish: Wish, seen: Observed) -> int:
    """Of the release: that of one which consists of the same, where a deploy of it was broken off, or of a new one."""
    same = [number for number, digest in seen.releases.items() if digest == wish.digest]
    return wish.number or max(same, default=seen.next_number)


def _kept(wish: Wish, seen: Observed) -> list[Step]:
    secrets: list[Step] = [
        KeepSecret(f"secret {name}", f"generate secret {name}", secret=name, version=version)
        for name, version in wish.secrets.items() if secret_object_name(name, version) not in seen.secrets
    ]  # fmt: skip
    for name, (version, names) in wish.certificates.items():
        have = seen.certificates.get(name)
        if have is None or have.version < version:
            # One after the other: each may be the first to need the CA.
            title = f"issue certificate for {name}"
            secrets.append(KeepCertificate(
                f"certificate {name}", title, tuple(secrets[-1:]), service=name, version=version, names=names
            ))  # fmt: skip
    return secrets


def _differs(wanted: Object, seen: Observed) -> bool:
    have = seen.objects.get(identity(wanted))
    if have is None or hash_of(have) != hash_of(wanted):
        return True
    return wanted["kind"] in WORKLOADS and replicas_of(have) != replicas_of(wanted)


def _apply(wanted: Object, seen: Observed, after: tuple[Step, ...]) -> Apply:
    kind, name = identity(wanted)
    verb = "change" if (kind, name) in seen.objects else "create"
    return Apply(f"apply {kind} {name}", f"{verb} {kind} {name}", after, made=wanted)


def _release(wish: Wish, seen: Observed, number: int, after: tuple[Step, ...]) -> list[Step]:
    if number in seen.releases:
        return []
    more = {"secrets": dict(wish.secrets), "realm": wish.realm, "realm_versions": dict(wish.realm_versions)}
    return [KeepRelease(
        "release", f"seal release {number}", after, number=number, digest=wish.digest, objects=tuple(wish.objects), more=more
    )]  # fmt: skip


def _workloads(wish: Wish, seen: Observed, ground: tuple[Step, ...]) -> list[Step]:
    """Each service once those that it needs are ready; its migration first, then its canary, then all others."""
    by_service: dict[str, list[Object]] = {}
    for one in wish.objects:
        if one["kind"] in (*WORKLOADS, "Job"):
            by_service.setdefault(service_of(one), []).append(one)
    last: dict[str, tuple[Step, ...]] = {}
    found: list[Step] = []
    for service in wish.services:
        after = (*ground, *(step for name in service.needs for step in last.get(name, ())))
        steps = _of_service(wish, seen, service, by_service.get(service.name, []), after)
        if service.name == KEYCLOAK:
            steps += _realm(wish, seen, (*after, *steps))
        last[service.name] = tuple(steps[-1:]) or tuple(step for name in service.needs for step in last.get(name, ()))
        found += steps
    return found


def _of_service(
    wish: Wish, seen: Observed, service: Service, objects: Sequence[Object], after: tuple[Step, ...]
) -> list[Step]:  # fmt: skip
    steps: list[Step] = []
    for job in (one for one in objects if one["kind"] == "Job"):
        if finished(seen.objects.get(identity(job))) != "done":
            title = f"migrate the database for {service.name}"
            steps.append(RunJob(
                f"migrate {service.name}", title, after, made=job, service=service.name, deadline=JOB_SECONDS
            ))  # fmt: skip
    for workload in (one for one in objects if one["kind"] in WORKLOADS):
        kind, name = identity(workload)
        have, changed = seen.objects.get((kind, name)), _differs(workload, seen)
        if changed and have is not None and service.name in wish.canaries and _rolls(workload, have):
            steps.append(ProveCanary(
                f"canary {name}", f"prove the first pod of the new {name} outside its Service", (*after, *steps),
                made=wish.canaries[service.name], service=service.name, deadline=service.start_seconds + 60,
                settle=wish.settle,
            ))  # fmt: skip
        if changed:
            steps.append(_apply(workload, seen, (*after, *steps)))
        if changed or (have is not None and unready(have)):
            number = max(1, replicas_of(workload))
            steps.append(AwaitRollout(
                f"await {name}", f"wait until {name} is ready", (*after, *steps), kind=kind, name=name,
                deadline=(service.start_seconds + service.grace + wish.settle) * number + 60,
            ))  # fmt: skip
    return steps


def _rolls(wanted: Object, have: Object) -> bool:
    """Whether pods that serve are replaced, and not only their number changed."""
    return hash_of(have) != hash_of(wanted) and bool(replicas_of(have)) and not unready(have)


def _realm(wish: Wish, seen: Observed, after: tuple[Step, ...]) -> list[Step]:
    if not wish.realm or seen.current.get("realm") == wish.realm_digest:
        return []
    title = "apply the realm"
    return [
        ApplyRealmByForward("realm", title, after, realm=wish.realm, versions=wish.realm_versions),
    ]


def _made_current(wish: Wish, seen: Observed, number: int, after: tuple[Step, ...]) -> list[Step]:
    said = {"current": str(number), "digest": wish.digest, "realm": wish.realm_digest}
    said |= {"images": json.dumps(dict(wish.images), sort_keys=True)} if wish.images else {}
    said |= wish.said
    if all(seen.current.get(key, "") == value for key, value in said.items()):
        return []
    return [MakeCurrent("current", f"make release {number} the current one", after, said=said)]


def _orphans(wish: Wish, seen: Observed, after: tuple[Step, ...]) -> list[Step]:
    wanted = {identity(one) for one in wish.objects}
    return [
        Remove(f"remove {kind} {name}", f"remove {kind} {name}", after, kind=kind, name=name)
        for kind, name in sorted(seen.objects) if (kind, name) not in wanted and kind not in KEPT
    ]  # fmt: skip


def _changes(wish: Wish, seen: Observed) -> Iterable[Change]:
    for service in wish.services:
        own = [one for one in wish.objects if one["kind"] in WORKLOADS and service_of(one) == service.name]
        for workload in own:
            have = seen.objects.get(identity(workload))
            if have is None:
                yield Change(service.name, "create", "it is missing")
            elif _differs(workload, seen):
                yield _change(service, workload, have)
            elif why := unready(have):
                yield Change(service.name, "start", why)
    wanted = {identity(one) for one in wish.objects}
    for kind, name in sorted(seen.objects):
        if kind in WORKLOADS and (kind, name) not in wanted:
            yield Change(name, "remove", "the stack does not have it")


def _change(service: Service, wanted: Object, have: Object) -> Change:
    before, after = replicas_of(have), replicas_of(wanted)
    if before != after:
        why = f"from {before} to {after} pods"
    else:
        images = [one["spec"]["template"]["spec"]["containers"][0]["image"] for one in (have, wanted)]
        why = "another image" if images[0] != images[1] else "another definition, configuration, secret or certificate"
    if wanted["kind"] == "StatefulSet" and before:
        return Change(service.name, "recreate", why, service.gap_seconds, service.interrupts, service.stops_requests)
    return Change(service.name, "roll", why)


# What does not lead to a release.


def plan_scale(verb: str, numbers: Mapping[tuple[str, str], int], seen: Observed, order: Sequence[Service]) -> Plan:
    """Workloads with other numbers of pods, one after the other.

    numbers: (kind, name) -> pods. order: of the services; each waits for the one before.
    """
    steps: list[Step] = []
    for service in order:
        for (kind, name), number in numbers.items():
            have = seen.objects.get((kind, name))
            if have is not None and service_of(have) == service.name and (replicas_of(have) != number or _ill(have, number)):
                title = f"stop {name}" if not number else f"start {name}" if not replicas_of(have) else f"{name}: {number} pods"
                deadline = service.start_seconds + 60 if number else service.grace + 60
                steps.append(SetReplicas(
                    f"{verb} {name}", title, tuple(steps[-1:]), kind=kind, name=name, number=number, deadline=deadline
                ))  # fmt: skip
    return Plan(verb, tuple(steps))


def _ill(have: Object, number: int) -> bool:
    return bool(number and unready(have))


def plan_destroy(seen: Observed, secrets: Sequence[str], *, keep_data: bool) -> Plan:
    """secrets: names of all Secrets of the project; they and the volumes stay with keep_data, so that a deploy continues."""
    steps: list[Step] = []
    kept = ("PersistentVolumeClaim",) if keep_data else ()
    order = sorted(seen.objects, key=lambda one: (one[0] not in WORKLOADS, one))
    for kind, name in order:
        if kind not in (*kept, "Pod"):
            after = tuple(steps[-1:])
            steps.append(Remove(f"remove {kind} {name}", f"remove {kind} {name}", after, kind=kind, name=name))
    losses: list[str] = []
    if not keep_data:
        losses = [f"volume {name}, with its data" for kind, name in sorted(seen.objects) if kind == "PersistentVolumeClaim"]
        losses += ["all secrets, the certificate authority and all releases"] if secrets else []
        rest = [("Secret", name) for name in secrets] + ([("ConfigMap", CURRENT_NAME)] if seen.current else [])
        for kind, name in rest:
            steps.append(Remove(f"remove {kind} {name}", f"remove {kind} {name}", tuple(steps[-1:]), kind=kind, name=name))
    elif steps:
        losses = ["the running stack; its volumes, secrets and releases stay"]
    return Plan("destroy", tuple(steps), destroys=tuple(losses) if steps else ())
