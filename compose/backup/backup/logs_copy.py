"""The log store while it is written to: its parts never change, and parts.json says which of them belong together.

A part that has been merged into another one disappears, so the newest days are copied aside as one parts.json says; when a
part goes away meanwhile, the copy begins again. Older days are no longer merged and are read where they lie.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from .errors import JobError
from .paths import DATA

SOURCE = DATA / "logs" / "data" / "partitions"
CHECKPOINT = DATA / "logs" / "checkpoint.json"
"""How far the collector has got. A restored store without it would take in every line of the log files a second time."""
RESTS_AFTER = 2 * 86400
"""Seconds without a change until a day counts as one that is no longer merged."""
FLUSHED_AFTER = 7.0
"""Seconds until the store has surely written what it was given: it does so every 5 (-inmemoryDataFlushInterval)."""
ATTEMPTS = 20
TABLES = ("datadb", "indexdb")


def busy(partitions: Iterable[tuple[str, float]], now: float) -> list[str]:
    """The days to be copied aside. Parameters: (name, when it was last changed)."""
    return sorted(name for name, changed in partitions if now - changed < RESTS_AFTER)


def partitions(source: Path = SOURCE) -> list[tuple[str, float]]:
    return sorted((path.name, _changed(path)) for path in source.iterdir() if path.is_dir())


def _changed(partition: Path) -> float:
    return max(
        (path.stat().st_mtime for table in TABLES for path in [partition / table / "parts.json"] if path.exists()), default=0
    )


def mark(target: Path, checkpoint: Path = CHECKPOINT) -> float:
    """Copies how far the collector has got, and tells when: before the store, which then holds a few seconds of lines more than
    that says, and none less."""
    target.mkdir(parents=True, exist_ok=True)
    # Not there: nothing was delivered yet; not readable: an older collector has written it.
    with contextlib.suppress(FileNotFoundError, PermissionError):
        shutil.copyfile(checkpoint, target / checkpoint.name)
    return time.monotonic()


def stage(target: Path, marked: float, source: Path = SOURCE) -> list[Path]:
    """Copies the busy days below `target` and returns the folders of the others, to be read where they lie.

    marked: when `mark` was done. What was delivered by then may have been in the store's memory only, and is waited for.
    """
    time.sleep(max(0.0, marked + FLUSHED_AFTER - time.monotonic()))
    everything = partitions(source)
    moving = busy(everything, time.time())
    for name in moving:
        for table in TABLES:
            if (source / name / table).is_dir():
                _table(source / name / table, target / name / table)
    return [source / name for name, _ in everything if name not in moving]


def _table(source: Path, target: Path) -> None:
    for _ in range(ATTEMPTS):
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        said = (source / "parts.json").read_bytes()
        try:
            for part in json.loads(said):
                shutil.copytree(source / part, target / part)
        except (FileNotFoundError, shutil.Error):
            continue  # merged meanwhile
        (target / "parts.json").write_bytes(said)
        return
    raise JobError(f"the log store merged its parts faster than they could be copied, {ATTEMPTS} times: {source.parent.name}")


def faults(copy: Path) -> list[str]:
    """Parts that parts.json names and that are not there, of a restored copy."""
    said = []
    for listing in sorted(copy.glob("*/*/parts.json")):
        said += [f"{listing.parent / part}" for part in json.loads(listing.read_text()) if not (listing.parent / part).is_dir()]
    return said
