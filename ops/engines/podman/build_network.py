"""The network of build steps: apart from the host's, wherever package mirrors can be reached from there."""

from __future__ import annotations

import threading

from ops.core import files
from ops.core.errors import OpsError
from ops.core.state import State
from ops.engines.podman import argv as podman
from ops.engines.podman.host import Host

PROBE_SECONDS = 60.0
KEPT = "network.json"
"""Below `builds/`: why the last builds ran in the host's network; empty where they did not."""
_guard = threading.Lock()
_chosen: dict[str, str] = {}


def network_for_builds(host: Host, image: str) -> str:
    """The network that build steps run in, probed once by each command.

    Parameters
    ----------
    image: a Debian image that is on this host; its package mirror is what is asked for. Empty where a build has none.
    """
    with _guard:
        if not image:
            return _chosen.get(host.project, podman.BUILD_NETWORK)
        if host.project not in _chosen:
            why = _unreachable(host, image)
            if host.state.builds.is_dir():  # lint builds an image for a project that this host may have nothing of
                files.write(host.state.builds / KEPT, files.dump({"fallback": why}))
            _chosen[host.project] = podman.HOST_NETWORK if why else podman.BUILD_NETWORK
        return _chosen[host.project]


def _unreachable(host: Host, image: str) -> str:
    """Why the package mirror cannot be reached from a network apart from the host's; empty where it can."""
    try:
        answer = host.run(podman.mirror_probe(image, podman.BUILD_NETWORK), timeout=PROBE_SECONDS, ok=None)
    except OpsError as problem:
        return problem.why
    return "" if answer.returncode == 0 else answer.last_words()


def fallback(state: State) -> str:
    """Why the last builds on this host ran in its own network; empty where they did not, or none ran."""
    return str((files.read_json(state.builds / KEPT) or {}).get("fallback", ""))


def warning(state: State) -> str:
    """What an operator has to know of a build in the host's network; empty where there was none."""
    if why := fallback(state):
        return f"build steps ran in the host's own network, from which the operator's pages can be read: {why}"
    return ""
