"""What every drill found: drills.jsonl on the repository's volume, one line each."""

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from . import disk
from .paths import VOLUME

PATH = VOLUME / "drills.jsonl"
KEPT = 500


@dataclass(frozen=True)
class Drill:
    """Seconds: `seconds` of all of it, `seconds_of` of its phases, `data_loss` see wal.py (None: not measured)."""

    set: str
    repository: str
    ended: datetime
    seconds: float
    error: str = ""
    compared: bool = False
    data_loss: float | None = None
    seconds_of: dict = field(default_factory=dict)
    restored: dict = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        return not self.error


def read(path: Path = PATH) -> list[Drill]:
    """Oldest first. A line that a crash has torn is left out."""
    found = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            values = json.loads(line)
            values["ended"] = datetime.fromisoformat(values["ended"])
            found.append(Drill(**values))
        except (ValueError, KeyError, TypeError):
            continue
    return found


def append(drill: Drill, path: Path = PATH) -> None:
    """Callers hold the job lock, hence no two writers."""
    kept = [*read(path)[-KEPT + 1 :], drill]
    disk.write(path, "".join(json.dumps(asdict(one), default=datetime.isoformat) + "\n" for one in kept))
