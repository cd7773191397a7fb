"""argv of every Podman and podman-compose command that is used here. Builders only: nothing in this file runs anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ops.engines.engine import OneOff, Trial
from ops.stack.images import REGISTRY
from ops.stack.model import LABEL_PROJECT

Argv = tuple[str, ...]
LABEL_TRIAL = "cc03.app-check"
"""On what `inv app.check` makes and removes."""


def _labels(labels: Mapping[str, str]) -> Iterable[str]:
    for key, value in labels.items():
        yield from ("--label", f"{key}={value}")


def version() -> Argv:
    return ("podman", "version", "--format", "json")


def containers_of(project: str) -> Argv:
    return labelled(f"{LABEL_PROJECT}={project}")


def labelled(label: str) -> Argv:
    """Ids of containers."""
    return ("podman", "ps", "--all", "--quiet", "--no-trunc", "--filter", f"label={label}")


def container_names(label: str) -> Argv:
    return ("podman", "ps", "--all", "--filter", f"label={label}", "--format", "{{.Names}}")


def used_images() -> Argv:
    """Tags that the containers of every project were created from."""
    return ("podman", "ps", "--all", "--format", "{{.Image}}")


def inspect_containers(ids: Sequence[str]) -> Argv:
    return ("podman", "container", "inspect", *ids)


def list_images() -> Argv:
    """Those of stacks, of whatever project: it takes seconds to list every image of a host."""
    return (
        "podman", "images", "--filter", f"reference={REGISTRY}/*", "--format", "{{.Id}} {{.Repository}}:{{.Tag}}", "--no-trunc",
    )  # fmt: skip


def identify_images(tags: Sequence[str]) -> Argv:
    """Id, bytes and tags of each, one a line. A list of all images takes five times as long on a host with a hundred."""
    return ("podman", "image", "inspect", "--format", '{{.Id}} {{.Size}} {{join .RepoTags " "}}', *tags)


def list_networks(project: str) -> Argv:
    return ("podman", "network", "ls", "--filter", f"label={LABEL_PROJECT}={project}", "--format", "{{.Name}}")


def list_subnets() -> Argv:
    return ("podman", "network", "ls", "--format", "{{range .Subnets}}{{.Subnet}} {{end}}")


def list_volumes(project: str) -> Argv:
    return ("podman", "volume", "ls", "--filter", f"label={LABEL_PROJECT}={project}", "--format", "{{.Name}}")


def list_secrets() -> Argv:
    return ("podman", "secret", "ls", "--format", "{{.Name}}")


def graph_root() -> Argv:
    """Where Podman keeps containers, images and secrets."""
    return ("podman", "info", "--format", "{{.Store.GraphRoot}}")


def network_create(name: str, subnet: str, *, internal: bool, labels: Mapping[str, str]) -> Argv:
    """A bridge without DNS: addresses are fixed and written to /etc/hosts, so that no lookup can be lost or go stale."""
    flags = ("--internal",) if internal else ()
    return ("podman", "network", "create", "--disable-dns", *flags, "--subnet", subnet, *_labels(labels), name)


def network_remove(name: str) -> Argv:
    return ("podman", "network", "rm", name)


def inspect_networks(names: Sequence[str]) -> Argv:
    return ("podman", "network", "inspect", *names)


def inspect_volumes(names: Sequence[str]) -> Argv:
    return ("podman", "volume", "inspect", *names)


def volume_create(name: str, labels: Mapping[str, str]) -> Argv:
    return ("podman", "volume", "create", *_labels(labels), name)


def volume_remove(name: str) -> Argv:
    return ("podman", "volume", "rm", name)


def secret_create(name: str) -> Argv:
    """The value comes on standard input: an argument would show in the process list."""
    return ("podman", "secret", "create", name, "-")


def secret_remove(name: str) -> Argv:
    return ("podman", "secret", "rm", name)


BUILD_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETFCAP", "SETGID", "SETUID")
"""What the installation of packages needs, and a stage that ends a program of another user (compose/keycloak/train.sh)."""
BUILD_NETWORK = "podman"
"""The engine's default bridge: a build step has a loopback and addresses of its own there, and a way out."""
HOST_NETWORK = "host"


def image_build(
    context: Path, tag: str, args: Mapping[str, str], labels: Mapping[str, str], ca: Path | None, target: str = "",
    network: str = BUILD_NETWORK,
) -> Argv:  # fmt: skip
    """Build an image with few capabilities, outside the host's network.

    With an eighth of a container's usual share of the CPU (1024): a host that builds goes on serving.

    Parameters
    ----------
    ca: file of CA certificates that the build steps may read as the secret `ca`. target: the stage to stop at.
    network: that of the build steps; `ops.engines.podman.images` chooses it.
    """
    secret = ("--secret", f"id=ca,src={ca}") if ca else ()
    flags = [part for key, value in args.items() for part in ("--build-arg", f"{key}={value}")]
    return (
        "podman", "build", "--network", network, "--cap-drop", "all", "--cap-add", ",".join(BUILD_CAPABILITIES),
        "--pull=never", "--cpu-shares", "128", *secret, *flags, *_labels(labels),
        *(("--target", target) if target else ()),
        "--file", str(context / "Containerfile"), "--tag", tag, str(context),
    )  # fmt: skip


