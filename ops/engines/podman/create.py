"""How containers of a release are created: by podman-compose, from an excerpt of the release's file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ops.core import files
from ops.core.state import State
from ops.engines.podman import argv as podman
from ops.stack.render import by_oom_score


def create_calls(state: State, project: str, key: str, part: Mapping[str, Any]) -> list[podman.Argv]:
    """Write the excerpt, one file for each oom_score_adj in it, and return the commands that create its containers.

    Parameters
    ----------
    key: of the step, after which the files are named.
    """
    calls = []
    for score, some in by_oom_score(part):
        file = state.builds / f"{key.replace(' ', '-')}{'' if score is None else f'-oom-{score}'}.yaml"
        files.write(file, json.dumps(some, indent=1))
        calls.append(podman.compose_create(file, project, (), score))
    return calls
