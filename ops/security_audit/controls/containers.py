"""Section 2: what a process could do if it were taken over, as the kernel says it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ops.security_audit.controls.control import Found, control
from ops.security_audit.facts import Facts, Mount, SeenContainer, Unread
from ops.stack.backup_settings import INSIDE as REPOSITORIES
from ops.stack.model import Service

CAPABILITIES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO",
    "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME",
    "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip
"""Names by their bits, from <linux/capability.h>."""
FILTERED = 2
"""Seccomp mode of a process that a filter confines (prctl(2), PR_GET_SECCOMP)."""
OWN_MOUNTS = ("/etc/cc03", "/etc/tls", "/run/secrets", "/var/lib/acme")
"""Where configuration, certificates, secrets and answers to challenges of the service itself are mounted."""


def names_of(bits: int) -> Iterator[str]:
    """Capabilities by name; a bit that is newer than this list by its number."""
    for bit in range(bits.bit_length()):
        if bits >> bit & 1:
            yield CAPABILITIES[bit] if bit < len(CAPABILITIES) else f"number {bit}"


def declared(facts: Facts) -> Iterator[tuple[SeenContainer, Service]]:
    """The containers that run, each with its declaration."""
    for seen in facts.containers.values():
        if seen.service in facts.stack.services:
            yield seen, facts.stack.services[seen.service]


@control(
    "2.1",
    "Every declared container runs",
    why="what does not run cannot be looked at, and is not known to be sound",
    cure="inv status says why; inv deploy",
)
def running(facts: Facts) -> Iterator[Found]:
    for slot in facts.stack.slots():
        if slot not in facts.containers and not facts.stack.service_of(slot).optional:
            yield Found(slot, "container", "does not run, so none of the controls below has seen it")


@control(
    "2.2",
    "No container beside the declared ones",
    why="what nobody declared nobody watches, patches or confines",
    cure="podman rm it, or declare it in compose/compose.yaml",
)
def undeclared(facts: Facts) -> Iterator[Found]:
    # An extra container stands beside the others while a deploy is under way.
    expected = {slot for service in facts.stack.services.values() for slot in service.reserved_slots()}
    for slot in facts.containers:
        if slot not in expected:
            yield Found(slot, "container", "runs in this project, and compose.yaml does not declare it")


@control(
    "2.3",
    "No process has a capability",
    why="each capability is a part of root's power over the host",
    cure="drop it in compose.yaml, and deploy; `podman exec --privileged` gives all of them",
)
def capabilities(facts: Facts) -> Iterator[Found]:
    for seen in facts.containers.values():
        for process in seen.processes:
            for name in names_of(process.capabilities):
                yield Found(seen.slot, name, f"process {process.name} has CAP_{name}")


@control(
    "2.4",
    "No process can gain privileges",
    why="one set-uid program would make its user root",
    cure='set security_opt: ["no-new-privileges:true"], and deploy',
)
def new_privileges(facts: Facts) -> Iterator[Found]:
    for seen in facts.containers.values():
        for process in seen.processes:
            if not process.no_new_privileges:
                yield Found(seen.slot, process.name, f"process {process.name} runs without no-new-privileges")


@control(
    "2.5",
    "Every process is confined by a seccomp filter",
    why="without it every system call of the kernel can be tried",
    cure="drop seccomp=unconfined, and deploy",
)
def seccomp(facts: Facts) -> Iterator[Found]:
    for seen in facts.containers.values():
        for process in seen.processes:
            if process.seccomp != FILTERED:
                yield Found(seen.slot, process.name, f"process {process.name} has no seccomp filter")


@control(
    "2.6",
    "No process is root",
    why="root in a container is root on the host once it gets out",
    cure="give the service a user of its own in compose.yaml, and deploy",
)
def root(facts: Facts) -> Iterator[Found]:
    for seen in facts.containers.values():
        for process in seen.processes:
            if 0 in process.uids:
                yield Found(seen.slot, "uid 0", f"process {process.name} runs as uid 0")


@control(
    "2.7",
    "No two services share a user",
    why="a shared uid reads the other's secrets and volumes",
    cure="give each service a uid of its own in compose.yaml, and deploy",
)
def shared_users(facts: Facts) -> Iterator[Found]:
    users: dict[int, set[str]] = defaultdict(set)
    for seen in facts.containers.values():
        for process in seen.processes:
            for uid in process.uids - {0}:
                users[uid].add(seen.service or seen.slot)
    for uid, services in sorted(users.items()):
        if len(services) > 1:
            yield Found(" and ".join(sorted(services)), f"uid {uid}", f"both run processes as uid {uid}")


@control(
    "2.8",
    "Every container has namespaces of its own",
    why="in the host's namespaces a process is one of the host",
    cure="drop pid, ipc, network_mode or uts from compose.yaml, and deploy",
)
def namespaces(facts: Facts) -> Iterator[Found]:
    for seen in facts.containers.values():
        for process in seen.processes:
            for kind in process.shares:
                yield Found(seen.slot, kind, f"process {process.name} shares a namespace: {kind}")


@control(
    "2.9",
    "No root file system can be written",
    why="an intruder who can write can stay",
    cure="set read_only: true; a tmpfs or a volume where it must write",
)
def root_file_system(facts: Facts) -> Iterator[Found]:
    for seen in facts.containers.values():
        for path in seen.written:
            if not path.startswith(("/proc/", "/sys/")):
                yield Found(seen.slot, path, f"a file could be made in {path}")


@control(
    "2.10",
    "No setting of the kernel can be written",
    why="/proc/sys and /sys reach the whole host",
    cure="drop what unmasks them (privileged, security_opt), and deploy",
)
def kernel_files(facts: Facts) -> Iterator[Found]:
    for seen in facts.containers.values():
        for path in seen.written:
            if path.startswith(("/proc/", "/sys/")):
                yield Found(seen.slot, path, f"{path} could be opened to write")


@control(
    "2.11",
    "No part of the host is mounted",
    why="a path of the host is a way out of the container",
    cure="drop the mount in compose.yaml, and deploy",
)
def host_mounts(facts: Facts) -> Iterator[Found]:
    # The operator has named those folders for nothing else.
    named = {
        str(mount) for service in facts.stack.services.values()
        for mount in service.definition.get("volumes") or () if f":{REPOSITORIES}/" in str(mount)
    }  # fmt: skip
    for seen in facts.containers.values():
        for mount in seen.mounts:
            if f"{mount.source}:{mount.target}" in named:
                continue
            if mount.source.startswith("/") and not mount.target.startswith(OWN_MOUNTS):
                may = "may write to" if mount.writable else "mounts"
                subject = f"{mount.target} (rw)" if mount.writable else mount.target
                yield Found(seen.slot, subject, f"{may} {mount.source} of the host at {mount.target}")


def _own_secret(project: str, service: Service, mount: Mount) -> bool:
    """Whether a file is the service's own secret, which it mounts where secrets are encrypted at rest."""
    name = mount.target.removeprefix("/run/secrets/")
    file, _, version = mount.source.rpartition("-")
    # Beside the certificates, which compose.yaml has from the state folder.
    states = {
        str(volume).partition("/certs/")[0] for volume in service.definition.get("volumes") or () if "/certs/" in str(volume)
    }
    return (
        name in service.secrets
        and version.isdigit()
        and any(file == f"{state}/handed/{service.owner}/{project}-{name}" for state in states)
    )


