"""Section 8: known weaknesses of what is installed. What could not be asked is not checked, never fine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ops.security_audit.controls.control import Found, control
from ops.security_audit.facts import Facts, Unread

OLDEST_DAYS = 30
"""Days since an image took up its distribution's fixes; Debian publishes some every week."""


@control(
    "8.1",
    "No image has a Debian package with a mended weakness",
    why="a known weakness is tried by everybody",
    cure="inv build --refresh && inv deploy",
    part="debian",
)
def debian(facts: Facts) -> Iterator[Found]:
    if isinstance(facts.debian, Mapping):
        for service, advisories in facts.debian.items():
            for one in advisories:
                yield Found(service, f"{one.package} {one.identity}", f"{one.package}: {one.identity}{_fixed(one.fixed)}")


@control(
    "8.2",
    "The backend has no Python package with a known weakness",
    why="a known weakness is tried by everybody",
    cure="raise it in compose/backend/requirements.lock, then inv deploy",
    part="python",
)
def python(facts: Facts) -> Iterator[Found]:
    for one in () if isinstance(facts.python, Unread) else facts.python:
        yield Found("backend", f"{one.package} {one.identity}", f"{one.package}: {one.identity}{_fixed(one.fixed)}")


@control(
    "8.3",
    "The frontend has no npm package with a known weakness",
    why="a known weakness is tried by everybody",
    cure="npm update in compose/frontend, then inv deploy",
    part="javascript",
)
def javascript(facts: Facts) -> Iterator[Found]:
    for one in () if isinstance(facts.javascript, Unread) else facts.javascript:
        yield Found("frontend", f"{one.package} {one.identity}", f"{one.package}: {one.identity}{_fixed(one.fixed)}")


@control(
    "8.4",
    f"No image is older than {OLDEST_DAYS} days",
    why="without a look at advisories its age is all that is known",
    cure="inv build --refresh && inv deploy",
)
def age(facts: Facts) -> Iterator[Found]:
    for service, days in facts.image_days.items():
        if days > OLDEST_DAYS:
            yield Found(service, "image", f"was built {days:.0f} days ago")


def _fixed(version: str) -> str:
    return f", mended in {version}" if version else ""
