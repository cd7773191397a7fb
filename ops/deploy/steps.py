"""Every kind of change that a plan may contain. Data only; `ops/core/executor.py` knows how each is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.core.plan import Step


@dataclass(frozen=True)
class ObtainBase(Step):
    """Have the base image of a Debian suite: pulled where a registry answers, bootstrapped where none does."""

    suite: str = ""
    tag: str = ""


@dataclass(frozen=True)
class BuildImage(Step):
    """Build one image under the tag that names its content."""

    name: str = ""
    tag: str = ""
    context: str = ""
    args: tuple[tuple[str, str], ...] = ()
    deadline: int = 1200


@dataclass(frozen=True)
class FetchImage(Step):
    """Pull an image that is used as its publisher made it, and give it the tag under which it is looked for."""

    name: str = ""
    tag: str = ""
    source: str = ""


@dataclass(frozen=True)
class GenerateSecret(Step):
    """Make up a version of a secret that never existed, and keep it in the state folder (0600)."""

    name: str = ""
    version: int = 1


@dataclass(frozen=True)
class StoreSecret(Step):
    """Give Podman the secret that containers mount as a file."""

    name: str = ""
    version: int = 1


@dataclass(frozen=True)
class IssueCertificate(Step):
    """Issue a certificate of the internal CA (made on first use) into the folder that the service mounts."""

    service: str = ""
    owner: int = 0
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class CreateNetwork(Step):
    name: str = ""
    subnet: str = ""
    internal: bool = True


@dataclass(frozen=True)
class LoadFirewall(Step):
    """Load the project's packet filter into the kernel, in place of what it has of it."""

    rules: str = ""


@dataclass(frozen=True)
class RemoveFirewall(Step):
    """Remove the project's packet filter from the kernel."""


@dataclass(frozen=True)
class CreateVolume(Step):
    name: str = ""


@dataclass(frozen=True)
class OwnFiles(Step):
    """Change the owner of the files of a service."""

    service: str = ""
    owner: int = 0
    folders: tuple[str, ...] = ()
    """Of the host."""
    volumes: tuple[str, ...] = ()
    """Changed in place: no container of the service runs."""
    beside: bool = False
    """Whether containers of the former id run meanwhile: they keep the folders they have mounted, and copies replace these."""


@dataclass(frozen=True)
class DropFormerFiles(Step):
    """Remove the folders that containers of the former id had mounted, once none runs any more."""

    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class WriteConfig(Step):
    """Write a service's configuration beside the one in use, then switch the `current` link in one rename."""

    service: str = ""
    version: str = ""
    files: Mapping[str, str] | None = None
    """Path within the configuration -> text."""


@dataclass(frozen=True)
class CheckConfig(Step):
    """Let the service's own program validate configuration that was written but is not yet in use."""

    service: str = ""
    version: str = ""
    files: Mapping[str, str] | None = None


@dataclass(frozen=True)
class WriteRelease(Step):
    """Seal everything that makes up a release under one digest, then make it the current one."""

    number: int = 0
    manifest: Mapping[str, Any] | None = None
    files: Mapping[str, str] | None = None
    """Path within the release's folder -> text."""


@dataclass(frozen=True)
class RememberScale(Step):
    """Have later deploys make as many containers as well."""

    said: Mapping[str, Any] = field(default_factory=dict)
    """What scale.json says then: service -> number, and what stack.yaml said instead."""


@dataclass(frozen=True)
class ActivateRelease(Step):
    """Make a sealed release the current one."""

    number: int = 0


@dataclass(frozen=True)
class CreateContainers(Step):
    """Create containers of the current release, all in one call."""

    slots: tuple[str, ...] = ()
    staged: tuple[str, ...] = ()
    """Slots whose new container is made beside the one in place, to be promoted later."""


@dataclass(frozen=True)
class PromoteContainer(Step):
    """Give a staged container the name of its slot, which has become free."""

    slot: str = ""


@dataclass(frozen=True)
class StartContainer(Step):
    slot: str = ""


@dataclass(frozen=True)
class RestartContainer(Step):
    slot: str = ""
    grace: int = 30
    patience: int = 0
    """Seconds in which it may still become healthy by itself, and is then left alone; 0: it is restarted whatever it says."""


@dataclass(frozen=True)
class StopContainer(Step):
    slot: str = ""
    grace: int = 30


@dataclass(frozen=True)
class RemoveContainer(Step):
    """Stop within the grace period, then remove. Volumes stay."""

    slot: str = ""
    grace: int = 30


@dataclass(frozen=True)
class AwaitHealthy(Step):
    """Wait until a container does what its users need."""

    slot: str = ""
    deadline: int = 120
    settle: int = 0
    """Seconds during which it must have been good without a break."""
    smoke: str = ""
    """Path that it must answer through nginx; empty where nginx has no way to it yet."""
    once: bool = False
    """Whether an end of its process fails the step at once, instead of being left to the restart policy."""


@dataclass(frozen=True)
class Migrate(Step):
    """Ask the new image what the database lacks; where that is something: back up, then run the migration, once.

    The protocol is that of docs/how-to/replace-the-application.md.
    """

    slot: str = ""
    service: str = ""
    release: int = 0
    contracting: bool = False
    """Whether a migration may take away what an older release needs."""
    backup: tuple[str, ...] = ()
    """argv of a verified backup, run in the container `backup_slot`; empty where there is nothing yet to back up."""
    backup_slot: str = ""
    prepared: bool = False
    """Whether the container that asks what is pending has been created already."""
    deadline: int = 900


@dataclass(frozen=True)
class Reconnect(Step):
    """Have containers close their long-lived connections in an orderly way, once a stopping nginx takes no new ones."""

    slots: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReloadService(Step):
    """Make a running container take up its configuration, and remember that it did."""

    service: str = ""
    slots: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()
    version: str = ""


@dataclass(frozen=True)
class MarkLoaded(Step):
    """Remember that a service's containers started on this configuration."""

    service: str = ""
    version: str = ""


@dataclass(frozen=True)
class Supervise(Step):
    """Write the list that the health ticker works from, and have exactly one ticker of this version running."""

    content: Mapping[str, Any] | None = None
    version: str = ""


@dataclass(frozen=True)
class EndSupervision(Step):
    """Stop the health ticker, so that it does not mend what is being stopped."""


@dataclass(frozen=True)
class RemoveVolume(Step):
    name: str = ""


@dataclass(frozen=True)
class RemoveNetwork(Step):
    name: str = ""


@dataclass(frozen=True)
class RemoveSecret(Step):
    name: str = ""


@dataclass(frozen=True)
class RemoveState(Step):
    """Delete the project's state folder: releases, secrets, the CA, logs."""
