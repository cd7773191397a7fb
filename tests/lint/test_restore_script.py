"""The script that moves data within a volume for a restore, run in a folder of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ops.backup.restore.volumes import SCRIPT

STAMP = "20261130T120000Z"


def restore(folder: Path, *words: str) -> None:
    subprocess.run(("bash", "-c", SCRIPT, "restore", str(folder), *words), check=True, timeout=30)


def content(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_data_is_set_aside_and_comes_back_while_what_the_collector_keeps_stays(tmp_path: Path) -> None:
    """The collector's folder is root's: the owner of the volume, as whom the script runs, cannot move it."""
    for path, text in {"data/partitions/20261130/part": "rows", "checkpoint.json": "{}", "held/1-2": "lines"}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    previous = content(tmp_path)

    restore(tmp_path, "set-aside", STAMP)

    before = f".before-{STAMP}"
    assert content(tmp_path) == {
        f"{before}/data/partitions/20261130/part": "rows", f"{before}/checkpoint.json": "{}", "held/1-2": "lines",
    }  # fmt: skip
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "restored").write_text("older rows")
    restore(tmp_path, "put-back", STAMP)
    assert content(tmp_path) == previous
