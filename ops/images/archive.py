"""A whole release in one file: every image, and beside it the list of what each must be."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable
from pathlib import Path

from ops.core import files
from ops.core.errors import HostLacks, OpsError, UsageProblem
from ops.core.files import destination, whole
from ops.core.state import State
from ops.project import REFRESH, Project
from ops.releases.retention import needed_images
from ops.stack.images import tags_of


def _sums(archive: Path) -> Path:
    return archive.with_name(archive.name + ".json")


def save_images(project: Project, file: str, *, overwrite: bool = False) -> str:
    """Write the archive and its list (image -> id, checksum of the archive).

    Raises HostLacks where an image of the release is not on this host, UsageProblem where one of the two files exists.
    """
    archive = destination(file, overwrite=overwrite)
    destination(str(_sums(archive)), overwrite=overwrite)
    have = project.engine.images(tags_of(project.images.values()))
    wanted = [image.tag for image in project.images.values() if image.context or image.tag in have]
    bases = sorted({tag for image in project.images.values() for _, tag in image.bases})
    missing = [tag for tag in wanted if tag not in have]
    if missing:
        raise HostLacks(f"{len(missing)} images of this release are missing", ", ".join(missing), "inv build, then again")
    tags = [*wanted, *(tag for tag in bases if tag in have)]
    with whole(archive) as fresh:
        project.engine.save_images(tags, fresh)
        content = {
            "images": {tag: have[tag] for tag in tags},
            "sha256": files.sha256(fresh),
            "refresh": project.kept_stamps,
        }
    files.write(_sums(archive), files.dump(content))
    return f"{len(tags)} images, {archive.stat().st_size >> 20} MB, in {archive} and {_sums(archive).name}: carry both files"


def load_images(project: Project, file: str) -> str:
    """Load an archive, verified against its list where it has one; a plain `podman save` archive has none.

    Raises UsageProblem where the file is not there, OpsError where it or an image is not what the list says.
    """
    archive = Path(file).absolute()
    if not archive.is_file():
        raise UsageProblem(f"cannot read {archive}", "there is no such file", "give the path of an archive of images.save")
    if not _is_image_archive(archive):
        raise UsageProblem(
            f"{archive.name} is no archive of images", "it has no manifest.json, as podman save and docker save write it",
            "give the path of an archive of images.save; nothing was loaded",
        )  # fmt: skip
    content = json.loads(_sums(archive).read_text()) if _sums(archive).is_file() else None
    if content and content["sha256"] != files.sha256(archive):
        raise OpsError(
            f"{archive.name} is not the archive that its list describes", "its checksum differs: it was cut short or changed",
            "copy both files again; nothing was loaded",
        )  # fmt: skip
    project.host.prepare()
    loaded = project.engine.load_images(archive)
    recognised = _tag_published(project, loaded)
    if content is None and not recognised:
        raise OpsError(
            f"{archive.name} is loaded, but none of its images is used by this stack", ", ".join(loaded) or "no name",
            "save it by name (podman save NAME:TAG), or use images.save; inv images lists the images that are used",
        )  # fmt: skip
    if content:
        take_stamp(project.state, content.get("refresh", ""))
    expected = content["images"] if content else {}
    have = project.engine.images(expected)
    wrong = [tag for tag, identity in expected.items() if have.get(tag) != identity]
    if wrong:
        raise OpsError(
            f"{len(wrong)} images are not what the list says", ", ".join(wrong), "copy the archive again and load it"
        )
    return (
        f"{len(expected)} images loaded and verified" if content else "loaded; the archive has no list, so nothing was verified"
    )


def _is_image_archive(path: Path) -> bool:
    try:
        with tarfile.open(path) as archive:
            return any(member.name in ("manifest.json", "index.json") for member in archive)
    except (tarfile.TarError, OSError):
        return False


def take_stamp(state: State, stamp: str) -> None:
    """Make the archive's stamp of `inv build --refresh` this host's own; empty where its images were built without one.

    The stamp is part of every tag: with another this host would look for images that the archive does not have."""
    path = state.root / REFRESH
    if stamp:
        files.write(path, stamp)
    else:
        path.unlink(missing_ok=True)


def _tag_published(project: Project, loaded: Iterable[str]) -> int:
    """How many loaded images are ones that their publisher made and this stack looks for; each gets our tag.

    An image that its publisher made is looked for under a tag of ours; an archive of `podman save` does not carry that."""
    tagged = 0
    for image in project.images.values():
        repository = image.source.partition("@")[0]
        for reference in loaded:
            if repository and reference.rpartition(":")[0] == repository:
                project.engine.tag_image(reference, image.tag)
                tagged += 1
    return tagged


def unused_images(project: Project) -> list[str]:
    """This stack's images that neither the checkout, nor a kept release, nor a container of any project uses."""
    needed = needed_images(project)
    return sorted(tag for tag in project.engine.images() if tag not in needed)
