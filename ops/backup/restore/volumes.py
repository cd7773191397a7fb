"""Data of a volume set aside, replaced and restored by renaming, in a one-off container that stands where its service would.

PostgreSQL has its own program for it (compose/postgres/bin/restore-cluster); the others have this script. Every action can be
killed and run again.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ops.backup.restore.plan import VOLUMES
from ops.backup.restore.target import PARTS
from ops.backup.sets import Safety
from ops.core.errors import HostLacks, OpsError
from ops.core.process import Result
from ops.engines.engine import OVERDUE, REMOVING, How
from ops.project import Project
from ops.secrets.secret_files import service_as_is
from ops.stack.render import volume_name

CLUSTER = "restore-cluster"
TELLING = re.compile(r"\b(FATAL|PANIC|ERROR|WARN)\b")
SCRIPT = r"""set -euo pipefail
cd "$1"
before=.before-${3:-} partial=.partial-${3:-} returning=.returning-${3:-} discarded=.discarded fresh=.restoring
# Everything of the service's own: what this script makes begins with one of these names. held/ are lines of this host's log
# files that the collector has not delivered yet; it is root's, and cannot be moved by the owner of the volume.
own() { find . -mindepth 1 -maxdepth 1 ! -name '.before-*' ! -name '.partial-*' ! -name '.returning-*' \
  ! -name "$discarded" ! -name "$fresh" ! -name lost+found ! -name held -print0; }
moved() { own | xargs -0 -r mv -t "$1" --; }
case $2 in
set-aside)
  rm -rf "$fresh" "$discarded"
  if [[ ! -d $before ]]; then mkdir -p "$partial"; moved "$partial"; sync .; mv -T "$partial" "$before"; fi ;;
fill)
  rm -rf "$fresh"; mkdir "$fresh"
  tar -xf - -C "$fresh" --no-same-owner
  if [[ -f $fresh/redis.rdb ]]; then
    mkdir "$fresh/appendonlydir"
    mv "$fresh/redis.rdb" "$fresh/appendonlydir/appendonly.aof.1.base.rdb"
    : >"$fresh/appendonlydir/appendonly.aof.1.incr.aof"
    printf 'file %s seq 1 type %s\n' appendonly.aof.1.base.rdb b appendonly.aof.1.incr.aof i \
      >"$fresh/appendonlydir/appendonly.aof.manifest"
  fi
  # The log store: the backup reads it under another id.
  if [[ -d $fresh/data/partitions ]]; then chmod -R a+rX "$fresh/data"; fi
  sync --file-system .
  find "$fresh" -mindepth 1 -maxdepth 1 -print0 | xargs -0 -r mv -t . --
  rmdir "$fresh" ;;
put-back)
  # Nothing was replaced before all had been put aside.
  if [[ -d $partial ]]; then find "$partial" -mindepth 1 -maxdepth 1 -print0 | xargs -0 -r mv -t . --; rmdir "$partial"; fi
  if [[ -d $before ]]; then mkdir -p "$discarded"; moved "$discarded"; sync .; mv -T "$before" "$returning"; fi
  if [[ -d $returning ]]; then
    find "$returning" -mindepth 1 -maxdepth 1 -print0 | xargs -0 -r mv -t . --
    rmdir "$returning"
  fi
  rm -rf "$discarded" "$fresh" ;;
drop) rm -rf "$before" ;;
esac
sync .
"""


def _service(project: Project, part: str) -> Mapping[str, Any]:
    """The part's container in the release that runs."""
    compose = yaml.safe_load((project.state.current / "compose.yaml").read_text(encoding="utf-8"))
    service = dict(compose["services"][part])
    if part == "logs" and (folder := folder_of(project, VOLUMES[part])):
        # Its container begins as root, and the store has an id of its own.
        owner = folder.stat().st_uid
        service["user"] = f"{owner}:{owner}"
    return service


def _run(project: Project, part: str, words: Sequence[str], how: How) -> Result:
    command = (CLUSTER, *words) if part == "postgres" else ("bash", "-c", SCRIPT, "restore", f"/var/lib/{part}", *words)
    return project.engine.run_as(f"{part}-restore", service_as_is(project.state, _service(project, part)), command, **how)


def do(project: Project, part: str, words: Sequence[str], deadline: float = REMOVING, source: Path | None = None) -> str:
    """Run one action; what it says. Raises OpsError with its last words."""
    how: How = {"timeout": deadline, "ok": None}
    if source:
        how["source"] = source
    answer = _run(project, part, words, how)
    if answer.returncode:
        raise OpsError(f"{words[0]} of {part}", answer.last_words(), "inv restore again, or inv restore --undo")
    return answer.stdout.strip()


def watched(project: Project, part: str, words: Sequence[str], deadline: float, each: Callable[[str], None]) -> None:
    """Run one action, and pass on each line that it says. Raises OpsError with what led to its end."""
    said: list[str] = []

    def line(text: str) -> None:
        each(text)
        said.append(text)
        del said[:-200]

    code = _run(project, part, words, {"timeout": deadline, "ok": None, "each": line}).returncode
    if code == OVERDUE:
        raise OpsError(f"{words[0]} of {part}", f"it did not end within {deadline:.0f} s", "inv logs backup --since 1h")
    if code:
        telling = [text for text in said if TELLING.search(text) and "the database system is" not in text] or said
        raise OpsError(f"{words[0]} of {part} ended with {code}", " / ".join(telling[-3:])[:600], "inv backup.list", said[-6:])


def folder_of(project: Project, volume: str) -> Path | None:
    """Where a volume lies on this host; None where there is none."""
    return project.engine.volumes().get(volume_name(project.name, volume))


def safeties(project: Project) -> list[Safety]:
    """Every safety copy that a restore has left. The folders are looked at from outside: that takes no container."""
    found, folders = [], project.engine.volumes()
    for part in PARTS:
        if folder := folders.get(volume_name(project.name, VOLUMES[part])):
            pattern = "data.before-*" if part == "postgres" else ".before-*"
            found += [Safety(part, path.name.rpartition("before-")[2], size_of(path)) for path in folder.glob(pattern)]
    return found


def size_of(folder: Path) -> int:
    """Bytes of all files below, whatever goes meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        try:
            if path.is_file() and not path.is_symlink():
                total += path.stat().st_size
        except OSError:
            continue
    return total


def present_size(project: Project, part: str) -> int | None:
    """Bytes that a part holds now, safety copies left out; None where it has no volume."""
    folder = folder_of(project, VOLUMES[part])
    if folder is None:
        return None
    if part == "postgres":
        return size_of(folder / "data")
    return sum(size_of(path) if path.is_dir() else path.stat().st_size for path in folder.iterdir() if path.name[0] != ".")


def check_space(project: Project, part: str, needed: int) -> str:
    """Raises HostLacks where less than this is free for it."""
    free = shutil.disk_usage(folder_of(project, VOLUMES[part]) or project.state.root).free
    if free < needed:
        raise HostLacks(
            "there is not enough space to restore beside what is there", f"{needed:,} bytes are needed, {free:,} are free",
            "inv backup.prune --safety removes safety copies; inv images.prune old images",
        )  # fmt: skip
    return f"{free:,} bytes are free"
