"""What the host's facts mean for the stack: findings, each with its meaning and its cure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ops.core.machine import HostFacts
from ops.host.accounts import Taken
from ops.stack.applied_settings import OWNER

PODMAN_MINIMUM = (4, 3)
NFTABLES_SINCE = (5, 0)
"""Debian 13 ships Podman 5 with a netavark that calls nft; Debian 12 and Ubuntu 24.04 have one that calls iptables."""
BUILD_BYTES = 8 << 30
"""Images, layers and caches of a first build take 5 GB; the rest is room to live."""
RUN_BYTES = 1 << 30
MEMORY_BYTES = 3 << 30
"""The stack idles under 2 GB; builds and peaks need room."""
CLOCK_SECONDS = 10.0
"""Keycloak accepts tokens this far from its own clock (10 s since 26.6)."""


@dataclass(frozen=True)
class Folder:
    """One that stack.yaml names as a repository. taken: whether the backup's account may write there."""

    path: str
    there: bool
    taken: bool
    own_disk: bool
    """Whether it is on another one than the local repository."""


@dataclass(frozen=True)
class Facts:
    """What was looked at. busy_ports: wanted ports that another program holds. clock_offset: seconds, None if unknown."""

    host: HostFacts
    podman: tuple[int, ...] | None
    images_missing: int = 0
    free_bytes: Mapping[str, int] = field(default_factory=dict)
    memory_bytes: int = 16 << 30
    busy_ports: Mapping[str, int] = field(default_factory=dict)
    port_owners: Mapping[int, str] = field(default_factory=dict)
    """Published port -> the project of this host whose container publishes it."""
    clock_offset: float | None = None
    ipv6: tuple[str, ...] = ()
    """IPv6 addresses that the DNS gives the site's name."""
    registries: Mapping[str, bool] = field(default_factory=dict)
    folders: Mapping[str, Folder] = field(default_factory=dict)
    """Repository -> its folder."""
    taken: tuple[Taken, ...] = ()
    """Accounts of the host that have an id of a container."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """Service -> bytes of memory that a container of it may take."""
    ceilings: int = 0
    """Bytes of memory that all containers together may take; 0 where that was not asked."""
    overcommit: int | None = None
    """vm.overcommit_memory of the host."""
    huge_pages: str = ""
    """How the kernel uses transparent huge pages: always, madvise or never."""
    backlog: int | None = None
    """net.core.somaxconn of a new network namespace, which does not take over the host's."""
    receivers: Mapping[str, bool] = field(default_factory=dict)
    """Host of each declared receiver of alerts -> whether this host knows an address of it."""
    without_resolver: bool = False
    """Whether a receiver of alerts is declared by a name, and containers are given no resolver."""
    secrets_closed: str = ""
    """Why secrets that are encrypted at rest cannot be read; empty where they can, and where they are not."""


@dataclass(frozen=True)
class Finding:
    """level: good, warning (works, but…) or bad (a deploy cannot work)."""

    level: str
    what: str
    meaning: str = ""
    cure: str = ""


INSTALL = "./scripts/quick-deploy.sh installs what is missing"


def findings(facts: Facts) -> tuple[Finding, ...]:
    """Every finding, good ones included, in the order in which they matter."""
    return (
        *_secrets(facts), *_programs(facts), *_kernel(facts), *_room(facts), *_memory(facts), *_ports(facts), *_accounts(facts),
        *_repositories(facts), *_receivers(facts),
        *_surroundings(facts),
    )  # fmt: skip


def _programs(facts: Facts) -> Iterator[Finding]:
    if facts.podman is None:
        yield Finding("bad", "Podman is not installed", "nothing can run without it", INSTALL)
    elif facts.podman < PODMAN_MINIMUM:
        shown = ".".join(map(str, facts.podman))
        yield Finding(
            "bad", f"Podman {shown} is too old", "4.3 or newer is needed", "upgrade to Debian 12 or newer, or Ubuntu 24.04"
        )
    else:
        yield Finding("good", f"Podman {'.'.join(map(str, facts.podman))}")
    for program, use in (("netavark", "containers get no network"), ("conmon", "containers cannot be started")):
        if program not in facts.host.programs:
            yield Finding("bad", f"{program} is not installed", f"without it {use}", INSTALL)
    if "nft" not in facts.host.programs:
        yield Finding("bad", "nft is not installed", "the packet filter of the published network cannot be loaded", INSTALL)
    if "iptables" not in facts.host.programs and not (facts.podman and facts.podman >= NFTABLES_SINCE):
        yield Finding("bad", "iptables is not installed", "netavark cannot publish ports without it", INSTALL)
    if not facts.host.programs & {"crun", "runc"}:
        yield Finding("bad", "no OCI runtime is installed", "neither crun nor runc was found", "apt-get install runc")
    if not facts.host.seccomp:
        yield Finding(
            "bad", "the default seccomp profile is not installed", "the stricter one of the stack's containers is made from it",
            "apt-get install --reinstall golang-github-containers-common",
        )  # fmt: skip
    if not facts.host.root:
        yield Finding("bad", "not root", "the stack needs fixed addresses, limits and low ports", "run the command with sudo")


