"""Three commands, followed from their function to the last step: how many files a reader opens, and what he finds in them.

The main lines are lists of functions in docs/explanation/architecture.md; each is followed from function to function.
Each command runs as it is, on a host that is a model, under a profiler that notes every function of ops/ that is called. A step
that the model does counts with the file that declares its kind and with those that its work refers to.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType, ModuleType
from typing import Any, cast

import pytest
from invoke import Context

from ops import execution, project
from ops.certificates import commands as certs
from ops.certificates.authority import issue_certificate
from ops.core.plan import Step
from ops.deploy.transition import change_release
from ops.execution import Execution
from ops.secrets import commands as secrets
from ops.secrets import table
from tests.unit.builders import REPOSITORY
from tests.unit.imports import path_of
from tests.unit.modelled import BACKEND, World
from tests.unit.modelled import served as served  # noqa: PLC0414  (a fixture)
from tests.unit.modelled import world as world  # noqa: PLC0414  (what that one needs)

PAGE = REPOSITORY / "docs" / "explanation" / "architecture.md"
MOST = {"deploy": 48, "certs.rotate": 35, "secrets.rotate": 52}
"""Files of ops/ that take part, as it is today; helpers included. Never more."""

BELOW = ("core", "cli", "engines", "stack")

Called = dict[tuple[str, str], None]
"""(file, function), in the order of the first call."""


@contextmanager
def followed() -> Iterator[Called]:
    """Functions that are called in the block. All of ops/ is loaded before: what an import calls is not the command's."""
    for path in (REPOSITORY / "ops").rglob("*.py"):
        if "starter" not in path.parts:  # an application of its own
            import_module(".".join(path.relative_to(REPOSITORY).with_suffix("").parts))
    found: Called = {}
    ops = f"{REPOSITORY}/ops/"

    def note(frame: FrameType, event: str, argument: Any) -> None:
        code = frame.f_code
        function = code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<")
        if event == "call" and function and code.co_filename.startswith(ops):
            found.setdefault((os.path.relpath(code.co_filename, REPOSITORY), code.co_qualname.replace(".<locals>", "")))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@pytest.fixture
def kinds(served: World, monkeypatch: pytest.MonkeyPatch) -> set[type[Step]]:
    """Kinds of the steps that the model has done."""
    found: set[type[Step]] = set()
    perform = served.perform

    def noting(step: Any, release: Any) -> None:
        found.add(type(step))
        perform(step, release)

    monkeypatch.setattr(served, "perform", noting)
    return found


def files_of(found: Called, kinds: Iterable[type[Step]] = ()) -> set[str]:
    return {file for file, _ in found} | {file for kind in kinds for file in files_of_kind(kind)}


def files_of_kind(kind: type[Step]) -> set[str]:
    """Where a kind of step is declared, where it is done, and what that refers to."""
    done: Any = kind.run
    code, names = done.__code__, done.__globals__
    referred = [getattr(names.get(name), "__module__", None) or name for name in code.co_names]
    referred += [names[name].__name__ for name in code.co_names if isinstance(names.get(name), ModuleType)]
    paths = [path_of(name) for name in referred if name.startswith("ops.")]
    files = [inspect.getsourcefile(kind) or "", code.co_filename, *(str(path) for path in paths if path)]
    return {os.path.relpath(file, REPOSITORY) for file in files if not file.endswith("__init__.py")}


def deploy(world: World) -> None:
    change_release(world.aim(BACKEND), yes=True)


def rotate_secret(world: World) -> None:
    secrets.rotate_secrets(world.project, [table.target_named("postgres-app")], "secrets.rotate", plan_only=False, yes=True)


def test_deploy_of_a_changed_backend(served: World, kinds: set[type[Step]]) -> None:
    with followed() as found:
        deploy(served)

    judge("deploy", found, kinds)


def test_rotation_of_a_secret(served: World, kinds: set[type[Step]], monkeypatch: pytest.MonkeyPatch) -> None:
    # The services of the model say nothing of how they are handed a secret.
    monkeypatch.setattr(table, "must_be_rotatable", lambda *_: None)
    with followed() as found:
        rotate_secret(served)

    judge("secrets.rotate", found, kinds)


def test_rotation_of_a_certificate(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it is real but the engine, which says that no container runs: none loads the new one, and none is asked for it."""
    here = cast(Any, served.project)
    here.stack = served.project.deployed.stack
    here.engine.containers = dict
    for name in ("nginx", "postgres"):
        issue_certificate(served.state, "cc03", name, os.getuid(), (name, "localhost", "127.0.0.1"))
    monkeypatch.setattr(execution, "Execution", Execution)
    monkeypatch.setattr(project, "open_project", lambda **_: here)
    monkeypatch.setattr(project, "must_exist", lambda _: here)
    with followed() as found:
        certs.rotate(Context(), names="nginx", yes=True)

    judge("certs.rotate", found)


def judge(command: str, found: Called, kinds: Iterable[type[Step]] = ()) -> None:
    files = files_of(found, kinds)
    beside = sorted(file for file in files if file.split("/")[1] not in BELOW)
    print(f"{command}: {len(files)} files, {len(beside)} of them beside {', '.join(BELOW)}", *sorted(files), sep="\n  ")

    assert len(files) <= MOST[command]
    steps = {name.removesuffix(".run") for _, name in LISTS[command] if name.endswith(".run")}
    assert {kind.__name__ for kind in kinds} <= steps, "kinds of steps that the page does not name"


MAIN_LINE = {"deploy": 18, "certs.rotate": 10, "secrets.rotate": 14}
"""Files of a command's main line, at most."""
LISTS = {
    command: re.findall(r"^(ops/[\w/]+\.py): ([\w.]+)$", listed, re.MULTILINE)
    for command, listed in re.findall(
        r"^`inv ([\w.]+).*?```\n(.*?)```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
}
"""Command -> (file, function) in the order of the page."""


def function_in(file: str, name: str) -> ast.AST:
    """Raises StopIteration where the file has no such function."""
    node: Any = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
    for part in name.split("."):
        node = next(one for one in node.body if getattr(one, "name", None) == part)
    return cast(ast.AST, node)


def referred_in(node: ast.AST) -> set[str]:
    names = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
    return names | {one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)}


@pytest.mark.parametrize("command", MAIN_LINE)
def test_main_line_is_followed_from_function_to_function(command: str) -> None:
    """Each is called or referred to by one above it: a method by its name, `run` of a step by that of its class."""
    (file, name), *others = LISTS[command]
    known = referred_in(function_in(file, name))
    missed = []
    for file, name in others:
        owner, _, method = name.rpartition(".")
        if (owner if method == "run" else method) not in known:
            missed.append(f"{file}: {name}")
        known |= referred_in(function_in(file, name))

    assert missed == []
    assert len({file for file, _ in LISTS[command]}) <= MAIN_LINE[command]
