"""Single misconfigurations of the stack, as they happen. Each is a small overlay of compose.yaml, or a change of what runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VICTIM = "alertmanager"
"""The service that the overlays change: nobody needs it in order to start."""
LEAKED = "${leaked secret}"
"""Stands for the value of a secret of the project."""
SOCKET = "${socket}"
"""Stands for the path of a Unix socket of the host."""


@dataclass(frozen=True)
class Overlay:
    """One change of compose.yaml.

    `change`: merged into the service VICTIM; `top`: into the whole file. `policy`: the control of the declaration that finds
    it; `running`: the one that finds it in the container that runs so, empty where nothing runs differently.
    """

    name: str
    policy: str
    running: str
    change: Mapping[str, Any]
    top: Mapping[str, Any] | None = None


def _volumes(*more: str) -> list[str]:
    return ["../config/alertmanager:/etc/cc03/current:ro", "alertmanager-data:/var/lib/alertmanager", *more]


OVERLAYS = (
    Overlay("privileged", "1.7", "2.15", {"privileged": True}),
    Overlay("capability SYS_ADMIN", "1.4", "2.3", {"cap_add": ["SYS_ADMIN"]}),
    Overlay("capability NET_RAW", "1.4", "2.3", {"cap_add": ["NET_RAW"]}),
    Overlay("default capabilities kept", "1.4", "2.3", {"cap_drop": []}),
    Overlay("privileges can be gained", "1.5", "2.4", {"security_opt": []}),
    Overlay("no seccomp filter", "1.5", "2.5", {"security_opt": ["no-new-privileges:true", "seccomp=unconfined"]}),
    Overlay("the engine's own seccomp filter", "1.5", "2.19", {
        "security_opt": ["no-new-privileges:true", "seccomp=/usr/share/containers/seccomp.json"]
    }),
    Overlay("writable root", "1.3", "2.9", {"read_only": False}),
    Overlay("runs as root", "1.6", "2.6", {"user": "0:0"}),
    Overlay("user of PostgreSQL", "1.6", "2.7", {"user": "60705:60705"}),
    Overlay("processes of the host", "1.7", "2.8", {"pid": "host"}),
    Overlay("memory of the host shared", "1.7", "", {"ipc": "host"}),
    Overlay("network of the host", "1.1", "2.8", {"network_mode": "host", "networks": None}),
    Overlay("root of the host", "1.8", "2.11", {"volumes": _volumes("/:/host:ro")}),
    Overlay("/etc of the host, writable", "1.8", "2.11", {"volumes": _volumes("/etc:/host/etc")}),
    Overlay("socket of the engine", "1.8", "2.14", {"volumes": _volumes(f"{SOCKET}:/run/docker.sock:ro")}),
    Overlay("secrets of the state folder", "1.11", "2.11", {"volumes": _volumes("${CC03_STATE:-./state}/secrets:/other:ro")}),
    Overlay("configuration writable", "1.11", "2.13", {"volumes": [
        "../config/alertmanager:/etc/cc03/current", "alertmanager-data:/var/lib/alertmanager"
    ]}),
    Overlay("data of PostgreSQL", "1.24", "2.12", {"volumes": _volumes("postgres-data:/other")}),
    Overlay("data of PostgreSQL, read-only", "1.24", "2.12", {"volumes": _volumes("postgres-data:/other:ro")}),
    Overlay("anonymous volume", "1.12", "2.12", {"volumes": _volumes("/scratch")}),
    Overlay("a device", "1.8", "2.15", {"devices": ["/dev/zero:/dev/mem"]}),
    Overlay("a published port", "1.2", "4.7", {"ports": ["19093:9093"]}),
    Overlay("a published port on loopback", "1.2", "4.7", {"ports": ["127.0.0.1:19093:9093"]}),
    Overlay("the public network", "1.1", "4.3", {"networks": ["monitoring", "web"]}),
    Overlay("the network of the databases", "1.1", "4.1", {"networks": ["monitoring", "data"]}),
    Overlay("a network with a way out", "1.1", "", {}, {"networks": {"data": {"internal": False}}}),
    Overlay("a secret of another service", "1.13", "3.1", {"secrets": ["postgres-superuser"]}),
    Overlay("a secret in the environment", "1.15", "3.3", {"environment": {"SMTP_PASSWORD": LEAKED}}),
    Overlay("a secret in an argument", "1.15", "3.3", {"command": ["sleep", "infinity", f"--password={LEAKED}"]}),
    Overlay("an environment file", "1.14", "", {"env_file": ["./secrets.env"]}),
    Overlay("no memory limit", "1.17", "2.17", {"deploy": {"resources": {"limits": {"memory": None}}}}),
    Overlay("no CPU limit", "1.17", "2.17", {"deploy": {"resources": {"limits": {"cpus": None}}}}),
    Overlay("any number of processes", "1.25", "2.17", {"pids_limit": -1}),
    Overlay("set-uid programs in /tmp", "1.26", "2.16", {"tmpfs": ["/tmp:mode=1777,size=16m,suid"]}),
    Overlay("programs in /tmp", "1.26", "2.21", {"tmpfs": ["/tmp:mode=1777,size=16m,exec"]}),
    Overlay("tmpfs without a size", "1.20", "", {"tmpfs": ["/tmp:mode=1777"]}),
    Overlay("an image by a moving tag", "1.10", "2.18", {"image": "cc03/alertmanager:latest"}),
    Overlay("no health check", "1.16", "", {"healthcheck": {"disable": True}}),
    Overlay("labels of SELinux off", "1.5", "", {"security_opt": ["no-new-privileges:true", "label=disable"]}),
    Overlay("cgroups of the host", "1.7", "", {"cgroup": "host"}),
    Overlay("users of the host", "1.7", "", {"userns_mode": "host"}),
    Overlay("an exemption without a reason", "1.9", "", {"x-cc03": {"exempt": {"root": "because"}}}),
    Overlay("does not start again", "1.18", "", {"restart": "no"}),
)  # fmt: skip


def merged(whole: Any, change: Any) -> Any:
    """A mapping with a change laid over it; None takes a key away, anything but a mapping replaces."""
    if not isinstance(whole, Mapping) or not isinstance(change, Mapping):
        return change
    result = {**whole, **{key: merged(whole.get(key), value) for key, value in change.items()}}
    return {key: value for key, value in result.items() if not (value is None and key in change)}


def laid_over(compose: Mapping[str, Any], overlay: Overlay) -> Mapping[str, Any]:
    """compose.yaml with that one misconfiguration."""
    changed: Mapping[str, Any] = merged(compose, {"services": {VICTIM: overlay.change}, **(overlay.top or {})})
    return changed


def filled(value: Any, values: Mapping[str, str]) -> Any:
    """With what its placeholders stand for here."""
    if isinstance(value, str):
        for name, real in values.items():
            value = value.replace(name, real)
        return value
    if isinstance(value, Mapping):
        return {key: filled(inner, values) for key, inner in value.items()}
    return [filled(inner, values) for inner in value] if isinstance(value, list) else value
