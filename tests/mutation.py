"""Single faults put into the code one at a time, and how many of them the tests notice (mutmut). `nox -s mutation`.

mutmut works beside what it mutates and takes its settings from the folder that it runs in. So the checkout is copied, and the
settings of each part, in pyproject.toml, are written to where it looks for them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NOTICED = ("killed", "timeout", "caught by type check", "segfault")
FLOOR = 85.0
"""Percent of the faults in a file that the tests have to notice."""


def main(chosen: list[str]) -> int:
    """Parameters: files to be mutated, all by default. 1 where the tests notice less than they should."""
    parts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutation"]
    low = False
    for part in parts.values():
        files = [file for file in part["files"] if not chosen or any(fnmatch(file, one) for one in chosen)]
        if files:
            with tempfile.TemporaryDirectory(prefix="mutation-") as place:
                folder = prepare(part, files, Path(place))
                subprocess.run([sys.executable, "-m", "mutmut", "run", "--max-children", "2"], cwd=folder, check=False)
                said = subprocess.run(
                    [sys.executable, "-m", "mutmut", "results", "--all", "true"],
                    cwd=folder, check=True, capture_output=True, text=True,
                ).stdout  # fmt: skip
            low |= report(said, part, files)
    return 1 if low else 0


def prepare(part: Mapping[str, Any], files: Iterable[str], place: Path) -> Path:
    """Copy the checkout, and return the folder that mutmut runs in."""
    said = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True, capture_output=True)
    for name in filter(None, said.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
    for source, target in part.get("copies", {}).items():
        shutil.copytree(place / source, place / target)
    folder = place / str(part["folder"])
    options = {**part["mutmut"], "only_mutate": [str((place / file).relative_to(folder)) for file in files]}
    former = folder / "pyproject.toml"
    text = former.read_text(encoding="utf-8") if former.exists() else ""
    lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
    former.write_text("\n".join([text, "[tool.mutmut]", *lines, ""]), encoding="utf-8")
    return folder


def outcomes(said: str) -> Iterator[tuple[str, str, str]]:
    """(module, mutant, outcome) of what `mutmut results` prints."""
    for line in said.splitlines():
        name, separator, outcome = line.strip().rpartition(": ")
        if separator and "__mutmut_" in name:
            module, _, mutant = name.rpartition(".")
            yield module, mutant, outcome


def report(said: str, part: Mapping[str, Any], files: Iterable[str]) -> bool:
    """Print the figures of each file and the faults that nobody noticed; whether one is below the floor."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    left: dict[str, list[str]] = defaultdict(list)
    for module, mutant, outcome in outcomes(said):
        counts[module][outcome] += 1
        if outcome not in NOTICED:
            left[module].append(f"{mutant}: {outcome}")
    low = False
    for file in files:
        module = str(Path(file).relative_to(part["folder"]).with_suffix("")).replace("/", ".")
        found = counts[module]
        noticed = sum(found[outcome] for outcome in NOTICED)
        percent = 100 * noticed / found.total() if found.total() else 0.0
        low |= percent < FLOOR
        print(f"{file}: {noticed} of {found.total()} noticed, {percent:.0f} %")
        for one in left[module]:
            print(f"    {one}")
    return low


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