def mirror_probe(image: str, network: str) -> Argv:
    """Fetch the signed lists of the image's package mirror, and nothing that they list, from a network."""
    options = (
        "APT::Update::Error-Mode=any", "Acquire::Retries=1", "Acquire::http::Timeout=10",
        "Acquire::IndexTargets::deb::Packages::DefaultEnabled=false",
        "Acquire::IndexTargets::deb::Translations::DefaultEnabled=false",
    )  # fmt: skip
    return (
        "podman", "run", "--rm", "--pull=never", "--network", network, "--cap-drop", "all",
        "--cap-add", ",".join(BUILD_CAPABILITIES), image,
        "apt-get", "update", "--quiet=2", *(part for option in options for part in ("--option", option)),
    )  # fmt: skip


def image_pull(reference: str) -> Argv:
    return ("podman", "pull", "--quiet", reference)


def image_offered(reference: str) -> Argv:
    """Whether a registry offers this reference, without fetching it."""
    return ("podman", "manifest", "inspect", f"docker://{reference}")


def image_import(tarball: Path, tag: str) -> Argv:
    return ("podman", "import", "--quiet", str(tarball), tag)


def image_tag(image: str, tag: str) -> Argv:
    return ("podman", "tag", image, tag)


def image_remove(image: str) -> Argv:
    return ("podman", "rmi", image)


def image_history(image: str) -> Argv:
    return ("podman", "history", "--no-trunc", "--format", "json", image)


def published_ports() -> Argv:
    """Running containers of every project, with their labels and published ports."""
    return ("podman", "ps", "--filter", f"label={LABEL_PROJECT}", "--format", "json")


def image_exists(tag: str) -> Argv:
    return ("podman", "image", "exists", tag)


def image_save(images: Sequence[str], archive: Path) -> Argv:
    return ("podman", "save", "--multi-image-archive", "--output", str(archive), *images)


def image_load(archive: Path) -> Argv:
    return ("podman", "load", "--quiet", "--input", str(archive))


def compose_create(file: Path, project: str, slots: Sequence[str], oom_score: int | None = None) -> Argv:
    """Create containers without starting them. Never `--remove-orphans`: it can take the whole stack (podman-compose#815).

    Parameters
    ----------
    oom_score: oom_score_adj of all of them, which podman-compose 1.6 does not read from the file; None: the engine's own.
    """
    score = () if oom_score is None else (f"--podman-run-args=--oom-score-adj={oom_score}",)
    return (
        "podman-compose", "--in-pod=false", "--project-name", project, "--file", str(file), *score,
        "up", "--no-start", "--no-recreate", *slots,
    )  # fmt: skip


def start(names: Sequence[str]) -> Argv:
    return ("podman", "start", *names)


def stop(name: str, grace_seconds: int) -> Argv:
    return ("podman", "stop", "--time", str(grace_seconds), name)


def restart(name: str, grace_seconds: int) -> Argv:
    return ("podman", "restart", "--time", str(grace_seconds), name)


def remove(name: str, grace_seconds: int = 0) -> Argv:
    """Stop within the grace period, then remove, in one call."""
    return ("podman", "rm", "--force", "--time", str(grace_seconds), "--volumes=false", name)


def remove_all(names: Sequence[str]) -> Argv:
    """Remove what there is of these, at once."""
    return ("podman", "rm", "--force", "--time", "0", "--volumes=false", "--ignore", *names)


def rename(name: str, new: str) -> Argv:
    return ("podman", "rename", name, new)


def remove_leftover(name: str) -> Argv:
    """A name that the storage still holds after a killed `create`, unknown to Podman itself."""
    return ("podman", "rm", "--force", "--storage", name)


def healthcheck(name: str) -> Argv:
    return ("podman", "healthcheck", "run", name)


def exec_in(name: str, argv: Sequence[str]) -> Argv:
    return ("podman", "exec", name, *argv)


def exec_with_input(name: str, argv: Sequence[str]) -> Argv:
    """What the command reads comes on standard input: scripts, and secrets above all."""
    return ("podman", "exec", "--interactive", name, *argv)


def start_attached(name: str) -> Argv:
    return ("podman", "start", "--attach", name)