@control(
    "2.12",
    "Mounts are those that are declared",
    why="a foreign volume is another service's data",
    cure="inv deploy brings back what compose.yaml declares",
)
def mounts(facts: Facts) -> Iterator[Found]:
    for seen, service in declared(facts):
        expected = {str(mount).split(":")[1] for mount in service.definition.get("volumes") or ()} - {"/etc/cc03/current"}
        expected |= {"/etc/cc03"} if service.has_config else set()
        own = {f"{facts.stack.project}-{volume}" for volume in service.volumes}
        for mount in seen.mounts:
            if not mount.source or _own_secret(facts.stack.project, service, mount):
                continue
            if mount.target not in expected:
                yield Found(seen.slot, mount.target, f"mounts {mount.source} at {mount.target}, which is not declared")
            elif not mount.source.startswith("/") and mount.source not in own:
                yield Found(seen.slot, mount.target, f"mounts the volume {mount.source}, which is not declared")


@control(
    "2.13",
    "Configuration and certificates are mounted read-only",
    why="a service that can alter what it is told to do can be made to do anything",
    cure="append :ro to the mount, and deploy",
)
def own_mounts(facts: Facts) -> Iterator[Found]:
    for seen in facts.containers.values():
        for mount in seen.mounts:
            if mount.writable and mount.source.startswith("/") and mount.target.startswith(OWN_MOUNTS):
                yield Found(seen.slot, mount.target, f"may write to {mount.source}")


