"""argv of those commands of Podman and podman-compose that take more than a few words. Nothing here runs anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ops.engines.engine import OneOff, Trial
from ops.stack.images import REGISTRY

Argv = tuple[str, ...]
LABEL_TRIAL = "cc03.app-check"
"""On what `inv app.check` makes and removes."""


def list_images() -> Argv:
    """Those of stacks, of whatever project: it takes seconds to list every image of a host."""
    return (
        "podman", "images", "--filter", f"reference={REGISTRY}/*", "--format", "{{.Id}} {{.Repository}}:{{.Tag}}", "--no-trunc",
    )  # fmt: skip


def identify_images(tags: Sequence[str]) -> Argv:
    """Id, bytes and tags of each, one a line. A list of all images takes five times as long on a host with a hundred."""
    return ("podman", "image", "inspect", "--format", '{{.Id}} {{.Size}} {{join .RepoTags " "}}', *tags)


def network_create(name: str, subnet: str, label: str, *, internal: bool) -> Argv:
    """A bridge without DNS: addresses are fixed and written to /etc/hosts, so that no lookup can be lost or go stale."""
    flags = ("--internal",) if internal else ()
    return ("podman", "network", "create", "--disable-dns", *flags, "--subnet", subnet, "--label", label, name)


BUILD_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETFCAP", "SETGID", "SETUID")
"""What the installation of packages needs, and a stage that ends a program of another user (compose/keycloak/train.sh)."""
BUILD_NETWORK = "podman"
"""The engine's default bridge: a build step has a loopback and addresses of its own there, and a way out."""
HOST_NETWORK = "host"


def image_build(
    context: Path, tag: str, args: Mapping[str, str], ca: Path | None, target: str = "",
    network: str = BUILD_NETWORK, docs: Path | None = None,
) -> Argv:  # fmt: skip
    """Build an image with few capabilities, outside the host's network.

    With an eighth of a container's usual share of the CPU (1024): a host that builds goes on serving.

    ca: file of CA certificates that the build steps may read as the secret `ca`. target: the stage to stop at.
    network: that of the build steps; `ops.engines.podman.images` chooses it. docs: folder that is the build context `docs`.
    """
    secret = ("--secret", f"id=ca,src={ca}") if ca else ()
    flags = [part for key, value in args.items() for part in ("--build-arg", f"{key}={value}")]
    return (
        "podman", "build", "--network", network, "--cap-drop", "all", "--cap-add", ",".join(BUILD_CAPABILITIES),
        "--pull=never", "--cpu-shares", "128", *secret, *flags,
        *(("--target", target) if target else ()), *(("--build-context", f"docs={docs}") if docs else ()),
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


def compose_create(file: Path, project: str, slots: Sequence[str], oom_score: int | None = None) -> Argv:
    """Create containers without starting them. Never `--remove-orphans`: it can take the whole stack (podman-compose#815).

    oom_score: oom_score_adj of all of them, which podman-compose 1.6 does not read from the file; None: the engine's own.
    """
    score = () if oom_score is None else (f"--podman-run-args=--oom-score-adj={oom_score}",)
    return (
        "podman-compose", "--in-pod=false", "--project-name", project, "--file", str(file), *score,
        "up", "--no-start", "--no-recreate", *slots,
    )  # fmt: skip


def remove(name: str, grace_seconds: int = 0) -> Argv:
    """Stop within the grace period, then remove, in one call."""
    return ("podman", "rm", "--force", "--time", str(grace_seconds), "--volumes=false", name)


def remove_all(names: Sequence[str]) -> Argv:
    """Remove what there is of these, at once."""
    return ("podman", "rm", "--force", "--time", "0", "--volumes=false", "--ignore", *names)


def exec_in(name: str, argv: Sequence[str]) -> Argv:
    return ("podman", "exec", name, *argv)


def exec_with_input(name: str, argv: Sequence[str]) -> Argv:
    """What the command reads comes on standard input: scripts, and secrets above all."""
    return ("podman", "exec", "--interactive", name, *argv)


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


def run_as(name: str, service: Mapping[str, Any], argv: Sequence[str]) -> Argv:
    """A one-off container that stands where a service's own would: its image, networks, names, secrets and mounts, with
    standard input and another program. It goes when that ends.

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


def run_trial(name: str, network: str, trial: Trial, log: Path) -> Argv:
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
        "--no-healthcheck", "--log-driver", "k8s-file", "--log-opt", f"path={log}", str(service["image"]),
        *trial.command,
    )  # fmt: skip
