"""A second checkout of the same project, edited as a product team would edit it, and load from a process of its own."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.core.machine import REPOSITORY
from ops.core.process import Result, alongside, run
from ops.deploy.measure import Sample, parse, summarise
from ops.deploy.measurement import prober_config
from tests.drill.stack import Drill, inv

LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".nox", "node_modules", "__pycache__", ".*_cache")
RATE = 200
LONGEST = 1800.0
SETTLED_SECONDS = 2.0


@dataclass(frozen=True)
class Clone:
    """A copy of this checkout. A second clone drives the same stack."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> Clone:
        shutil.copytree(REPOSITORY, root, ignore=LEFT_OUT)
        return cls(root)

    def edit(self, path: str, old: str, new: str) -> None:
        """Replace one text in one file, where it stands exactly once."""
        target = self.root / path
        text = target.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {path}"
        target.write_text(text.replace(old, new), encoding="utf-8")

    def put(self, path: str, text: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    def version(self, name: str) -> None:
        """Make this another version of the backend: its image gets another tag."""
        self.put("compose/backend/app/variant.py", f'"""Variant {name}."""\n')

    def lift_login_limits(self, rate: int, at_once: int) -> None:
        """Let one address log in `rate` times a second, and have `at_once` logins under way. The zones keep their keys, since a
        running nginx refuses another."""
        self.edit("config/nginx/limits.conf", "zone=login:4m rate=5r/s;", f"zone=login:4m rate={rate}r/s;")
        limits = "limit_req  zone=login burst=20  nodelay;\n            limit_conn forms 5;"
        lifted = f"limit_req  zone=login burst={at_once}  nodelay;\n            limit_conn forms {at_once};"
        self.edit("config/nginx/public.conf", limits, lifted)
        self.edit("config/nginx/public.conf", "limit_conn tokens 12;", f"limit_conn tokens {at_once};")

    def inv(self, *arguments: str, env: Mapping[str, str] | None = None) -> Result:
        return inv(*arguments, root=self.root, env=env)

    def deploy(self, *arguments: str) -> Result:
        answer = self.inv("deploy", "--yes", *arguments)
        assert answer.returncode == 0, f"exit code {answer.returncode}\n{answer.stdout[-2000:]}\n{answer.stderr}"
        return answer


class Load:
    """What users met while something was done."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.began = time.time()

    @property
    def samples(self) -> tuple[Sample, ...]:
        return parse(self.out.read_text(encoding="utf-8"))

    def summary(self) -> dict[str, Any]:
        return summarise(self.samples, self.began, time.time())

    def failures(self) -> list[str]:
        return [f"{s.kind} at {s.at:.2f}: {s.failed}" for s in self.samples if s.failed]


@contextmanager
def load(stack: Drill, tmp_path: Path, rate: int = RATE) -> Iterator[Load]:
    """Users at work, from a process of their own: reads and writes over kept-alive connections, a WebSocket, a slow download.

    rate: requests a second, sent when they are due, whatever became of earlier ones.
    """
    project = stack.project
    content = prober_config(project.settings, project.ports, project.state, LONGEST)
    out = tmp_path / "load.jsonl"
    config = tmp_path / "load.json"
    config.write_text(json.dumps({**content, "rate": rate, "out": str(out)}))
    argv = (sys.executable, "-P", "-m", "ops.deploy.prober", str(config))
    with alongside(argv, log=tmp_path / "load.log", env={"PYTHONPATH": str(REPOSITORY)}):
        time.sleep(SETTLED_SECONDS)
        users = Load(out)
        yield users
        time.sleep(SETTLED_SECONDS)


def executed_twice(stack: Drill) -> int:
    """Writes that the database has seen more than once. A retry that came after the first had been carried out counts too."""
    host = stack.project.host
    sql = "SELECT count(*) FROM probe_requests WHERE attempts > 1"
    argv = ("podman", "exec", f"{host.project}-postgres", "psql", "-X", "-A", "-t", "-d", "app", "-c", sql)
    return int(run(argv, timeout=30, env=host.environment).stdout)


def releases(clone: Clone) -> list[dict[str, Any]]:
    """What `inv releases --json` says, newest first."""
    answer = clone.inv("releases", "--json")
    assert answer.returncode == 0, answer.stderr
    return list(json.loads(answer.stdout))
