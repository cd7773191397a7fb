"""Sections 2 and 3: running containers, as the kernel describes them, and their secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ops.policies.policy import shared
from ops.security_audit.controls.control import Control, Finding
from ops.security_audit.facts import ContainerFacts, Facts, Mount, Process
from ops.stack.applied_settings import INSIDE as REPOSITORIES
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
"""Seccomp mode of a process with a filter (prctl(2), PR_GET_SECCOMP)."""
OWN_MOUNTS = ("/etc/cc03", "/etc/tls", "/run/secrets", "/var/lib/acme")
"""Mount points of the service's own configuration, certificates, secrets and ACME challenges."""
KERNEL = ("/proc/", "/sys/")
OWNER_ONLY = 0o400


def capability_names(bits: int) -> Iterator[str]:
    """Capabilities by name; a bit that is newer than this list by its number."""
    for bit in range(bits.bit_length()):
        if bits >> bit & 1:
            yield CAPABILITIES[bit] if bit < len(CAPABILITIES) else f"number {bit}"


def processes(facts: Facts) -> Iterator[tuple[str, Process]]:
    for one in facts.containers.values():
        yield from ((one.slot, process) for process in one.processes)


def mounts(facts: Facts) -> Iterator[tuple[str, Mount]]:
    for one in facts.containers.values():
        yield from ((one.slot, mount) for mount in one.mounts)


def declared(facts: Facts) -> Iterator[tuple[ContainerFacts, Service]]:
    """The running containers with their declarations."""
    for one in facts.containers.values():
        if one.service in facts.stack.services:
            yield one, facts.stack.services[one.service]


def _missing(facts: Facts) -> Iterator[Finding]:
    for slot in facts.stack.slots():
        if slot not in facts.containers and not facts.stack.service_of(slot).optional:
            yield Finding(slot, "container", "is not running, so the controls below did not check it")


def _undeclared(facts: Facts) -> Iterator[Finding]:
    # An extra container runs beside the others during a deploy.
    expected = {slot for service in facts.stack.services.values() for slot in service.reserved_slots()}
    for slot in facts.containers:
        if slot not in expected:
            yield Finding(slot, "container", "runs in this project, and compose.yaml does not declare it")


def _shared_users(facts: Facts) -> Iterator[Finding]:
    users = (
        (uid, one.service or one.slot)
        for one in facts.containers.values() for process in one.processes for uid in process.uids - {0}
    )  # fmt: skip
    for uid, services in sorted(shared(users)):
        yield Finding(" and ".join(sorted(services)), f"uid {uid}", f"both run processes as uid {uid}")


def _host_mounts(facts: Facts) -> Iterator[Finding]:
    # The repositories of the backup: the operator declares their folders in stack.yaml.
    named = {
        str(mount) for service in facts.stack.services.values()
        for mount in service.definition.get("volumes") or () if f":{REPOSITORIES}/" in str(mount)
    }  # fmt: skip
    for slot, mount in mounts(facts):
        if f"{mount.source}:{mount.target}" in named or mount.target.startswith(OWN_MOUNTS):
            continue
        if mount.source.startswith("/"):
            may = "may write to" if mount.writable else "mounts"
            subject = f"{mount.target} (rw)" if mount.writable else mount.target
            yield Finding(slot, subject, f"{may} {mount.source} of the host at {mount.target}")


def _own_secret(project: str, service: Service, mount: Mount) -> bool:
    """Whether a file is the service's own secret, which is mounted as a file where secrets are encrypted at rest."""
    name = mount.target.removeprefix("/run/secrets/")
    file, _, version = mount.source.rpartition("-")
    # The state folder, as in the mounts of certificates in compose.yaml.
    states = {
        str(volume).partition("/certs/")[0] for volume in service.definition.get("volumes") or () if "/certs/" in str(volume)
    }
    return (
        name in service.secrets
        and version.isdigit()
        and any(file == f"{state}/handed/{service.owner}/{project}-{name}" for state in states)
    )


def _undeclared_mounts(facts: Facts) -> Iterator[Finding]:
    for one, service in declared(facts):
        expected = {str(mount).split(":")[1] for mount in service.definition.get("volumes") or ()} - {"/etc/cc03/current"}
        expected |= {"/etc/cc03"} if service.has_config else set()
        own = {f"{facts.stack.project}-{volume}" for volume in service.volumes}
        for mount in one.mounts:
            if not mount.source or _own_secret(facts.stack.project, service, mount):
                continue
            if mount.target not in expected:
                yield Finding(one.slot, mount.target, f"mounts {mount.source} at {mount.target}, which is not declared")
            elif not mount.source.startswith("/") and mount.source not in own:
                yield Finding(one.slot, mount.target, f"mounts the volume {mount.source}, which is not declared")


def _lacking(*options: str) -> Callable[[Facts], Iterator[Finding]]:
    """File systems in memory that are mounted without one of these options."""

    def find(facts: Facts) -> Iterator[Finding]:
        for slot, mount in mounts(facts):
            for option in sorted(set(options) - mount.options) if not mount.source else ():
                yield Finding(slot, f"{mount.target} {option}", f"{mount.target} is mounted without {option}")

    return find


