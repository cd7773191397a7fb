"""The dashboards as the operator's own pages read them: compose/nginx/www/ops/dashboards/dashboards.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ops.monitoring.dashboards.model import DEPLOYS, Dashboard


def render(boards: Sequence[Dashboard]) -> str:
    """One JSON document; what has no value is left out."""
    document = {"deploys": DEPLOYS, "dashboards": [_lean(asdict(board)) for board in boards]}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _lean(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _lean(value) for key, value in node.items() if value not in (None, "", (), False)}
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [_lean(one) for one in node]
    return node
