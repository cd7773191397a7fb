"""Which containers.conf makes Podman work on this host. The host's own files stay as they are."""

from __future__ import annotations

from dataclasses import dataclass, field

CONTAINER_NOFILE = 16384
CONTAINER_NPROC = 32768


@dataclass(frozen=True)
class HostFacts:
    """cgroups: v1, v2 or hybrid. nofile, nproc: this process's hard limits, None for unlimited."""

    systemd: bool = True
    cgroups: str = "v2"
    may_raise_limits: bool = True
    nofile: int | None = None
    nproc: int | None = None
    programs: frozenset[str] = field(default_factory=frozenset)
    root: bool = True
    seccomp: bool = True
    """Whether the default profile of containers is installed."""


def containers_conf(facts: HostFacts, seccomp: str = "") -> str:
    """The file that CONTAINERS_CONF names.

    crun refuses hybrid cgroups, so runc runs there. Without CAP_SYS_RESOURCE a container may not be given higher limits than
    the host's own, which Podman 4.3 tries by default; so limits are set that fit within them. Podman 4.3 prefers CNI where
    networks of that kind exist, so netavark is named.

    Parameters
    ----------
    seccomp: path of the profile of every container that names none, one-off containers included; empty for Podman's own.
    """
    lines = ["[network]", 'network_backend = "netavark"', "", "[engine]", 'events_logger = "file"']
    if not facts.systemd:
        lines.append('cgroup_manager = "cgroupfs"')
    runtime = "runc" if "runc" in facts.programs and (facts.cgroups != "v2" or "crun" not in facts.programs) else None
    if runtime:
        lines.append(f'runtime = "{runtime}"')
    nofile = min(CONTAINER_NOFILE, facts.nofile or CONTAINER_NOFILE)
    nproc = min(CONTAINER_NPROC, facts.nproc or CONTAINER_NPROC)
    lines += ["", "[containers]", f'default_ulimits = ["nofile={nofile}:{nofile}", "nproc={nproc}:{nproc}"]']
    if seccomp:
        lines.append(f'seccomp_profile = "{seccomp}"')
    return "\n".join(lines) + "\n"
