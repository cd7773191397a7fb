"""A Podman that is a table, for the health ticker to ask, and the folder that the ticker works in."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ops.core.process import Result
from ops.engines.podman.supervisor import main as supervisor
from ops.engines.podman.supervisor.health import Target
from ops.engines.podman.supervisor.main import Supervisor
from ops.stack.listener import Listener

REDIS = Target("redis", "redis", "cc03-redis", "10.64.2.11", None, "/ca.pem", start_seconds=60, grace=30)
NGINX = Target("nginx-1", "nginx", "cc03-nginx-1", "10.64.2.12", None, "/ca.pem", start_seconds=5, grace=20, needs=("redis",))
LISTENER = Listener("site", "nginx", "nginx-1", "cc03-nginx-1", "10.64.2.12", 443, "tls", "nginx", "/own.pem", "/ca.pem")


def started(seconds_ago: float = 3600.0) -> dict[str, Any]:
    at = datetime.fromtimestamp(time.time() - seconds_ago, UTC).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
    return {"Status": "running", "StartedAt": at}


EXITED = {"Status": "exited", "ExitCode": 1, "StartedAt": "2026-01-31T12:00:00Z"}


@dataclass
class Podman:
    """Containers by name, which of them fail their health check, and what was asked of it."""

    containers: dict[str, dict[str, Any]] = field(default_factory=dict)
    ill: set[str] = field(default_factory=set)
    fails: set[str] = field(default_factory=set)
    """Commands that fail and do nothing."""
    asked: list[tuple[str, ...]] = field(default_factory=list)
    timeouts: dict[str, float] = field(default_factory=dict)

    def run(self, argv: tuple[str, ...], *, timeout: float, ok: Any = (0,), **_: Any) -> Result:
        program, *words = argv
        assert program == "podman" and ok is None
        self.asked.append(tuple(words))
        self.timeouts[words[0]] = timeout
        code, said = 0, ""
        if words[0] == "container":
            there = [self._item(name) for name in words[2:] if name in self.containers]
            code, said = 125 * (len(there) < len(words[2:])), json.dumps(there)
        elif words[0] == "healthcheck":
            code = int(words[2] in self.ill)
        elif words[0] in self.fails:
            return Result(argv, 125, "", "no space left", 0.0)
        elif words[0] in ("start", "restart"):
            for name in words[1:]:
                if name in self.containers:
                    self.containers[name] = started(0.0)
        return Result(argv, code, said, "", 0.0)

    def _item(self, name: str) -> dict[str, Any]:
        return {"Id": f"id-{name}", "Name": name, "ImageName": "image", "RestartCount": 2, "State": self.containers[name]}

    def did(self, *commands: str) -> list[tuple[str, ...]]:
        return [words for words in self.asked if words[0] in (commands or ("start", "restart", "stop"))]


@pytest.fixture
def podman(monkeypatch: pytest.MonkeyPatch) -> Podman:
    made = Podman({REDIS.container: started(), NGINX.container: started()})
    monkeypatch.setattr(supervisor, "run", made.run)
    return made


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "cc03"
    for name in ("ticker", "metrics"):
        (folder / name).mkdir(parents=True)
    listed(folder, REDIS, NGINX)
    return folder


def listed(state: Path, *targets: Target, version: str = "v1", **more: Any) -> None:
    content = {"version": version, "targets": [asdict(target) for target in targets], **more}
    (state / "ticker" / "supervise.json").write_text(json.dumps(content))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(Supervisor, "say", lambda self, text: lines.append(text))
    return lines


def loaded(state: Path) -> Supervisor:
    made = Supervisor(state)
    made.load()
    return made


def written(state: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((state / "ticker" / "health.json").read_text())
    return found


def metrics(state: Path) -> list[str]:
    return (state / "metrics" / "stack.prom").read_text().splitlines()
