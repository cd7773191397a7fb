"""Single faults put into the code one at a time, and how many of them the tests notice. `nox -s mutation`.

mutmut says what the faults are. They are put in and tried here: mutmut collects the tests anew for each fault, and leaves out
every function with a decorator (a lock that a context manager holds, a property).
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Mapping
from contextlib import redirect_stdout
from fnmatch import fnmatch
from pathlib import Path

from tests.mutation.faults import Fault
from tests.mutation.trial import ROOT, Trial, end_with_parent

NOTICED = ("killed", "timeout")
FLOOR = 85.0
"""Percent of the faults in a file that the tests have to notice."""


def main(words: list[str]) -> int:
    """Parameters: files to put faults into, all by default; `--most=N`: no more than N faults of each, chosen at random but
    always the same. 1 where the tests notice less than they should."""
    parts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutation"]
    most = next((int(word.partition("=")[2]) for word in words if word.startswith("--most=")), sys.maxsize)
    chosen = [word for word in words if not word.startswith("--")]
    low = False
    for part in parts.values():
        files = {
            file: tests for file, tests in part["files"].items() if not chosen or any(fnmatch(file, one) for one in chosen)
        }
        if files:
            sys.stdout.flush()
            number = os.fork()  # one process for each part: what its tests load and leave is gone with it
            if not number:
                end_with_parent()
                os._exit(int(one_part(files, ROOT / part["tests"], most)))
            low |= os.waitpid(number, 0)[1] != 0
    return 1 if low else 0


def one_part(files: Mapping[str, list[str]], folder: Path, most: int) -> bool:
    """Whether the tests notice less than they should in one of these files."""
    import pytest

    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # Flushes to a disk would take longer than all else.
    tempfile.tempdir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    counts: Counter[str] = Counter()
    left: list[str] = []
    out, said = sys.stdout, io.StringIO()
    low, cpu = False, 0.0

    def report(fault: Fault, outcome: str, text: str) -> None:
        counts[outcome] += 1
        if outcome not in NOTICED:
            left.append(f"    {outcome}: {fault.shown(text)}")

    def ended(file: str, total: int) -> None:
        nonlocal low
        low |= share(counts) < FLOOR
        nonlocal cpu
        before, cpu = cpu, sum(os.times()[:4])
        print(f"{figures(file, counts, total)}, {cpu - before:.0f} s of CPU", *left, sep="\n", file=out, flush=True)
        counts.clear()
        left.clear()

    trial = Trial(files, most, report, ended)
    tests = sorted({str(folder / test) for tests in files.values() for test in tests})
    with redirect_stdout(said):
        # Why a test fails is of no interest, and takes longer to find out than the test takes.
        options = ["-q", "-p", "no:cacheprovider", "--assert=plain", "--tb=no", f"--rootdir={ROOT}"]
        code = pytest.main([*options, *tests], plugins=[trial])
    if trial.reached is None or code == pytest.ExitCode.INTERNAL_ERROR:
        print(said.getvalue(), file=out, flush=True)
    elif trial.reached.failed:
        print("left out, since they fail without a fault:", *trial.reached.failed.values(), file=out, flush=True)
    return low or trial.reached is None or code == pytest.ExitCode.INTERNAL_ERROR


def share(counts: Counter[str]) -> float:
    return 100 * sum(counts[outcome] for outcome in NOTICED) / counts.total() if counts else 0.0


def figures(file: str, counts: Counter[str], total: int) -> str:
    sample = f" (a sample of {total})" if counts.total() < total else ""
    late = f", {counts['timeout']} of them by their time" if counts["timeout"] else ""
    noticed = sum(counts[outcome] for outcome in NOTICED)
    return f"{file}: {noticed} of {counts.total()}{sample} noticed{late}, {share(counts):.0f} %"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
