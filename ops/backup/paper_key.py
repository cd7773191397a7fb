"""The keys of the backups on paper: printable, with checksums that find a typing error. Pure."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence

from ops.core.errors import OpsError

GROUP = 6
"""Characters between blanks: what can be compared at a glance."""


def checksum(key: str) -> str:
    """Eight hexadecimal digits that tell nothing about the 256 random bits of the key."""
    return hashlib.sha256(b"cc03 repository key\n" + key.encode()).hexdigest()[:8]


def _grouped(key: str) -> str:
    return " ".join(key[index : index + GROUP] for index in range(0, len(key), GROUP))


def exported(key: str, recovery: Sequence[str], project: str, at: str) -> str:
    """The file to print or to keep in a safe.

    Parameters
    ----------
    key: of the repositories. recovery: identities of age that open what sets hold of the host, today's first.
    at: date of the export.
    """
    further = "".join(f"recovery key: {_grouped(identity)}\n" for identity in recovery)
    return (
        f"Keys of the backups of {project}, exported {at}.\n"
        "\n"
        "Whoever has them and a copy of a backup repository can read everything in it, passwords included.\n"
        "Without them no backup can be read by anybody. Keep them apart from the backups, and not on the same host.\n"
        "The first opens the repositories. A recovery key opens what they hold of the host: secrets, certificates,\n"
        "settings. Where there are several, the first is today's, and older sets need the others.\n"
        "\n"
        f"key: {_grouped(key)}\n"
        f"checksum: {checksum(key)}\n"
        f"{further}"
        "\n"
        "On an empty host, with a clone of this repository and this file:\n"
        "    inv restore --bootstrap FOLDER --key FILE\n"
        "Whether a copy of this file is still right: inv backup.key --check FILE\n"
        "Blanks within a key do not count.\n"
    )


def parse(text: str, name: str) -> str:
    """The key out of an exported file, or out of one that holds nothing else.

    Raises OpsError where it cannot be one, or its checksum tells that it was mistyped. `name`: of the file.
    """
    labelled = re.search(r"^\s*key:\s*(.+)$", text, re.MULTILINE)
    key = re.sub(r"\s+", "", labelled[1] if labelled else text)
    if not re.fullmatch(r"[A-Za-z0-9_~.-]{20,}", key):
        raise OpsError(f"{name} holds no key", "a line `key: …`, or the key alone, is needed", "inv backup.key --export FILE")
    said = re.search(r"^\s*checksum:\s*([0-9a-fA-F]{8})\s*$", text, re.MULTILINE)
    if said and not hmac.compare_digest(said[1].lower(), checksum(key)):
        raise OpsError(
            f"the key in {name} is mistyped", f"its checksum is {checksum(key)}, the file says {said[1]}",
            "compare it with the printed copy group by group",
        )  # fmt: skip
    return key


def recovery_keys(text: str) -> tuple[str, ...]:
    """The recovery keys in an exported file, in its order; none in one of earlier versions."""
    found = re.findall(r"^\s*recovery key:\s*(.+)$", text, re.MULTILINE)
    return tuple(re.sub(r"\s+", "", one).upper() for one in found)


def version_for(present: Sequence[int], copies: Iterable[str], secret: str) -> int:
    """The version that a key gets which is brought back: that of Podman's copy, which containers have, where the state folder
    has none; else a newer one than what is there, which was wrong.

    Parameters
    ----------
    present: versions in the state folder. copies: names of Podman's secrets. secret: `PROJECT-NAME`.
    """
    if present:
        return max(present) + 1
    found = (re.fullmatch(rf"{re.escape(secret)}-(\d+)", name) for name in copies)
    return max((int(match[1]) for match in found if match), default=1)