def _limits(facts: Facts) -> Iterator[Finding]:
    for one, service in declared(facts):
        if one.memory_bytes != service.limits.memory_bytes:
            yield Finding(one.slot, "memory", f"may use {one.memory_bytes or 'any amount of'} bytes of memory")
        if abs(one.cpus - service.limits.cpus) > 0.001:
            yield Finding(one.slot, "CPU", f"may use {one.cpus or 'all'} CPUs")
        if one.pids <= 0:
            yield Finding(one.slot, "processes", "may start any number of processes")


def _images(facts: Facts) -> Iterator[Finding]:
    for one, service in declared(facts):
        expected = facts.images.get(service.name, "")
        # Podman adds `localhost/` to the names of local images. A kept service changes its image when it is recreated.
        if not service.keep and one.image.removeprefix("localhost/") != expected.removeprefix("localhost/"):
            yield Finding(one.slot, "image", f"runs {one.image}, not {expected or None}")


def _unfiltered(facts: Facts) -> Iterator[Finding]:
    for one in facts.containers.values():
        if one.unfiltered:
            more = f", and {len(one.unfiltered) - 1} more" if len(one.unfiltered) > 1 else ""
            yield Finding(one.slot, "seccomp", f"its filter allows: {one.unfiltered[0]}{more}")


def _secrets(facts: Facts) -> Iterator[Finding]:
    for one, service in declared(facts):
        for name in sorted(set(one.secrets) - set(service.secrets)):
            yield Finding(one.slot, name, f"has the secret {name}, which is not declared")
        for name in sorted(set(service.secrets) - set(one.secrets)):
            yield Finding(one.slot, name, f"lacks the secret {name}")


