"""`python -m tests.cluster up [--nodes N]`, `load IMAGE...`, `down`: a Kubernetes cluster on this machine, for tests."""

from __future__ import annotations

import argparse
import sys

from ops.core.errors import OpsError
from tests.cluster.bed import Cluster


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="make a cluster").add_argument("--nodes", type=int, default=1, choices=(1, 2, 3))
    commands.add_parser("down", help="remove it, and restore what it changed on this machine")
    commands.add_parser("load", help="put images of this machine on every node").add_argument("image", nargs="+")
    given = parser.parse_args()
    try:
        if given.command == "down":
            Cluster.down()
        elif given.command == "load":
            Cluster.found().load(*given.image)
        else:
            made = Cluster(given.nodes)
            made.up(keep=True)
            print(f"export KUBECONFIG={made.kubeconfig}")
    except OpsError as problem:
        print(*problem.lines(), *problem.details, sep="\n", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
