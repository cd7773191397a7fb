"""A client of monitoring whose servers answer what the real ones have answered (answers.json)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import requests
from requests.adapters import BaseAdapter

from ops.monitoring.api import Monitoring

BASE = "https://localhost:9443"
ANSWERS: Mapping[str, tuple[int, Any]] = json.loads(Path(__file__).with_name("answers.json").read_text(encoding="utf-8"))


class Recorded(BaseAdapter):
    """Answers requests from a function, and keeps what was asked."""

    def __init__(self, answer: Callable[[requests.PreparedRequest], tuple[int, Any]]) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[requests.PreparedRequest] = []

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        assert options["timeout"] == (3.0, 30.0), "every request has a deadline"
        self.asked.append(request)
        status, body = self.answer(request)
        found = requests.Response()
        found.status_code, found.request, found.url = status, request, str(request.url)
        found._content = (body if isinstance(body, str) else json.dumps(body)).encode()
        return found

    def close(self) -> None:
        pass


def monitoring(*names: str) -> tuple[Monitoring, Recorded]:
    """A client that gets these recorded answers, one after the other."""
    left = iter(names)
    adapter = Recorded(lambda _: ANSWERS[next(left)])
    client = Monitoring(BASE, Path("/ca.pem"))
    client.session.mount("https://", adapter)
    return client, adapter
