"""Releases as data: what is sealed, how two differ, which one to go back to, which ones may go. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ops.stack.render import digest
from ops.stack.wanted import Wanted, pack
from ops.stack.yaml_model import dump_yaml

RELEASE, COMPOSE, STACK, CONFIG, REALM = "release.json", "compose.yaml", "stack.json", "config", "realm.yaml"
GOOD = "good"


@dataclass(frozen=True)
class Activation:
    """One time that a release was applied, or tried to be. `seconds` is the whole command's time."""

    release: int
    verb: str
    at: str
    outcome: str
    """`good`, `reverted` (the release before it serves), `failed` (a person is needed) or `interrupted`."""
    seconds: float = 0.0
    why: str = ""
    previous: int | None = None
    requests: Mapping[str, Any] | None = None
    """What the prober saw meanwhile; None where it did not run."""
    gaps: Mapping[str, float] = field(default_factory=dict)
    """Service -> seconds between the end of its old container and a healthy new one."""


@dataclass(frozen=True)
class Kept:
    """A release on this host: its manifest, and whether what lies there is still what was sealed."""

    number: int
    manifest: Mapping[str, Any]
    intact: bool = True
    bytes: int = 0


def file_hashes(wanted: Wanted) -> dict[str, dict[str, str]]:
    """Service -> path of a mounted file -> hash of its text."""
    return {name: {path: digest(text) for path, text in files.items()} for name, files in wanted.config_files.items()}


def setting_text(key: str, value: Any) -> str:
    """The value of a setting as stack.yaml has it; memory is in bytes. None: the default."""
    if value is None:
        return "default"
    if key.endswith(".memory") and isinstance(value, int):
        return next(f"{value // size}{unit}" for unit, size in (("g", 1 << 30), ("m", 1 << 20), ("", 1)) if value % size == 0)
    return str(value)


def manifest_of(wanted: Wanted, without: Iterable[str]) -> dict[str, Any]:
    """What decides whether a release is another one than the last."""
    left_out = set(without)
    return {
        "images": {name: image.tag for name, image in sorted(wanted.images.items()) if name not in left_out},
        "config": dict(sorted(wanted.config.items())),
        "files": file_hashes(wanted),
        "secrets": dict(sorted(wanted.versions.items())),
        "slots": {slot: wanted.slot_hash(slot) for slot in wanted.slots()},
        "stack": digest(pack(wanted)),
        "settings": dict(sorted(wanted.settings.items())),
        "realm": digest(wanted.realm) if wanted.realm else "",
    }


def release_files(wanted: Wanted) -> dict[str, str]:
    """Everything that applying this release again needs, but for images and secrets, which it names."""
    configs = {
        f"{CONFIG}/{service}/{path}": text for service, files in wanted.config_files.items() for path, text in files.items()
    }
    return {
        COMPOSE: dump_yaml(dict(wanted.compose)),
        # Not sorted: the order of services is that of their start.
        STACK: json.dumps(pack(wanted), indent=1) + "\n",
        **configs,
        **({REALM: wanted.realm} if wanted.realm else {}),
    }


def seal(files: Mapping[str, str]) -> str:
    """One digest over every file's path and content. release.json carries it, and is therefore digested without it."""
    total = hashlib.sha256()
    for path, text in sorted(files.items()):
        content = text.encode()
        total.update(f"{path}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def good_releases(activations: Iterable[Activation]) -> set[int]:
    """Numbers of the releases that have served."""
    return {entry.release for entry in activations if entry.outcome == GOOD}


def previous_good(releases: Sequence[Kept], activations: Sequence[Activation], current: int | None) -> Kept | None:
    """The newest release before the current one that has served and that is another one in content."""
    good = good_releases(activations)
    now = next((kept for kept in releases if kept.number == current), None)
    for kept in sorted(releases, key=lambda kept: -kept.number):
        older = current is None or kept.number < current
        if older and kept.intact and kept.number in good and not (now and same(kept.manifest, now.manifest)):
            return kept
    return None


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    keys = ("images", "config", "secrets", "slots", "stack", "realm")
    return all((one.get(key) or None) == (other.get(key) or None) for key in keys)


def difference(
    before: Mapping[str, Any], after: Mapping[str, Any], files: Mapping[str, tuple[str | None, str | None]]
) -> list[str]:
    """What an operator would call the difference of two manifests, a line for each thing.

    files: path of a configuration file -> its text in both releases (None where it is not there).
    """
    lines = [f"{name} image" for name in _differing(before, after, "images")]
    lines += [
        f"{name}: {setting_text(name, old)} to {setting_text(name, new)}"
        for name, (old, new) in sorted(_values(before, after, "settings").items())
    ]
    lines += [
        f"secret {name}: version {old or '–'} to {new or '–'}" for name, (old, new) in _values(before, after, "secrets").items()
    ]
    for path, (old, new) in sorted(files.items()):
        if old != new:
            lines.append(f"{path} {'added' if old is None else 'removed' if new is None else 'changed'}")
    slots_before, slots_after = set(before.get("slots", {})), set(after.get("slots", {}))
    lines += [f"{slot} added" for slot in sorted(slots_after - slots_before)]
    lines += [f"{slot} removed" for slot in sorted(slots_before - slots_after)]
    if not lines and not same(before, after):
        changed = _differing(before, after, "slots")
        lines.append("definition of " + ", ".join(changed) if changed else "definition of the stack (deadlines, health checks)")
    return lines


def _values(before: Mapping[str, Any], after: Mapping[str, Any], part: str) -> dict[str, tuple[Any, Any]]:
    one, other = before.get(part, {}), after.get(part, {})
    return {key: (one.get(key), other.get(key)) for key in sorted({*one, *other}) if one.get(key) != other.get(key)}


def _differing(before: Mapping[str, Any], after: Mapping[str, Any], part: str) -> list[str]:
    return list(_values(before, after, part))


def expendable(releases: Sequence[Kept], activations: Sequence[Activation], current: int | None, keep: int) -> list[int]:
    """Releases that may go: beyond the newest `keep`, and neither the current one nor the one to go back to."""
    newest = sorted((kept.number for kept in releases), reverse=True)[:keep]
    back = previous_good(releases, activations, current)
    needed = {*newest, current, back.number if back else None}
    # The five newest that have served stay, however many failed attempts came after them.
    served = sorted(good_releases(activations) & {kept.number for kept in releases}, reverse=True)[:5]
    return sorted(kept.number for kept in releases if kept.number not in needed | set(served))


def contracted_since(schema: Iterable[Mapping[str, Any]], release: int) -> list[str]:
    """Contracting migrations that came with later releases than this one: it cannot run on the schema that they left."""
    return [name for entry in schema if int(entry["release"]) > release for name in entry.get("contracted", [])]
