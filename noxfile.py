"""lint and unit by default; smoke, drill and bench need a live stack (inv deploy), mutation takes long: asked for by name."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "unit"]

# The programs of this very environment, wherever nox was called from.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
ROOT = Path(__file__).parent
SHELL = [
    str(path.relative_to(ROOT))
    for folder in ("scripts", "compose", "config", ".ci")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file()
    and "node_modules" not in path.parts
    and path.read_bytes()[:64].startswith((b"#!/usr/bin/env bash", b"#!/bin/bash", b"#!/bin/sh"))
]


@nox.session
def lint(session: nox.Session) -> None:
    """Code, compose file, configuration and our own policies, each by the program or the version that is deployed."""
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("yamllint", "--strict", "compose", "config", ".yamllint")
    session.run("shellcheck", "--external-sources", *SHELL)
    session.run("hadolint", *map(str, sorted((ROOT / "compose").glob("*/Containerfile"))))
    session.run("pytest", "--quiet", "tests/lint", *session.posargs)
    # Drills are run by hand: that each of them can begin at all is seen here.
    session.run("pytest", "--collect-only", "--quiet", "--quiet", "tests/drill", silent=True)


@nox.session
def unit(session: nox.Session) -> None:
    """Plans as facts in, steps out; nothing here can reach a host."""
    session.run("pytest", "tests/unit", *session.posargs)
    session.run("pytest", "--quiet", "compose/backup/tests")


@nox.session(default=False)
def mutation(session: nox.Session) -> None:
    """Puts faults into what changes the host, one at a time: which do the tests notice? `-- FILE`, `--most=N`."""
    session.run("python", "-m", "tests.mutation", *session.posargs)


@nox.session(default=False)
def smoke(session: nox.Session) -> None:
    """Every service of the live stack does what its users need. Leaves nothing behind."""
    session.run("pytest", "tests/smoke", *session.posargs)


@nox.session(default=False)
def drill(session: nox.Session) -> None:
    """Breaks the live stack on purpose, and proves that it mends itself. Not for a production project.

    Nothing or options of pytest: all of it. `-- keycloak`: one part, by its folder; `-- tests/drill/test_kill.py`: one file.
    """
    first, *more = session.posargs or [""]
    found = [path for path in (f"tests/drill/{first}", first) if first and (ROOT / path.partition("::")[0]).exists()]
    chosen = [found[0], *more] if found else ["tests/drill", *session.posargs]
    signal.signal(signal.SIGTERM, _interrupt)
    # What a drill has put up, it removes in minutes: it is told to end, and waited for.
    session.run("pytest", *chosen, terminate_timeout=None)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM is Ctrl-C, once: when it comes again, nox waits already."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


@nox.session(default=False)
def audit(session: nox.Session) -> None:
    """Does anything get in? Every control of the live stack; `-- --report FILE` writes a page for an auditor."""
    session.run("inv", "audit", "--no-advisories", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measures what the documentation promises: a table, and bench.json."""
    session.run("python", "-m", "tests.bench", *session.posargs)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Writes docs/reference/ anew from the code."""
    session.run("python", "-m", "ops.cli.reference", env={"CC03_PROJECT": os.environ.get("CC03_PROJECT", "cc03")})
