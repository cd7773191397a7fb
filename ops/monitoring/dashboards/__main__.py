"""Writes the dashboards for Grafana and for the operator's own pages.

python -m ops.monitoring.dashboards            writes the files
python -m ops.monitoring.dashboards --check    exit code 1 where a file is not what the description says
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ops.core.machine import REPOSITORY
from ops.monitoring.dashboards import BOARDS, grafana, pages

GRAFANA = Path("config/grafana/dashboards")
PAGES = Path("compose/nginx/www/ops/dashboards/dashboards.json")


def files() -> dict[Path, str]:
    """Path in the repository -> what should be there."""
    return {**{GRAFANA / f"{board.uid}.json": grafana.render(board) for board in BOARDS}, PAGES: pages.render(BOARDS)}


def outdated(root: Path = REPOSITORY) -> list[Path]:
    """Files that are missing, differ from the description, or belong to no dashboard."""
    wanted = files()
    stale = [path for path, text in wanted.items() if not (root / path).is_file() or (root / path).read_text() != text]
    return stale + [GRAFANA / path.name for path in (root / GRAFANA).glob("*.json") if GRAFANA / path.name not in wanted]


def main(arguments: Sequence[str]) -> int:
    stale, wanted = outdated(), files()
    if "--check" in arguments:
        for path in stale:
            print(f"{path} is not what ops/monitoring/dashboards says: nox -s docs", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        if path in wanted:
            (REPOSITORY / path).parent.mkdir(parents=True, exist_ok=True)
            (REPOSITORY / path).write_text(wanted[path], encoding="utf-8")
        else:
            (REPOSITORY / path).unlink()
        print(f"wrote {path}" if path in wanted else f"removed {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