def _kernel(facts: Facts) -> Iterator[Finding]:
    host = facts.host
    if host.cgroups != "v2" and "runc" not in host.programs:
        yield Finding(
            "bad", f"cgroups {host.cgroups} without runc", "crun refuses cgroups that are not v2", "apt-get install runc"
        )
    else:
        yield Finding("good", f"cgroups {host.cgroups}")
    if not host.may_raise_limits:
        yield Finding(
            "good", "no CAP_SYS_RESOURCE", "containers get limits within the host's own; a generated containers.conf sees to it"
        )
    if not host.systemd:
        yield Finding("good", "no systemd", "the health supervisor runs as a separate process; at boot run inv start")


def _room(facts: Facts) -> Iterator[Finding]:
    needed = BUILD_BYTES if facts.images_missing else RUN_BYTES
    for path, free in facts.free_bytes.items():
        if free < needed:
            yield Finding(
                "bad", f"{free / (1 << 30):.1f} GB free on {path}",
                f"{'building needs' if facts.images_missing else 'running needs'} {needed >> 30} GB",
                "make room: inv images.prune, podman image prune, df -h",
            )  # fmt: skip
        else:
            yield Finding("good", f"{free / (1 << 30):.0f} GB free on {path}")
    for name, limit in facts.limits.items():
        if limit > facts.memory_bytes:
            yield Finding(
                "bad", f"limits.{name}.memory is {limit / (1 << 30):.0f} GB",
                f"this host has {facts.memory_bytes / (1 << 30):.0f} GB: the limit would never hold",
                f"lower limits.{name}.memory in config/stack.yaml",
            )  # fmt: skip
    if facts.memory_bytes < MEMORY_BYTES:
        yield Finding(
            "warning", f"{facts.memory_bytes / (1 << 30):.1f} GB of memory", "the stack may run out of it under load",
            "use a host with 4 GB, or lower limits in config/stack.yaml",
        )  # fmt: skip


SYSCTL = "echo 'vm.overcommit_memory = 1' > /etc/sysctl.d/90-overcommit.conf; sysctl --system"
OVERCOMMIT = {
    0: "Redis forks to write its data down, and may be refused the memory for that when it is short",
    2: "Redis when it forks, and Keycloak's JVM, ask for more memory than they use, and are refused it",
}
BACKLOG = 511
"""Connections that nginx has the kernel keep until it accepts them."""


def _memory(facts: Facts) -> Iterator[Finding]:
    if facts.ceilings:
        sum_of_all = f"the memory ceilings add up to {facts.ceilings / (1 << 30):.1f} GB"
        if facts.ceilings > facts.memory_bytes:
            yield Finding(
                "warning", sum_of_all,
                f"this host has {facts.memory_bytes / (1 << 30):.1f} GB: where all reach theirs, the kernel ends one of them",
                "lower limits in config/stack.yaml, or use a larger host",
            )  # fmt: skip
        else:
            yield Finding("good", sum_of_all)
    if facts.overcommit is not None:
        what = f"vm.overcommit_memory is {facts.overcommit}"
        meaning = OVERCOMMIT.get(facts.overcommit, "")
        yield Finding("warning", what, meaning, SYSCTL) if meaning else Finding("good", what)
    if facts.huge_pages == "always":
        yield Finding(
            "warning", "transparent huge pages are on for every program",
            "PostgreSQL takes more memory than it uses, and waits while the kernel makes room for them",
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled; for good: docs/how-to/doctor.md",
        )  # fmt: skip
    elif facts.huge_pages:
        yield Finding("good", f"transparent huge pages: {facts.huge_pages}")
    if facts.backlog is not None:
        what = f"a container's net.core.somaxconn is {facts.backlog}"
        if facts.backlog < BACKLOG:
            yield Finding(
                "warning", what, "connections that come in the same instant are dropped", "use a kernel of 5.4 or newer"
            )
        else:
            yield Finding("good", what)


