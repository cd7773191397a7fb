"""Sealed releases on disk: written whole and read-only, verified by their digest, never changed afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from ops.core import files
from ops.core.errors import HostLacks
from ops.core.records import append_line, entries, parsed
from ops.core.state import State
from ops.stack.release import COMPOSE, CONFIG, GOOD, REALM, RELEASE, STACK, Activation, Kept, seal
from ops.stack.wanted import Wanted, unpack
from ops.stack.yaml_model import load_yaml
from ops.store import versions

KEPT = 2
"""Finished parts of the record of activations (records.py), besides those that tell of a kept release that it has served."""


def record_activation(state: State, activation: Activation) -> None:
    """Remember how bringing about a release ended."""

    def needed(finished: Sequence[Path]) -> set[Path]:
        present = set(_numbers(state))
        last = {
            entry["release"]: part for part in finished for entry in parsed(part.read_bytes())
            if entry["outcome"] == GOOD and entry["release"] in present
        }  # fmt: skip
        return set(last.values())

    append_line(state.activations, asdict(activation), kept=KEPT, needed=needed)


def activations(state: State) -> list[Activation]:
    """Every activation, oldest first."""
    names = {entry.name for entry in fields(Activation)}
    return [Activation(**{key: value for key, value in line.items() if key in names}) for line in entries(state.activations)]


def record_schema(state: State, **entry: Any) -> None:
    """Remember what a migration has done, the moment it has done it: whether an older release still can run depends on it."""
    append_line(state.schema, entry)


def schema_history(state: State) -> list[dict[str, Any]]:
    return list(entries(state.schema))


def write_release(state: State, number: int, manifest: Mapping[str, Any], content: Mapping[str, str]) -> None:
    """Write a release beside the others and make it the current one; an unfinished one of that number is replaced.

    manifest: what release.json says, without its seal. content: every other file, path -> text.
    """
    folder = state.releases / str(number)
    fresh = state.releases / f".{number}.new"
    for old in (fresh, folder):
        shutil.rmtree(old, ignore_errors=True)
    body = {"number": number, **manifest}
    body["seal"] = seal({**content, RELEASE: files.dump(body)})
    for path, text in {**content, RELEASE: files.dump(body)}.items():
        (fresh / path).parent.mkdir(parents=True, exist_ok=True)
        (fresh / path).write_text(text, encoding="utf-8")
        (fresh / path).chmod(0o444)
    with ThreadPoolExecutor(max_workers=16) as pool:
        # Side by side, so that the file system can write its journal once for many.
        list(pool.map(files.to_disk, [fresh, *fresh.rglob("*")]))
    fresh.rename(folder)
    files.link(state.current, str(number))


def _content(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip


def read_release(state: State, number: int) -> Kept:
    """A release's manifest, and whether everything that was sealed with it is there and unchanged."""
    return _read(state.releases / str(number), number)[0]


def _read(folder: Path, number: int) -> tuple[Kept, dict[str, str]]:
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    try:
        content = _content(folder)
        manifest = json.loads(content[RELEASE])
        unsealed = {key: value for key, value in manifest.items() if key != "seal"}
        intact = manifest.get("seal") == seal({**content, RELEASE: files.dump(unsealed)})
    except (OSError, ValueError, KeyError):
        return Kept(number, {}, intact=False, bytes=size), {}
    return Kept(number, manifest, intact, size), content


def _known(state: State) -> str:
    return ", ".join(str(one.number) for one in releases(state) if one.intact) or "none"


def releases(state: State) -> list[Kept]:
    """Every release on this host, oldest first."""
    return [read_release(state, number) for number in _numbers(state)]


def _numbers(state: State) -> list[int]:
    found = state.releases.iterdir() if state.releases.is_dir() else ()
    return sorted(int(path.name) for path in found if path.name.isdigit())


def current_number(state: State) -> int | None:
    return int(state.current.readlink().name) if state.current.is_symlink() else None


def next_number(state: State) -> int:
    """Numbers are never used twice, whatever was deleted since."""
    return max([*(entry.release for entry in activations(state)), *_numbers(state)], default=0) + 1


def load_release(state: State, number: int, ticker: Any) -> Wanted:
    """A sealed release as what is wanted. `ticker`: sources of the health ticker that will watch over it.

    Raises HostLacks where it is gone, damaged, or names secrets that are gone.
    """
    folder = state.releases / str(number)
    if not folder.is_dir():
        raise HostLacks(f"there is no release {number}", f"releases on this host: {_known(state)}", "inv releases")
    kept, content = _read(folder, number)
    if not kept.intact:
        raise HostLacks(
            f"release {number} is damaged", "its files are not what was sealed; nothing was touched",
            f"choose another one of {_known(state)}: inv releases",
        )  # fmt: skip
    configs: dict[str, dict[str, str]] = {}
    for path, text in content.items():
        if path.startswith(f"{CONFIG}/"):
            _, service, inner = path.split("/", 2)
            configs.setdefault(service, {})[inner] = text
    realm = content.get(REALM, "")
    wanted = unpack(json.loads(content[STACK]), load_yaml(content[COMPOSE]), configs, ticker, number, realm)
    serving = [one for one in wanted.stack.services.values() if one.slots()[0] in wanted.compose["services"]]
    gone = [
        name for name in wanted.versions
        # It is given the newest version of each.
        if any(name in (*service.secrets, *service.api_secrets) for service in serving) and not versions.numbers(state, name)
    ]  # fmt: skip
    if gone:
        raise HostLacks(f"release {number} needs secrets that are missing", ", ".join(gone), "inv releases shows others")
    return wanted


def current_manifest(state: State) -> Mapping[str, Any] | None:
    """What the current release says of itself; None where there is none."""
    return files.read_json(state.current / RELEASE)


def last_gaps(state: State) -> dict[str, float]:
    """Service -> how long its last replacement on this host took, in seconds."""
    return {service: seconds for entry in activations(state) for service, seconds in entry.gaps.items()}


def config_current(state: State) -> dict[str, str]:
    """Service -> hash of the configuration that its containers see."""
    return {path.parent.name: path.readlink().name for path in state.config.glob("*/current") if path.is_symlink()}


def config_loaded(state: State) -> dict[str, str]:
    """Service -> hash of the configuration that its containers have taken up."""
    return {path.parent.name: path.read_text().strip() for path in state.config.glob("*/loaded") if path.is_file()}
