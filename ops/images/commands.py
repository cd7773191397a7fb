"""inv build, images, images.save, images.load: the images of the release that this checkout describes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from invoke import Context

from ops.cli.command import print_json, verb
from ops.cli.execute import Operation, execute, planned
from ops.core import machine
from ops.core.errors import HostLacks, UsageProblem

if TYPE_CHECKING:
    from ops.core.plan import Plan
    from ops.project import Project


def decide(project: Project, only: str | None) -> Plan:
    from ops.images.steps import plan_build
    from ops.stack.images import tags_of

    own = {name: image for name, image in project.images.items() if image.context and only in (None, name)}
    have = project.engine.images(tags_of(own.values()))
    return plan_build(own, frozenset(have), project.settings.deadlines.build)


@verb(help={
    "service": "build this one image only",
    "plan": "show what would be built, and build nothing",
    "refresh": "install the distribution's security fixes: rebuild everything on a fresh base",
})  # fmt: skip
def build(c: Context, service: str | None = None, plan: bool = False, refresh: bool = False) -> None:
    """Build the images that this host lacks.

    Several at a time; nothing that runs is touched.
    """
    from ops.cli import show
    from ops.core import files
    from ops.host.preflight import check_host_to_build
    from ops.project import BUILDS, REFRESH, known_service, on_cluster, open_project
    from ops.stack.images import refreshed

    began = time.monotonic()
    project = open_project(cluster=BUILDS)
    known_service(project, service)
    stamps = refreshed(project.kept_stamps, service, machine.now())
    if refresh:
        project = project.with_stamps(stamps)
    decided = planned(project, lambda: decide(project, service))
    if project.cluster:
        decided = on_cluster().decided(project, lambda: decide(project, service))
    if built := execute(Operation(project, "build", decided, plan_only=plan, check=check_host_to_build)):
        if refresh:
            # Only now: a refresh that failed must not leave a deploy without images.
            files.write(project.state.root / REFRESH, stamps)
        show.out.print(f"[bold green]built[/bold green]: {built} images in {time.monotonic() - began:.1f} s")


@verb(changes=False, default=True, name="list", help={"json": "print a list for other programs"})
def list_images(c: Context, json: bool = False) -> None:
    """List the image of every service.

    Tag, size, and whether this host has it.
    """

    from ops.cli import show
    from ops.core.amounts import size
    from ops.project import BUILDS, open_project

    project = open_project(cluster=BUILDS)
    sizes = project.engine.image_sizes(image.tag for image in project.images.values())
    if json:
        have = project.engine.images(sizes)
        rows = [
            {"service": name, "image": image.tag, "present": image.tag in sizes, "id": have.get(image.tag, "")}
            for name, image in project.images.items()
        ]
        print_json(rows)
        return
    drawn = show.table("SERVICE", "IMAGE", "SIZE", "HERE")
    for name, image in project.images.items():
        here = "[green]yes[/green]" if image.tag in sizes else "[yellow]no[/yellow]"
        drawn.add_row(name, image.tag, size(sizes[image.tag]) if image.tag in sizes else "–", here)
    show.out.print(drawn)


@verb(positional=["file"], help={
    "file": "archive to write, for example cc03-images.tar", "overwrite": "replace FILE where it exists",
})  # fmt: skip
def save(c: Context, file: str, overwrite: bool = False) -> None:
    """Save all images of this release to one archive.

    With their digests, for a host without a network.
    """
    from ops.cli import show
    from ops.images.archive import save_images
    from ops.project import BUILDS, open_project

    project = open_project(cluster=BUILDS)
    show.out.print(save_images(project, file, overwrite=overwrite))


@verb(positional=["file"], help={"file": "archive written by images.save, or by podman save"})
def load(c: Context, file: str) -> None:
    """Load images from an archive, verified.

    Each image must be what the archive's list says.
    """
    from ops.audit_log.record import audited
    from ops.cli import show
    from ops.core.plan import Described, Plan
    from ops.images.archive import load_images
    from ops.project import BUILDS, open_project

    project = open_project(cluster=BUILDS)
    with audited(project, Plan("images.load", (Described("load", f"load images from {file}"),))):
        show.out.print(load_images(project, file))


@verb(help={"plan": "show what would be pushed, and push nothing"})
def push(c: Context, plan: bool = False) -> None:
    """Push this release's images to the registry.

    engine.kubernetes.registry names it; `podman login` has its credentials.
    """
    from ops.cli import show
    from ops.images.steps import plan_push, pushed
    from ops.project import BUILDS, on_cluster, open_project

    began = time.monotonic()
    project = open_project(cluster=BUILDS)
    if project.cluster is None or not project.cluster.registry:
        raise UsageProblem(
            "there is no registry to push to", f"{project.settings.source} does not name one",
            "engine.kubernetes.registry in that file; without one, docs/how-to/cluster.md, Images without a registry",
        )  # fmt: skip
    references: dict[str, str] = on_cluster().references(project)
    have = project.engine.images(references)
    if missing := sorted(set(references) - set(have)):
        raise HostLacks(f"{len(missing)} images are not on this host", ", ".join(missing), "inv build")

    def decide() -> Plan:
        return plan_push(references, pushed(project.state))

    one = Operation(project, "images.push", on_cluster().decided(project, decide), plan_only=plan, locks=False, remembers=False)
    if done := execute(one):
        show.out.print(f"[bold green]pushed[/bold green]: {done} images in {time.monotonic() - began:.1f} s")


@verb(help={"yes": "do not ask for confirmation"})
def prune(c: Context, yes: bool = False) -> None:
    """Remove images that nothing needs.

    Neither this checkout, nor a kept release, nor a container uses them.
    """
    from ops.audit_log.record import audited
    from ops.cli import show
    from ops.cli.execute import confirm
    from ops.core.plan import Described, Plan
    from ops.images.archive import unused_images
    from ops.project import BUILDS, open_project

    project = open_project(cluster=BUILDS)
    unused = unused_images(project)
    if not unused:
        show.out.print("nothing to remove")
        return
    steps = tuple(Described(tag, f"remove image {tag}") for tag in unused)
    plan = Plan("images.prune", steps, destroys=tuple(f"image {tag}" for tag in unused))
    confirm(plan, yes)
    with audited(project, plan):
        # One that something has begun to use meanwhile is left.
        show.out.print(f"removed {sum(map(project.engine.remove_image, unused))} images")