def run_one_off(one: OneOff, name: str = "", *, reads: bool = False) -> Argv:
    """A one-off container, apart from every project's networks and data.

    reads: whether the program is given something on its standard input.
    """
    entries = [part for host, address in one.hosts.items() for part in ("--add-host", f"{host}:{address}")]
    volumes = [part for source, target in one.mounts.items() for part in ("--volume", f"{source}:{target}")]
    writes = ("--read-only", "--tmpfs", "/tmp:mode=1777", "--tmpfs", "/run:mode=1777") if one.fixed else ()
    return (
        "podman", "run", "--rm", *(("--interactive",) if reads else ()), "--pull=never", *(("--name", name) if name else ()),
        "--network", "host" if one.outside else "none", *entries, "--cap-drop", "ALL",
        *(("--cap-add", "DAC_OVERRIDE") if one.reads_all else ()), "--user", one.user, "--memory", one.memory,
        "--log-driver", "none", *writes, *volumes, "--entrypoint", one.argv[0], one.image, *one.argv[1:],
    )  # fmt: skip


def ends(container: str, since: str) -> Argv:
    """How a container has ended of late, one JSON object each: what its state says is of the present attempt alone."""
    filters = ("--filter", f"container={container}", "--filter", "event=died")
    return ("podman", "events", "--stream=false", "--since", since, *filters, "--format", "json")


def run_as(name: str, service: Mapping[str, Any], argv: Sequence[str]) -> Argv:
    """A one-off container that stands where a service's own would: its image, networks, names, secrets and mounts, with
    standard input and another program. It goes when that ends.

    Parameters
    ----------
    service: the compose mapping of one container in a release.
    """
    networks = [part for network in service["networks"] for part in ("--network", network)]
    hosts = [part for entry in service.get("extra_hosts", ()) for part in ("--add-host", entry)]
    sysctls = [part for key, value in service.get("sysctls", {}).items() for part in ("--sysctl", f"{key}={value}")]
    volumes = [part for mount in service.get("volumes", ()) for part in ("--volume", mount)]
    tmpfs = [part for mount in service.get("tmpfs", ()) for part in ("--tmpfs", mount)]
    secrets = [
        part for one in service.get("secrets", ())
        for part in ("--secret", f"{one['source']},target={one['target']},uid={one['uid']},gid={one['gid']},mode={one['mode']}")
    ]  # fmt: skip
    memory = str(service["deploy"]["resources"]["limits"]["memory"])
    return (
        "podman", "run", "--rm", "--interactive", "--pull=never", "--name", name, *networks, *hosts, *sysctls, *volumes,
        *tmpfs, *secrets, "--user", str(service.get("user", "0")), "--cap-drop", "ALL", "--read-only", "--memory", memory,
        "--log-driver", "none", "--entrypoint", argv[0], str(service["image"]), *argv[1:],
    )  # fmt: skip


def pause(name: str) -> Argv:
    return ("podman", "pause", name)


def unpause(name: str) -> Argv:
    return ("podman", "unpause", name)


def attached_to(network: str) -> Argv:
    """Names of all containers on a network, of whatever project, whether they run or not."""
    return ("podman", "ps", "--all", "--format", "{{.Names}}", "--filter", f"network={network}")


def containers_on(network: str) -> Argv:
    """Running ones, of whatever project."""
    return ("podman", "ps", "--quiet", "--no-trunc", "--filter", f"network={network}")


def inspect_images(references: Sequence[str]) -> Argv:
    return ("podman", "image", "inspect", *references)


def network_for_trial(name: str) -> Argv:
    """A network without a way out and without DNS, on a subnet that Podman chooses."""
    return ("podman", "network", "create", "--disable-dns", "--internal", "--label", LABEL_TRIAL, name)


def networks_of_trials() -> Argv:
    return ("podman", "network", "ls", "--filter", f"label={LABEL_TRIAL}", "--format", "{{.Name}}")


def run_trial(name: str, network: str, trial: Trial) -> Argv:
    """A container of a trial, on the network of trials."""
    service = trial.service
    entries = [part for one, where in trial.hosts.items() for part in ("--add-host", f"{one}:{where}")]
    mounts = [part for mount in trial.volumes for part in ("--volume", mount)]
    memory = [part for mount in service.get("tmpfs", ()) for part in ("--tmpfs", mount)]
    variables = [part for key, value in service.get("environment", {}).items() for part in ("--env", f"{key}={value}")]
    limits = service["deploy"]["resources"]["limits"]
    stop = ("--stop-signal", str(service["stop_signal"])) if "stop_signal" in service else ()
    shared = ("--shm-size", str(service["shm_size"])) if "shm_size" in service else ()
    return (
        "podman", "run", "--detach" if trial.detached else "--rm", "--pull=never", "--name", name, "--label", LABEL_TRIAL,
        "--network", network, *(("--ip", trial.address) if trial.address else ()), *entries, *mounts, *memory, *variables,
        "--user", str(service["user"]), "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only",
        "--read-only-tmpfs=false", "--memory", str(limits["memory"]), "--cpus", str(limits["cpus"]), *shared, *stop,
        "--no-healthcheck", "--log-driver", "k8s-file", "--log-opt", f"path={trial.log}", str(service["image"]),
        *trial.command,
    )  # fmt: skip
