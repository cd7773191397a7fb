"""A command of the checkout, run for the supervisor: what needs more than the standard library is done by that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ops.core.errors import LockHeld, OpsError
from ops.core.process import run

COMMAND = "command.json"
"""In the supervisor's folder: Python and checkout of the last command that changed something."""


def run_command(state: Path, words: tuple[str, ...], timeout: float) -> None:
    """Run a command of the checkout that worked on this project last. Raises LockHeld where another one is under way, OpsError
    with its last words where it fails."""
    command = read(state / "ticker" / COMMAND)
    if "repository" not in command:
        raise OpsError(f"inv {words[0]} cannot be run", f"there is no {COMMAND} in {state / 'ticker'}", "inv deploy writes it")
    repository = str(command["repository"])
    argv = (str(command["python"]), "-P", "-m", "invoke", "--search-root", repository, *words)
    env = {"PYTHONPATH": repository, "CC03_PROJECT": state.name, "CC03_STATE": str(state.parent)}
    answer = run(argv, timeout=timeout, ok=None, env=env)
    if answer.returncode == LockHeld.exit_code:
        raise LockHeld("another operation is under way", answer.last_words(), "wait")
    if answer.returncode:
        raise OpsError(f"inv {words[0]} failed", answer.last_words(), f"inv {' '.join(words)}")


def read(path: Path) -> dict[str, Any]:
    """The content of a JSON file; empty where there is none that can be read."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