@control(
    "2.14",
    "No socket of the host is mounted",
    why="the engine's socket is the whole host, read-only or not",
    cure="drop the mount in compose.yaml, and deploy",
)
def sockets(facts: Facts) -> Iterator[Found]:
    for seen in facts.containers.values():
        for path in seen.sockets:
            yield Found(seen.slot, path, f"{path} is or holds a socket of the host")


@control(
    "2.15",
    "No device beside those of every container",
    why="a device reaches the disk, the memory or the kernel itself",
    cure="drop devices or privileged from compose.yaml, and deploy",
)
def devices(facts: Facts) -> Iterator[Found]:
    for seen in facts.containers.values():
        for path in seen.devices:
            yield Found(seen.slot, path, f"has the device {path}")


@control(
    "2.16",
    "File systems in memory take neither set-uid programs nor devices",
    why="/tmp is the one place where an intruder can put a program",
    cure="drop suid and dev from the tmpfs options in compose.yaml, and deploy",
)
def temporary(facts: Facts) -> Iterator[Found]:
    yield from _lacking(facts, "nosuid", "nodev")


def _lacking(facts: Facts, *wanted: str) -> Iterator[Found]:
    """File systems in memory that were mounted without an option."""
    for seen in facts.containers.values():
        for mount in seen.mounts:
            for option in sorted(set(wanted) - mount.options) if not mount.source else ():
                yield Found(seen.slot, f"{mount.target} {option}", f"{mount.target} lacks {option}")


@control(
    "2.17",
    "Memory, CPU and processes are bounded",
    why="one service that leaks would take what all others need",
    cure="inv deploy brings back the declared limits",
)
def limits(facts: Facts) -> Iterator[Found]:
    for seen, service in declared(facts):
        if seen.memory_bytes != service.limits.memory_bytes:
            yield Found(seen.slot, "memory", f"may use {seen.memory_bytes or 'any amount of'} bytes of memory")
        if abs(seen.cpus - service.limits.cpus) > 0.001:
            yield Found(seen.slot, "CPU", f"may use {seen.cpus or 'all'} CPUs")
        if seen.pids <= 0:
            yield Found(seen.slot, "processes", "may start any number of processes")


@control("2.18", "Every container runs the image of this checkout", why="what was tested is not what runs", cure="inv deploy")
def images(facts: Facts) -> Iterator[Found]:
    for seen, service in declared(facts):
        # What is kept takes another image when it is created anew for another reason.
        if not service.keep and not _same(seen.image, facts.images.get(service.name, "")):
            yield Found(seen.slot, "image", f"runs {seen.image}, not {facts.images.get(service.name)}")


def _same(one: str, other: str) -> bool:
    """Podman puts `localhost/` before the names of images that no registry has."""
    return one.removeprefix("localhost/") == other.removeprefix("localhost/")


@control(
    "2.19",
    "Seccomp filters refuse namespaces, mounts, keys of the kernel and foreign sockets",
    why="in a user namespace of its own a process has all capabilities, and reaches parts of the kernel that only root should",
    cure="inv deploy, which creates the container with the profile of this host",
)
def seccomp_profile(facts: Facts) -> Iterator[Found]:
    for seen in facts.containers.values():
        if seen.unfiltered:
            more = f", and {len(seen.unfiltered) - 1} more" if len(seen.unfiltered) > 1 else ""
            yield Found(seen.slot, "seccomp", f"its filter lets through: {seen.unfiltered[0]}{more}")


@control(
    "2.21",
    "File systems in memory run no programs",
    why="an intruder brings tools along, and /tmp is the one place to put them",
    cure="drop exec from the tmpfs options in compose.yaml, and deploy",
)
def programs(facts: Facts) -> Iterator[Found]:
    yield from _lacking(facts, "noexec")


@control(
    "2.22",
    "Every service reaches all that it depends on",
    why="a service that works without its cache or its login server hides an outage, or a secret that is refused",
    cure="inv status and inv logs SERVICE say why; inv secrets.rotate NAME where a secret is refused",
)
def dependencies(facts: Facts) -> Iterator[Found]:
    for slot, what in sorted(facts.dependencies_down.items()):
        yield Found(slot, what.partition(":")[0], f"works without {what}")


@control(
    "2.23",
    "The application's role owns nothing in PostgreSQL",
    why="an owner drops tables and triggers, and so hides what was changed",
    cure="inv restart postgres, which moves what the role owns to app_owner; REVOKE a membership",
    part="owned",
)
def owned(facts: Facts) -> Iterator[Found]:
    if not isinstance(facts.owned, Unread):
        for what in facts.owned:
            yield Found("postgres", "app", f"role app {what}")
