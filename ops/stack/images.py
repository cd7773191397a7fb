"""Which images are wanted, under which content hash, and what it takes to have them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ops.core.errors import UsageProblem
from ops.stack.model import Service

BASE_ARG = re.compile(r"^ARG BASE_([A-Z]+)", re.MULTILINE)
DOCS = re.compile(r"^COPY --from=docs ", re.MULTILINE)
"""How a Containerfile takes the folder docs/ of the checkout, a build context of its own."""
REGISTRY = "localhost/cc03"


@dataclass(frozen=True)
class WantedImage:
    """One image under its content-hash tag. `bases`: the suites it is built on; `context` is empty for one that is fetched."""

    name: str
    tag: str
    context: str = ""
    bases: tuple[tuple[str, str], ...] = ()
    """(suite, tag of the base image) pairs."""
    source: str = ""
    """Reference by digest in a registry, for an image that is taken as its publisher made it."""

    @property
    def build_args(self) -> tuple[tuple[str, str], ...]:
        return tuple((f"BASE_{suite.upper()}", tag) for suite, tag in self.bases)


def content_hash(files: Iterable[tuple[str, int, bytes]], *more: str) -> str:
    """Hash of a build context: every file's path, executable bit and content, and whatever else goes into the build.

    files: (path within the context, mode, content). more: hashes of the bases, build arguments.
    """
    total = hashlib.sha256()
    for path, mode, content in sorted(files):
        total.update(f"{path}\0{mode & 0o111 != 0}\0{len(content)}\0".encode())
        total.update(content)
    for part in more:
        total.update(f"\0{part}".encode())
    return total.hexdigest()[:16]


def stamp_of(stamps: str, service: str) -> str:
    """The stamp of the last refresh that a service's images were built with.

    stamps: one text for all services, or a JSON object of service -> stamp, with that of all others under "".
    """
    if not stamps.startswith("{"):
        return stamps
    known: Mapping[str, str] = json.loads(stamps)
    return known.get(service, known.get("", ""))


def refreshed(stamps: str, service: str | None, stamp: str) -> str:
    """The stamps after a refresh of one service, or of all of them (None)."""
    if service is None:
        return stamp
    known = json.loads(stamps) if stamps.startswith("{") else {"": stamps}
    return json.dumps({**known, service: stamp}, sort_keys=True)


def suites_of(containerfile: str) -> tuple[str, ...]:
    """Debian suites that a Containerfile builds on, by its `ARG BASE_<SUITE>` lines."""
    return tuple(sorted({name.lower() for name in BASE_ARG.findall(containerfile)}))


def pinned_digest(reference: str) -> str:
    """The reference, if it names its content.

    Raises UsageProblem for a bare tag: what it means can change from one day to the next.
    """
    if "@sha256:" not in reference:
        raise UsageProblem(
            f"image {reference} is not pinned", "a tag may name other content tomorrow", "append its digest: name:tag@sha256:…"
        )
    return reference


def tags_of(images: Iterable[WantedImage]) -> list[str]:
    """Tags of images and of what they are built on."""
    return [tag for image in images for tag in (image.tag, *(base for _, base in image.bases))]


def missing_optional(services: Iterable[Service], images: Mapping[str, WantedImage], present: Iterable[str]) -> dict[str, str]:
    """Optional service -> the reason it declares, where its image is not on this host."""
    have = set(present)
    return {s.name: s.optional for s in services if s.optional and images[s.name].tag not in have}
