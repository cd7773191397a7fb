"""Conditional requests of items: entity tags and the header fields that list them (RFC 9110, sections 8.8.3 and 13.1)."""

import re
from collections.abc import Sequence

from app.problems import Problem

ANY = None
"""What `*` names: every version that exists."""
_TAG = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
# Empty elements of a list are allowed (RFC 9110, section 5.6.1).
_LIST = re.compile(rf"[ \t,]*{_TAG}[ \t]*(?:,[ \t]*(?:{_TAG}[ \t]*)?)*")
_VERSION = re.compile(r'(?:W/)?"([1-9]\d{0,8})"')


def etag(version: int) -> str:
    return f'"{version}"'


def versions(field: str, lines: Sequence[str]) -> tuple[int, ...] | None:
    """The versions that a header field lists, or ANY.

    A weak tag names the same version as the strong one. RFC 9110 has If-Match compare strongly, because a weak tag may outlive a
    change. Ours never does: every change makes another version, and it is a proxy that weakens the tag, when it compresses.

    field: name of the header field. lines: its values, one a line of the header.
    Raises Problem (400) for what is neither `*` nor a list of entity tags.
    """
    value = ",".join(lines).strip()
    if value == "*":
        return ANY
    if not _LIST.fullmatch(value):
        raise Problem(400, f"{field} must be * or a list of entity tags, such as the ETag of the item as it was read.")
    found = (_VERSION.fullmatch(tag) for tag in re.findall(_TAG, value))
    return tuple(int(one[1]) for one in found if one)


def matched(lines: Sequence[str], version: int) -> str | None:
    """The tag in If-None-Match that stands for this version, as the client wrote it; None: the client does not have it."""
    value = ",".join(lines).strip()
    if value == "*":
        return etag(version)
    # What is no list of tags matches nothing: the whole answer is right in any case.
    tags = re.findall(_TAG, value) if _LIST.fullmatch(value) else ()
    return next((tag for tag in tags if tag.removeprefix("W/") == etag(version)), None)
