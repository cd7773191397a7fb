"""compose/compose.yaml by the specification's schema and by our own policies; broken examples prove that each one bites."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.core.errors import OpsError
from ops.core.machine import REPOSITORY
from ops.core.process import Result, run
from ops.policies import POLICIES, problems
from ops.policies.isolation import PORTS
from ops.stack.compose_keys import ServiceKeys

COMPOSE = REPOSITORY / "compose" / "compose.yaml"
BROKEN: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "broken.yaml").read_text())


def service(name: str, uid: int, *networks: str, own: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "image": f"cc03/{name}", "build": f"./{name}", "user": f"{uid}:{uid}", "networks": list(networks),
        "restart": "unless-stopped", "stop_grace_period": "30s", "read_only": True, "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"], "tmpfs": ["/tmp:mode=1777,size=16m"],
        "healthcheck": {"test": ["CMD", "healthy"], "interval": "30s", "timeout": "5s", "retries": 3, "start_period": "9s"},
        "deploy": {"resources": {"limits": {"memory": "512m", "cpus": "0.5"}}},
        "x-cc03": {"tls": {"ports": {"8000": "tls"}}, **(own or {})},
        **more,
    }  # fmt: skip


NGINX = {"needs": ["edge"], "health": {"socket": "/run/probe.sock"}}
GOOD: dict[str, Any] = {
    "services": {
        "redis": service("redis", 60706, "data", volumes=["redis-data:/var/lib/redis"], secrets=["redis-app"]),
        "backend": service(
            "backend", 60703, "app", "data", environment={"REDIS_PASSWORD_FILE": "/run/secrets/redis-app"},
            own={"needs": ["redis"], "health": {"ready": "https://backend:8000/health"}},
        ),
        "edge": service(
            "edge", 60713, "web", "frontend", "app", "monitoring", ports=sorted(PORTS), **{"x-cc03": {}}
        ),
        "nginx": {
            **{key: value for key, value in service("nginx", 60701, own=NGINX).items() if key != "networks"},
            "network_mode": "service:edge",
        },
        "alertmanager": service("alertmanager", 60709, "monitoring"),
    },
    "networks": {"web": {}, **{name: {"internal": True} for name in ("frontend", "app", "data", "monitoring")}},
    "volumes": {"redis-data": {}},
    "secrets": {"redis-app": {"external": True}},
}  # fmt: skip
"""A small stack in order."""


def merged(good: Any, change: Any) -> Any:
    if not isinstance(good, dict) or not isinstance(change, dict):
        return change
    result = {**good, **{key: merged(good.get(key), value) for key, value in change.items()}}
    return {key: value for key, value in result.items() if not (value is None and key in change)}


def told(found: list[Any]) -> str:
    return "\n" + "\n".join(map(str, found))


def test_compose_file_follows_every_policy() -> None:
    found = problems(yaml.safe_load(COMPOSE.read_text()))
    assert not found, told(found)


def test_the_good_example_is_good() -> None:
    assert not problems(GOOD), told(problems(GOOD))


def test_every_policy_has_a_broken_example() -> None:
    assert set(BROKEN) == set(POLICIES)


@pytest.mark.parametrize(
    ("name", "change"),
    [pytest.param(name, change, id=f"{name}: {case}") for name, cases in BROKEN.items() for case, change in cases.items()],
)
def test_a_broken_example_is_rejected_by_its_policy_alone(name: str, change: dict[str, Any]) -> None:
    found = problems(merged(copy.deepcopy(GOOD), change))
    assert {problem.policy for problem in found} == {name}, told(found)
    assert all(problem.where and problem.what and problem.why and problem.advice for problem in found)


@pytest.mark.parametrize(
    "change",
    [
        {"cap_add": ["SYS_PTRACE"], "x-cc03": {"exempt": {"capabilities": "SYS_PTRACE, to read the maps of others"}}},
        {"user": "0:0", "x-cc03": {"exempt": {"root": "the kernel shows this to root only"}}},
        {"read_only": False, "x-cc03": {"exempt": {"read-only": "its plugins are unpacked beside it"}}},
        {"privileged": True, "x-cc03": {"exempt": {"privileged": "programs of eBPF cannot be loaded otherwise"}}},
        {"pid": "host", "x-cc03": {"exempt": {"host-namespaces": "it counts the processes of the host"}}},
        {"volumes": ["redis-data:/data", "/sys:/sys:ro"], "x-cc03": {"exempt": {"host-mounts": "it measures the host itself"}}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_exemption_with_a_reason_is_accepted(change: dict[str, Any]) -> None:
    found = problems(merged(copy.deepcopy(GOOD), {"services": {"redis": change}}))
    assert not found, told(found)


def test_a_mistyped_key_gets_a_suggestion() -> None:
    found = problems(merged(copy.deepcopy(GOOD), {"services": {"redis": {"x-cc03": {"relaod": ["true"]}}}}))
    assert [problem.advice for problem in found] == ['did you mean "reload"?']


def test_every_key_of_ours_is_read_by_the_deployer() -> None:
    """A key that is accepted here and ignored there would be a setting that does nothing."""
    source = (REPOSITORY / "ops" / "stack" / "compose.py").read_text()
    assert set(re.findall(r"\bown\.(\w+)", source)) == set(ServiceKeys.model_fields) - {"exempt"}


def by_schema(*files: Path) -> Result:
    """The specification's schema, in the version that the locked check-jsonschema carries."""
    return run(("check-jsonschema", "--builtin-schema", "vendor.compose-spec", *map(str, files)), timeout=30)


def test_compose_file_and_the_good_example_follow_the_specification(tmp_path: Path) -> None:
    example = tmp_path / "compose.yaml"
    example.write_text(yaml.safe_dump(GOOD))
    by_schema(COMPOSE, example)


@pytest.mark.parametrize(
    "change",
    [
        {"services": {"redis": {"restrat": "unless-stopped"}}},
        {"services": {"redis": {"networks": {"data": {"adress": "10.0.0.2"}}}}},
        {"services": {"redis": {"healthcheck": {"interval": [30]}}}},
        {"network": {}},
    ],
    ids=["service key", "network key", "type", "top level"],
)
def test_the_specification_rejects_a_broken_example(change: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(yaml.safe_dump(merged(copy.deepcopy(GOOD), change)))
    with pytest.raises(OpsError, match="check-jsonschema"):
        by_schema(file)
