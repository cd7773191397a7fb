"""Hooks: the operator's own programs in config/hooks/, run before and after a build, a deploy or a rollback."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core import files
from ops.core.errors import OpsError, UsageProblem, did_you_mean
from ops.core.files import log_line
from ops.core.plan import Plan
from ops.core.process import PATH, stream
from ops.images.steps import BuildImage
from ops.project import Project
from ops.releases.steps import WriteRelease

if TYPE_CHECKING:
    from ops.cli.execute import UnderWay

WHEN = ("pre", "post")
VERBS = ("build", "deploy", "rollback")
NAMES = tuple(f"{when}-{verb}" for verb in VERBS for when in WHEN)

Report = Callable[[str], None]
Note = Callable[[Mapping[str, Any]], None]


@contextmanager
def run_around(change: UnderWay) -> Iterator[None]:
    """Run the operator's hooks before a plan and, where it was executed, after it."""
    before(change.project, change.plan, change.say, change.hooks.append)
    yield
    after(change.project, change.plan, change.say, change.hooks.append)


def before(project: Project, plan: Plan, report: Report, note: Note) -> None:
    """Run every hook that goes before this plan. Raises OpsError where one refuses; nothing may have been changed yet.

    report: receives each line that a hook says. note: receives the outcome of each, for the audit log.
    """
    for verb in occasions(plan):
        run_hooks(project, "pre", verb, plan, report, note)


def after(project: Project, plan: Plan, report: Report, note: Note) -> None:
    """Run every hook that follows a plan that was carried out. What goes wrong is reported and changes nothing."""
    for verb in occasions(plan):
        try:
            run_hooks(project, "post", verb, plan, report, note)
        except OpsError as problem:
            report(f"warning: {problem.what}: {problem.why}")


def occasions(plan: Plan) -> tuple[str, ...]:
    """What a plan's hooks are named after. A deploy that has to build has those of both."""
    builds = any(isinstance(step, BuildImage) for step in plan.steps)
    return tuple(verb for verb in VERBS if verb == plan.verb or (verb == "build" and builds))


def run_hooks(
    project: Project, when: str, verb: str, plan: Plan, report: Report, note: Note = lambda outcome: None
) -> None:  # fmt: skip
    """Run the hooks of one occasion, one after the other, until one fails.

    when: `pre` or `post`. verb: `build`, `deploy` or `rollback`. plan: given to them as JSON.
    report: receives each line that a hook says. note: receives the outcome of each.
    Raises OpsError where a hook fails or takes too long, UsageProblem where the folder holds what cannot be run.
    """
    folder = project.host.repository / "config" / "hooks"
    for path in find_hooks(folder).get(f"{when}-{verb}", ()):
        _run(project, f"{when}-{verb}", path, given(project, plan), report, note)


def find_hooks(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Name of the occasion -> its programs in their order: the file itself, then those of its folder by name.

    Raises UsageProblem for a file that would be left out without a word: a mistyped name, or one that may not be executed.
    """
    found: dict[str, tuple[Path, ...]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if _is_no_hook(path):
            continue
        name = path.name.removesuffix(".d") if path.is_dir() else path.name
        if name not in NAMES or path.is_dir() != (path.name == f"{name}.d"):
            raise UsageProblem(
                f"config/hooks/{path.name} is no hook", did_you_mean(name, NAMES),
                "rename it, or end its name in .example; config/hooks/README.md",
            )  # fmt: skip
        programs = [one for one in sorted(path.iterdir()) if not _is_no_hook(one)] if path.is_dir() else [path]
        for program in programs:
            _assert_executable(program)
        found[name] = (*found.get(name, ()), *programs)
    return found


def _is_no_hook(path: Path) -> bool:
    return path.name.startswith(".") or path.name.endswith("~") or path.suffix in (".example", ".md")


def _assert_executable(path: Path) -> None:
    if not path.is_file() or not path.stat().st_mode & 0o111:
        raise UsageProblem(f"the hook {path} cannot be run", "it is not an executable file", f"chmod +x {path}")


def given(project: Project, plan: Plan) -> str:
    """What a hook reads: the plan as JSON. `release` is the number that this plan makes, else that of the present one."""
    makes = [step.number for step in plan.steps if isinstance(step, WriteRelease)]
    present = (files.read_json(project.state.current / "release.json") or {}).get("number")
    return json.dumps({
        "verb": plan.verb, "project": project.name, "release": makes[0] if makes else present,
        "steps": [{"key": step.key, "title": step.title} for step in plan.steps],
        "notes": list(plan.notes), "destroys": list(plan.destroys),
    })  # fmt: skip


def environment(project: Project, occasion: str) -> dict[str, str]:
    """The whole environment of a hook: nothing of the operator's own, which may hold credentials."""
    return {
        "PATH": os.environ.get("PATH") or PATH, "HOME": os.environ.get("HOME") or "/",
        "LANG": os.environ.get("LANG") or "C.UTF-8", "CC03_PROJECT": project.name, "CC03_HOOK": occasion,
    }  # fmt: skip


def run_program(
    project: Project, occasion: str, program: str, argv: Sequence[str], cwd: Path, *, stdin: str = "",
    report: Report = lambda line: None,
) -> tuple[int | None, str]:  # fmt: skip
    """Run a hook, and log what it prints. Returns its exit code (None where it did not end in time), and its last line.

    program: its name in the log.
    """
    said = ""

    def each(line: str) -> None:
        nonlocal said
        said = line.strip() or said
        report(line)
        log_line(project.state.logs, "hooks", line, hook=occasion, program=program)

    env, seconds = environment(project, occasion), project.settings.hooks.seconds
    return stream(argv, timeout=seconds, stdin=stdin, env=env, cwd=cwd, each=each), said


def _run(project: Project, occasion: str, path: Path, stdin: str, report: Report, note: Note) -> None:
    repository = project.host.repository
    name = str(path.relative_to(repository))
    report(f"{name}:")
    began = time.monotonic()
    try:
        code, said = run_program(project, occasion, name, (str(path),), repository, stdin=stdin, report=report)
        problem = "" if code == 0 else said or f"exit code {code}, and it printed nothing"
        outcome = "failed" if problem else "done"
        if code is None:
            problem, outcome = f"it did not end within {project.settings.hooks.seconds} s and was stopped", "timed out"
    except OpsError as refusal:
        problem, outcome = f"it cannot be run: {refusal.why}; {refusal.next_step}", "failed"
    note({"hook": occasion, "program": name, "outcome": outcome, "seconds": round(time.monotonic() - began, 1)})
    if problem:
        log_line(project.state.logs, "hooks", f"{name} {outcome}: {problem}", hook=occasion, program=name, level="error")
        verdict = "refused" if occasion.startswith("pre-") else "failed"
        raise OpsError(f"{occasion} hook {name} {verdict}", problem, f"put that right, then run the command again; {path}")
