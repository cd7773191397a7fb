"""Sessions of nox isolate: their programs come from the lock files, and never from where nox itself stands."""

from __future__ import annotations

import ast
import os
import runpy

import nox
from nox import registry

from tests.unit.builders import REPOSITORY

PATH = REPOSITORY / "noxfile.py"


def load() -> dict[str, object]:
    registry.reset()
    return runpy.run_path(str(PATH))


def test_noxfile_edits_no_variable_of_whoever_loads_it() -> None:
    before = dict(os.environ)
    load()

    assert dict(os.environ) == before


def test_every_session_needs_the_environment_of_the_lock_files() -> None:
    load()
    sessions = registry.get()
    making = sessions.pop("environment")

    assert {"lint", "unit", "smoke", "drill", "bench", "docs"} <= set(sessions)
    assert {(one.venv_backend, *one.requires) for one in sessions.values()} == {("none", "environment")}
    assert (making.venv_backend, making.requires) == (None, [])
    assert (nox.options.default_venv_backend, nox.options.reuse_venv) == ("uv|virtualenv", "yes")


def test_sessions_start_programs_by_run_alone() -> None:
    """`session.run` would take a program from wherever the PATH leads to."""
    tree = ast.parse(PATH.read_text(encoding="utf-8"))
    direct = [
        function.name for function in tree.body if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function) if isinstance(node, ast.Call) and ast.unparse(node.func) == "session.run"
    ]  # fmt: skip

    assert direct == ["run"]
