"""From what a cluster has to a release: the order of steps, and that nothing is left to do afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.cluster.facts import Certificate, Observed, judged
from ops.cluster.plan import due_certificates, plan, plan_destroy, plan_scale
from ops.cluster.steps import Apply, AwaitRollout, KeepCertificate, KeepRelease, KeepSecret, ProveCanary, Remove, RunJob
from ops.core.plan import Plan, Step
from tests.unit.cluster.builders import after, wish

EMPTY = Observed()


def deployed(tag: str = "1", text: str = "") -> Observed:
    return after(plan(wish(text, tag), EMPTY).steps, EMPTY)


def keys(found: Plan) -> list[str]:
    return [step.key for step in found.steps]


def before(found: Plan, first: str, second: str) -> bool:
    """Whether a step waits for another one, directly or through others."""
    steps = {step.key: step for step in found.steps}

    def reached(step: Step) -> set[str]:
        return {key for one in step.after for key in {one.key, *reached(one)}}

    return first in reached(steps[second])


def test_everything_is_made_on_an_empty_cluster_in_the_order_of_needs() -> None:
    found = plan(wish(), EMPTY)

    assert len(set(keys(found))) == len(keys(found))
    for first, second in [
        ("secret postgres-app", "apply StatefulSet postgres"), ("certificate postgres", "apply StatefulSet postgres"),
        ("apply NetworkPolicy deny-all", "apply StatefulSet postgres"), ("await postgres", "apply StatefulSet keycloak"),
        ("await keycloak", "realm"), ("await postgres", "migrate backend"), ("migrate backend", "apply Deployment backend"),
        ("realm", "apply Deployment backend"), ("await backend", "current"), ("release", "apply StatefulSet postgres"),
    ]:  # fmt: skip
        assert before(found, first, second), (first, second)
    assert not any(isinstance(step, ProveCanary | Remove) for step in found.steps)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(["", "1", "2"]), st.sampled_from(["1", "2"]), st.integers(1, 3), st.integers(0, 80))
def test_wherever_a_deploy_is_broken_off_the_next_one_completes_it_and_then_nothing_is_left(
    first: str, second: str, replicas: int, broken_off: int
) -> None:
    seen = deployed(first) if first else EMPTY
    wanted = wish(f"replicas: {{backend: {replicas}}}", second)
    seen = after(plan(wanted, seen).steps[:broken_off], seen)

    seen = after(plan(wanted, seen).steps, seen)

    assert plan(wanted, seen).steps == ()
    assert plan(wanted, seen).changes == ()


def test_another_image_is_proved_and_rolled_and_what_is_left_of_the_old_release_goes() -> None:
    found = plan(wish(tag="2"), deployed())

    assert before(found, "migrate backend", "canary backend") and before(found, "canary backend", "apply Deployment backend")
    assert [step.name for step in found.steps if isinstance(step, Remove)] == [
        name for kind, name in sorted(deployed().objects) if kind == "Job"
    ]  # fmt: skip
    assert {change.service: change.action for change in found.changes} == {
        "postgres": "recreate", "redis": "recreate", "keycloak": "recreate",
        "backend": "roll", "frontend": "roll", "nginx": "roll",
    }  # fmt: skip
    assert found.changes[0].gap_seconds == 10 and found.changes[0].stops_requests


def test_one_setting_changes_one_service_only() -> None:
    found = plan(wish("limits: {backend: {memory: 3g}}"), deployed())

    assert [step.key for step in found.steps if isinstance(step, Apply)] == ["apply Deployment backend"]
    assert not any(isinstance(step, RunJob | KeepSecret) for step in found.steps if "backend" not in step.key)
    assert [type(step) for step in found.steps if isinstance(step, KeepRelease)] == [KeepRelease]


def test_other_number_of_pods_is_no_reason_for_a_canary() -> None:
    found = plan(wish(), after([], stopped(deployed())))

    assert "canary backend" not in keys(found) and "apply Deployment backend" in keys(found)


def test_where_no_pod_serves_there_is_nothing_to_protect_by_a_canary() -> None:
    seen = deployed()
    key = ("Deployment", "backend")
    ill = {**seen.objects[key], "status": {**seen.objects[key]["status"], "availableReplicas": 0}}

    found = keys(plan(wish(tag="2"), replace(seen, objects={**seen.objects, key: ill})))

    assert "canary backend" not in found and "canary nginx" in found


def stopped(seen: Observed) -> Observed:
    objects = {
        key: {**one, "spec": {**one["spec"], "replicas": 0}} if key[0] in ("Deployment", "StatefulSet") else one
        for key, one in seen.objects.items()
    }
    return replace(seen, objects=objects)


def test_workload_that_is_not_ready_is_waited_for() -> None:
    seen = deployed()
    key = ("Deployment", "backend")
    ill = {**seen.objects[key], "status": {**seen.objects[key]["status"], "availableReplicas": 1}}

    found = plan(wish(), replace(seen, objects={**seen.objects, key: ill}))

    assert [type(step) for step in found.steps] == [AwaitRollout]
    assert [change.why for change in found.changes] == ["1 of 2 pods are ready"]


def test_volumes_of_a_release_that_does_not_have_them_stay() -> None:
    seen = deployed()
    claim = {"kind": "PersistentVolumeClaim", "metadata": {"name": "old-data"}}

    assert plan(wish(), replace(seen, objects={**seen.objects, ("PersistentVolumeClaim", "old-data"): claim})).steps == ()


def test_way_back_makes_no_release_and_no_canary() -> None:
    seen = after(plan(wish(tag="2"), deployed()).steps, deployed())

    found = plan(wish(number=1, canaries={}), seen)

    assert not any(isinstance(step, KeepRelease | ProveCanary) for step in found.steps)
    assert after(found.steps, seen).number == 1
    assert plan(wish(number=1, canaries={}), after(found.steps, seen)).steps == ()


NAMES = ("postgres", "localhost")


@pytest.mark.parametrize(
    ("have", "version"),
    [
        (None, 1), (Certificate(3, NAMES, 200.0), 3), (Certificate(3, NAMES, 50.0), 4), (Certificate(3, ("other",), 200.0), 4),
    ],
)  # fmt: skip
def test_certificate_is_issued_where_there_is_none_or_it_is_due_or_for_other_names(
    have: Certificate | None, version: int
) -> None:
    seen = Observed(certificates={"postgres": have} if have else {})

    assert due_certificates({"postgres": NAMES}, seen, now=100.0) == {"postgres": (version, NAMES)}


def test_new_version_of_a_certificate_is_a_step() -> None:
    found = plan(wish(certificates={"postgres": (2, NAMES)}), deployed())

    assert [(s.service, s.version) for s in found.steps if isinstance(s, KeepCertificate)] == [("postgres", 2)]


def test_stop_is_in_the_opposite_order_and_start_restores_every_number() -> None:
    seen = deployed()
    numbers = {key: 0 for key in seen.objects if key[0] in ("Deployment", "StatefulSet")}
    services = list(wish().services)

    assert keys(plan_scale("stop", numbers, seen, services[::-1]))[0] == "stop nginx"
    assert keys(plan_scale("stop", numbers, stopped(seen), services[::-1])) == []
    assert keys(plan_scale("start", {("StatefulSet", "postgres"): 1}, stopped(seen), services)) == ["start postgres"]


def test_destroy_keeps_data_unless_it_is_told_not_to() -> None:
    seen = deployed()
    kept, gone = plan_destroy(seen, [], keep_data=True), plan_destroy(seen, ["postgres-app-1"], keep_data=False)

    assert not any("PersistentVolumeClaim" in key or "Secret" in key for key in keys(kept))
    assert {
        "remove PersistentVolumeClaim postgres-data", "remove Secret postgres-app-1", "remove ConfigMap release",
    } <= set(keys(gone))  # fmt: skip
    assert "remove ConfigMap release" not in keys(kept)
    assert any("postgres-data" in loss for loss in gone.destroys)
    assert plan_destroy(EMPTY, [], keep_data=True).destroys == ()


def test_labels_of_secrets_say_what_the_cluster_has() -> None:
    def kept(name: str, **marks: str) -> dict[str, object]:
        notes = {"cc03.names": "a,b", "cc03.renew-after": "5", "cc03.config-hash": "h"}
        labels = {f"cc03.{key}": value for key, value in marks.items()}
        return {"metadata": {"name": name, "labels": labels, "annotations": notes}}

    seen = judged({}, {"current": "2", "activations": '[{"release": 7, "outcome": "good"}]'}, [
        kept("postgres-app-1", kind="secret", secret="postgres-app", version="1"),
        kept("postgres-app-2", kind="secret", secret="postgres-app", version="2"),
        kept("tls-nginx-3", kind="certificate", service="nginx", version="3"),
        kept("release-2", kind="release", version="2"), kept("certificate-authority", kind="authority"),
    ])  # fmt: skip

    assert seen.stored == {"postgres-app": 2} and seen.secrets == {"postgres-app-1", "postgres-app-2"}
    assert seen.certificates == {"nginx": Certificate(3, ("a", "b"), 5.0)}
    assert (seen.number, seen.releases, seen.next_number, seen.authority) == (2, {2: "h"}, 8, "h")