CONTROLS = (
    Control("2.1", "All declared containers are running", _missing,
            why="A container that is not running cannot be checked.",
            advice="inv status shows the reason; inv deploy"),
    Control("2.2", "All running containers are declared", _undeclared,
            why="An undeclared container is not monitored, patched or confined.",
            advice="remove it with podman rm, or declare it in compose/compose.yaml"),
    Control("2.3", "No process has a capability",
            why="Each capability is a part of root's privileges on the host.",
            advice="drop it in compose.yaml, and deploy; `podman exec --privileged` adds all of them",
            find=lambda facts: (Finding(slot, name, f"process {one.name} has CAP_{name}")
                                for slot, one in processes(facts) for name in capability_names(one.capabilities))),
    Control("2.4", "No process can gain privileges",
            why="A single set-uid program would make its user root.",
            advice='set security_opt: ["no-new-privileges:true"], and deploy',
            find=lambda facts: (Finding(slot, one.name, f"process {one.name} runs without no-new-privileges")
                                for slot, one in processes(facts) if not one.no_new_privileges)),
    Control("2.5", "Every process has a seccomp filter",
            why="Without a filter a process can make every system call of the kernel.",
            advice="remove seccomp=unconfined, and deploy",
            find=lambda facts: (Finding(slot, one.name, f"process {one.name} has no seccomp filter")
                                for slot, one in processes(facts) if one.seccomp != FILTERED)),
    Control("2.6", "No process runs as root",
            why="Root in a container is root on the host if it escapes the container.",
            advice="give the service a user of its own in compose.yaml, and deploy",
            find=lambda facts: (
                Finding(slot, "uid 0", f"process {one.name} runs as uid 0") for slot, one in processes(facts) if 0 in one.uids
            )),
    Control("2.7", "Every service has a user of its own", _shared_users,
            why="A process can read the secrets and volumes of another service with the same uid.",
            advice="give each service a uid of its own in compose.yaml, and deploy"),
    Control("2.8", "Every container has namespaces of its own",
            why="A process in the host's namespaces is not isolated from the host.",
            advice="remove pid, ipc, network_mode or uts from compose.yaml, and deploy",
            find=lambda facts: (Finding(slot, kind, f"process {one.name} shares a namespace: {kind}")
                                for slot, one in processes(facts) for kind in one.shares)),
    Control("2.9", "Root file systems are read-only",
            why="An attacker who can write there can persist.",
            advice="set read_only: true; add a tmpfs or a volume where the service must write",
            find=lambda facts: (Finding(one.slot, path, f"a file can be created in {path}")
                                for one in facts.containers.values() for path in one.writable if not path.startswith(KERNEL))),
    Control("2.10", "Kernel settings are read-only",
            why="/proc/sys and /sys affect the whole host.",
            advice="remove what unmasks them (privileged, security_opt), and deploy",
            find=lambda facts: (Finding(one.slot, path, f"{path} can be opened for writing")
                                for one in facts.containers.values() for path in one.writable if path.startswith(KERNEL))),
    Control("2.11", "No path of the host is mounted", _host_mounts,
            why="A mounted path of the host is a way out of the container.",
            advice="remove the mount from compose.yaml, and deploy"),
    Control("2.12", "All mounts are declared", _undeclared_mounts,
            why="An undeclared volume may hold the data of another service.",
            advice="inv deploy restores what compose.yaml declares"),
    Control("2.13", "Configuration and certificates are mounted read-only",
            why="An attacker who can change the configuration of a service controls the service.",
            advice="append :ro to the mount, and deploy",
            find=lambda facts: (Finding(slot, mount.target, f"may write to {mount.source}") for slot, mount in mounts(facts)
                                if mount.writable and mount.source.startswith("/") and mount.target.startswith(OWN_MOUNTS))),
    Control("2.14", "No socket of the host is mounted",
            why="Access to the engine's socket, even read-only, is full access to the host.",
            advice="remove the mount from compose.yaml, and deploy",
            find=lambda facts: (Finding(one.slot, path, f"{path} is or contains a socket of the host")
                                for one in facts.containers.values() for path in one.sockets)),
    Control("2.15", "Containers have the standard devices only",
            why="A device gives access to a disk, to memory or to the kernel itself.",
            advice="remove devices or privileged from compose.yaml, and deploy",
            find=lambda facts: (
                Finding(one.slot, path, f"has the device {path}") for one in facts.containers.values() for path in one.devices
            )),
    Control("2.16", "File systems in memory are mounted nosuid and nodev", _lacking("nosuid", "nodev"),
            why="/tmp is the only place where an attacker can put a set-uid program or a device file.",
            advice="remove suid and dev from the tmpfs options in compose.yaml, and deploy"),
    Control("2.17", "Memory, CPU and processes are limited", _limits,
            why="A single service with a leak would use up what all others need.",
            advice="inv deploy restores the declared limits"),
    Control("2.18", "Every container runs the image of this checkout", _images,
            why="Only the image of this checkout was tested.",
            advice="inv deploy"),
    Control("2.19", "Seccomp filters block namespaces, mounts, kernel keyrings and uncommon sockets", _unfiltered,
            why="In a user namespace of its own a process has all capabilities, and reaches more of the kernel.",
            advice="inv deploy, which creates the container with this host's profile"),
    Control("2.21", "File systems in memory are mounted noexec", _lacking("noexec"),
            why="/tmp is the only place where an attacker can put programs.",
            advice="remove exec from the tmpfs options in compose.yaml, and deploy"),
    Control("2.22", "Every service can use all its dependencies",
            why="A service that works without its cache or its login server hides an outage, or a rejected secret.",
            advice="inv status and inv logs SERVICE show the reason; inv secrets.rotate NAME where a secret is rejected",
            find=lambda facts: (Finding(slot, what.partition(":")[0], f"works without {what}")
                                for slot, what in sorted(facts.dependencies_down.items()))),
    Control("2.23", "The application's role owns nothing in PostgreSQL", part="owned",
            why="An owner can drop tables and triggers, and so hide changes.",
            advice="inv restart postgres, which moves what the role owns to app_owner; REVOKE a membership",
            find=lambda facts: (Finding("postgres", "app", f"role app {what}") for what in facts.owned)),
    Control("3.1", "Every container has exactly its own secrets", _secrets,
            why="With each additional secret a break-in exposes the data of another service.",
            advice="inv deploy restores what compose.yaml declares"),
    Control("3.2", "Secrets in containers are readable by the service's user only",
            why="Otherwise every process in the container can read them.",
            advice="inv deploy; compose.yaml must not set a mode for secrets",
            find=lambda facts: (Finding(one.slot, name, f"secret {name} belongs to uid {uid} with mode {mode:04o}")
                                for one, service in declared(facts) for name, (uid, mode) in sorted(one.secrets.items())
                                if (uid, mode) != (service.owner, OWNER_ONLY))),
    Control("3.3", "No secret appears in inspect, arguments, environment, logs, configuration or releases", part="leaks",
            why="Many programs and accounts read these, and they are kept for long and copied elsewhere.",
            advice="remove it there, then rotate it",
            find=lambda facts: (Finding(one.where, one.secret, f"contains the value of {one.secret}") for one in facts.leaks)),
    Control("3.4", "Secrets and keys on the host are readable by root only", part="host",
            why="An account of the host that reads them can log in as every service.",
            advice="chmod -R go= the path",
            find=lambda facts: (Finding(path, f"{mode:04o}", f"{path} has mode {mode:04o}")
                                for path, mode in sorted(facts.host.open_to_others.items()))),
    Control("3.5", "The host's archive for the backup contains no secret in plain text", part="host",
            why="A compromised backup container would have every secret and key of the host.",
            advice="inv backup writes a new, encrypted archive; then rotate the secret, which was exposed",
            find=lambda facts: (
                Finding("backup", f"{leak.where} {leak.secret}", f"{leak.where} contains {leak.secret} in plain text")
                for leak in facts.host.archived
            )),
)  # fmt: skip
