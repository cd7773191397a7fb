"""`inv` and `inv --list`: the commands in groups, each in one line, and nothing of Invoke that has no effect here."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping

from invoke import Program

from ops.cli.arguments import Misread
from ops.cli.command_line import drop
from ops.core.errors import UsageProblem, did_you_mean

GROUPS: Mapping[str, tuple[str, ...]] = {
    "Every day": (
        "status", "deploy", "rollback", "scale", "logs", "open", "restart", "stop", "start",
        "releases.list", "releases.show", "releases.diff",
    ),
    "When something is wrong": ("doctor", "keycloak.diagnose", "keycloak.fix", "restore", "destroy"),
    "Data": ("backup.make", "backup.list", "backup.verify", "backup.prune", "backup.key", "backup.credentials"),
    "Security": (
        "audit.walls", "audit.log", "audit.verify", "certs.show", "certs.rotate", "certs.ca", "certs.acme", "certs.import",
        "secrets.show", "secrets.rotate", "secrets.check", "secrets.encrypt", "secrets.unlock", "secrets.decrypt",
    ),
    "Users and the realm": (
        "keycloak.user", "keycloak.plan", "keycloak.apply", "keycloak.export", "keycloak.rotate", "keycloak.migrate-h2",
    ),
    "Images and this host": (
        "app.new", "app.check", "build", "images.list", "images.save", "images.load", "images.prune", "service.install",
        "service.remove",
    ),
}  # fmt: skip
OPTIONS = {
    "--help COMMAND": "what a command does, and its options; also COMMAND --help",
    "--list [GROUP]": "this list, or the commands of one group (inv --list backup)",
    "--dry COMMAND": "show the plan and do nothing; the same as --plan",
    "--print-completion-script=bash": "tab completion; also zsh, fish",
}
FORMATS = ("flat", "nested", "json")
FIRST = "A group's name alone is its main command: inv backup is inv backup.make."


def lines(summaries: Mapping[str, str]) -> Iterator[str]:
    """The page. `summaries`: name of each command -> the first line of its description."""
    width = max(map(len, summaries))
    for group, names in GROUPS.items():
        yield group
        for name in names:
            yield f"  {name:<{width}}  {summaries[name]}"
        yield ""


def summaries(program: Program) -> dict[str, str]:
    """The commands that are loaded, with their first lines."""
    commands = program.collection.task_names
    return {name: (program.collection[name].__doc__ or "").strip().partition("\n")[0] for name in commands}


_list_tasks = Program.list_tasks


def _print_help(program: Program) -> None:
    width = max(map(len, OPTIONS))
    _show(
        "Usage: inv COMMAND [OPTIONS]; what changes something shows its plan with --plan, and does nothing.", "",
        *lines(summaries(program)), FIRST, "",
        *(f"  {option:<{width}}  {meaning}" for option, meaning in OPTIONS.items()),
    )  # fmt: skip


def _list(program: Program) -> None:
    if program.list_format not in FORMATS:
        why = did_you_mean(program.list_format, FORMATS)
        raise Misread(UsageProblem(f'inv --list has no format "{program.list_format}"', why, "inv --list"), None)
    if program.list_format != "flat" or program.list_root or program.list_depth:
        _list_tasks(program)
    else:
        _show(*lines(summaries(program)), FIRST)


def _show(*text: str) -> None:
    try:
        print("\n".join(text), flush=True)
    except BrokenPipeError:
        drop(sys.stdout)


# `inv` alone lists options and no command: pyinvoke/invoke#669.
Program.print_help = _print_help  # type: ignore[assignment, method-assign]
# Commands are grouped by the first part of their names at most (pyinvoke/invoke#380 became --list-format nested).
Program.list_tasks = _list  # type: ignore[assignment, method-assign]