def _secrets(facts: Facts) -> Iterator[Finding]:
    if facts.secrets_closed:
        cure = "locked: inv secrets.unlock --key FILE; docs/how-to/secrets.md#at-rest"
        yield Finding("bad", f"secrets cannot be read: {facts.secrets_closed}", "no container can start without them", cure)


def _ports(facts: Facts) -> Iterator[Finding]:
    for name, port in facts.busy_ports.items():
        if owner := facts.port_owners.get(port):
            yield Finding(
                "bad", f"port {port} is published by the project {owner} of this host", f"ports.{name} is {port} here too",
                f"if {owner} is meant: project: {owner} in config/stack.yaml; for a second stack: export CC03_PROJECT=NAME",
            )  # fmt: skip
            continue
        yield Finding(
            "bad", f"port {port} is taken by another program", f"nginx cannot publish ports.{name} there",
            f"stop it (ss -ltnp 'sport = :{port}' names it), or set ports.{name} in config/stack.yaml",
        )  # fmt: skip


def _accounts(facts: Facts) -> Iterator[Finding]:
    for one in facts.taken:
        account = one.account
        named = f"{account.kind} {account.name}"
        if account.count > 1:
            what = f"the range of {named} ({account.first}:{account.count}) holds the id {one.id}"
            cure = f"give {account.name} another range in /etc/{account.kind}"
        else:
            what = f"the {named} has the id {one.id}"
            program = "usermod -u" if account.kind == "user" else "groupmod -g"
            cure = f"{program} NUMBER {account.name}, then chown its files; docs/how-to/doctor.md"
        meaning = (
            f"containers of {', '.join(one.services)} run with that id: the account could read their data and take them over"
        )
        yield Finding("bad", what, meaning, cure)


def _repositories(facts: Facts) -> Iterator[Finding]:
    for name, folder in facts.folders.items():
        if not folder.there:
            yield Finding(
                "bad", f"the repository {name}: {folder.path} is not there", "is its disk mounted? No backup is kept in it",
                f"mount it; for a new one: install -d -o {OWNER} -g {OWNER} -m 0700 {folder.path}",
            )  # fmt: skip
        elif not folder.taken:
            yield Finding(
                "bad", f"the repository {name}: {folder.path} is not the backup's", f"uid {OWNER} cannot write there",
                f"chown -R {OWNER}:{OWNER} {folder.path}; chmod u+rwx {folder.path}",
            )  # fmt: skip
        elif not folder.own_disk:
            yield Finding(
                "warning", f"the repository {name} is on the disk of the local one", "whatever takes that disk takes both",
                "mount another disk there; or is one missing that should be mounted?",
            )  # fmt: skip
        else:
            yield Finding("good", f"the repository {name} is on a disk of its own")


def _receivers(facts: Facts) -> Iterator[Finding]:
    for host, known in facts.receivers.items():
        if known:
            yield Finding("good", f"the receiver {host} of alerts has an address")
        else:
            yield Finding(
                "warning", f"the receiver {host} of alerts has no address", "no alert reaches it",
                f"alerts.receivers in config/stack.yaml, or this host's resolver: getent ahostsv4 {host}",
            )  # fmt: skip
    if facts.without_resolver:
        yield Finding(
            "warning", "no resolver that containers reach", "Alertmanager cannot look up the names of its receivers",
            "declare receivers by address, or name another resolver than 127.0.0.1 in /etc/resolv.conf",
        )  # fmt: skip


def _surroundings(facts: Facts) -> Iterator[Finding]:
    if facts.clock_offset is not None and abs(facts.clock_offset) > CLOCK_SECONDS:
        yield Finding(
            "warning", f"the clock is off by {facts.clock_offset:.0f} s", "logins fail: tokens are not yet valid, or no longer",
            "apt-get install chrony, or correct the clock",
        )  # fmt: skip
    if facts.ipv6:
        yield Finding(
            "warning", f"the site's name has an IPv6 address, {facts.ipv6[0]}", "the ports are published on IPv4 only",
            "remove the AAAA record, or have a load balancer answer there: docs/how-to/load-balancer.md#ipv6",
        )  # fmt: skip
    for name, answers in facts.registries.items():
        if answers:
            yield Finding("good", f"{name} answers")
        else:
            yield Finding(
                "warning",
                f"{name} does not answer",
                _ABSENT.get(name, "images that need it cannot be built"),
                _CURE.get(name, ""),
            )


_ABSENT = {
    "container registry": "base images are bootstrapped from packages instead, and Grafana has to come from a file",
}
_CURE = {"container registry": "nothing to do; for Grafana: inv images.load FILE"}
