"""lint and unit by default; smoke, drill and bench need a live stack (inv deploy), mutation takes long: asked for by name.

Every session runs in `.nox/environment`, which holds exactly the lock files: nox itself is all that has to be installed.
"""

from __future__ import annotations

import functools
import hashlib
import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "unit"]

ROOT = Path(__file__).parent
LOCKS = ("requirements.txt", "requirements-dev.txt")
SHELL = [
    str(path.relative_to(ROOT))
    for folder in ("scripts", "compose", "config", ".ci")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file()
    and "node_modules" not in path.parts
    and path.read_bytes()[:64].startswith((b"#!/usr/bin/env bash", b"#!/bin/bash", b"#!/bin/sh"))
]


@nox.session(default=False)
def environment(session: nox.Session) -> None:
    """Install the lock files, where they have changed. The other sessions ask for this one."""
    done = Path(session.bin).parent / "locked.sha256"
    wanted = "".join(f"{hashlib.sha256((ROOT / name).read_bytes()).hexdigest()}  {name}\n" for name in LOCKS)
    if done.is_file() and done.read_text() == wanted:
        return
    session.install("--require-hashes", *(f"--requirement={name}" for name in LOCKS))
    done.write_text(wanted)


# One environment for all of them: to install the lock files takes pip the better part of a minute, and nox cannot share an
# environment by itself (wntrblm/nox#167).
in_environment = functools.partial(nox.session, venv_backend="none", requires=["environment"])


def run(session: nox.Session, program: str, *arguments: str, **options: Any) -> None:
    """Run a program of the environment. Whatever that program starts finds the others beside it first."""
    folder = session.cache_dir.parent / "environment"
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    session.run(str(folder / "bin" / program), *arguments, env={"PATH": path, "VIRTUAL_ENV": str(folder)}, **options)


@in_environment()
def lint(session: nox.Session) -> None:
    """Code, compose file, configuration and our own policies, each by the program or the version that is deployed."""
    run(session, "ruff", "check", ".")
    run(session, "ruff", "format", "--check", ".")
    run(session, "mypy")
    run(session, "yamllint", "--strict", "compose", "config", ".yamllint")
    run(session, "shellcheck", "--external-sources", *SHELL)
    run(session, "hadolint", *map(str, sorted((ROOT / "compose").glob("*/Containerfile"))))
    run(session, "pytest", "--quiet", "tests/lint", *session.posargs)
    # Drills are run by hand: that each of them can begin at all is seen here.
    run(session, "pytest", "--collect-only", "--quiet", "--quiet", "tests/drill", "tests/cluster", silent=True)


@in_environment()
def unit(session: nox.Session) -> None:
    """Plans as facts in, steps out; nothing here can reach a host."""
    run(session, "pytest", "tests/unit", *session.posargs)
    run(session, "pytest", "--quiet", "compose/backup/tests")


@in_environment(default=False)
def mutation(session: nox.Session) -> None:
    """Puts faults into what changes the host, one at a time: which do the tests notice? `-- FILE`, `--most=N`."""
    run(session, "python", "-m", "tests.mutation", *session.posargs)


@in_environment(default=False)
def smoke(session: nox.Session) -> None:
    """Every service of the live stack does what its users need. Leaves nothing behind."""
    run(session, "pytest", "tests/smoke", *session.posargs)


@in_environment(default=False)
def drill(session: nox.Session) -> None:
    """Breaks the live stack on purpose, and proves that it mends itself. Not for a production project.

    Nothing or options of pytest: all of it. `-- keycloak`: one part, by its folder; `-- tests/drill/test_kill.py`: one file.
    """
    first, *more = session.posargs or [""]
    found = [path for path in (f"tests/drill/{first}", first) if first and (ROOT / path.partition("::")[0]).exists()]
    chosen = [found[0], *more] if found else ["tests/drill", *session.posargs]
    signal.signal(signal.SIGTERM, _interrupt)
    # What a drill has put up, it removes in minutes: it is told to end, and waited for.
    run(session, "pytest", *chosen, terminate_timeout=None)


@in_environment(default=False, name="kubernetes-api")
def kubernetes_api(session: nox.Session) -> None:
    """Kubernetes' control plane as processes of this host, with simulated nodes: rights, admission, applied objects."""
    run(session, "pytest", "tests/cluster/api", *session.posargs)


@in_environment(default=False)
def cluster(session: nox.Session) -> None:
    """A Kubernetes cluster of three nodes in containers, some of which fail. Needs root. Removes it again."""
    signal.signal(signal.SIGTERM, _interrupt)
    run(session, "pytest", "tests/cluster/live", *session.posargs, terminate_timeout=None)


@in_environment(default=False, name="postgresql-cluster")
def postgresql_cluster(session: nox.Session) -> None:
    """A PostgreSQL cluster loses its members under clients that count; needs Podman and the image of PostgreSQL (inv build)."""
    run(session, "pytest", "--capture=no", "tests/cluster/patroni_test.py", *session.posargs, terminate_timeout=None)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """SIGTERM is Ctrl-C, once: when it comes again, nox waits already."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


@in_environment(default=False)
def audit(session: nox.Session) -> None:
    """Security audit of the live stack; `-- --report FILE` writes a page for an auditor."""
    run(session, "inv", "audit", "--no-advisories", *session.posargs)


@in_environment(default=False)
def coverage(session: nox.Session) -> None:
    """Monitoring of the live stack; fails below 100 % and names what is not covered."""
    run(session, "inv", "coverage", "--check", *session.posargs)


@in_environment(default=False)
def bench(session: nox.Session) -> None:
    """Measures what the documentation promises: a table, and bench.json."""
    run(session, "python", "-m", "tests.bench", *session.posargs)


@in_environment(default=False)
def docs(session: nox.Session) -> None:
    """Writes docs/reference/ and the dashboards anew from the code."""
    run(session, "python", "-m", "ops.reference")
    run(session, "python", "-m", "ops.monitoring.dashboards")
