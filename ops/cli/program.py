"""`inv` itself, where Invoke 2 or 3 falls short: optional positional words, --help in any place, errors in three lines, and the
list of commands in groups.

`inv` makes its Program and Parser before it loads our commands, and takes no other class for either, so three methods of the
parser and three of the program are replaced here, each beside the upstream issue that would end it.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from io import UnsupportedOperation
from typing import Any, NoReturn, TextIO

from invoke import Exit, ParseError, Program, Task
from invoke.parser import Argument, ParserContext
from invoke.parser.parser import ParseMachine

from ops.core.errors import UsageProblem, did_you_mean


class OptionalPositional(Argument):
    """Counts as missing while words are read, so that the next one fills it; and as empty once the command line ends."""


HELP = ("--help", "-h")
_complete_context = ParseMachine.complete_context
_handle_word = ParseMachine.handle


def _complete(machine: ParseMachine) -> None:
    """End a command: an optional positional that was left out is empty, and `--help` needs none of them.

    Invoke asks one property both whether to read a word as a positional and whether one is missing at the end."""
    helped = _help_flag(machine).raw_value is not None
    for argument in machine.context.positional_args if machine.context else ():
        if argument.value is None and (helped or isinstance(argument, OptionalPositional)):
            argument.value = ""
    _complete_context(machine)


def _help_flag(machine: ParseMachine) -> Argument:
    found: Argument = machine.initial.flags.get(HELP[0], Argument("help", optional=True))
    return found


def _handle(machine: ParseMachine, word: str) -> None:
    """Read one word. `--help` asks for help wherever it stands, and no other word that begins with a dash is a positional.

    Invoke gives such a word to the first positional that is still missing. It also lets the ValueError of a number that is
    none pass as a traceback."""
    context = machine.context
    if context is not None and context.name is not None and _is_option(word) and machine.current_state != "unknown":
        if word in HELP and word not in context.flags:
            machine.flag = None
            _help_flag(machine).value = context.name
            return
        if context.missing_positional_args and not _known(machine, word):
            _refuse(machine, f"No idea what {word!r} is!")
        if context.missing_positional_args and word in machine.initial.flags and not machine.waiting_for_flag_value:
            machine.switch_to_flag(word)
            return
    try:
        _handle_word(machine, word)
    except ValueError:
        name = machine.flag.name if machine.flag else "value"
        raise Misread(UsageProblem(
            f"{_command(machine)}: --{name} takes a whole number", f'"{word}" is not one', _to_read(machine)
        ), context) from None  # fmt: skip


def _is_option(word: str) -> bool:
    return word.startswith("-") and word != "-"


def _known(machine: ParseMachine, word: str) -> bool:
    """Whether a word that begins with a dash is an option, or the value of the option before it."""
    context = machine.context
    own = word in context.flags or word in context.inverse_flags
    return own or word in machine.initial.flags or machine.waiting_for_flag_value


class Misread(ParseError, Exit):
    """A command line that cannot be meant. Invoke prints a ParseError, and takes the exit code from an Exit."""

    def __init__(self, problem: UsageProblem, context: ParserContext | None) -> None:
        Exit.__init__(self, code=problem.exit_code)
        self.args, self.context = ("\n".join(problem.lines()),), context


def _refuse(machine: ParseMachine, message: str) -> NoReturn:
    raise Misread(_problem(machine, message), machine.context)


def _command(machine: ParseMachine) -> str:
    return f"inv {machine.context.name}" if machine.context and machine.context.name else "inv"


def _to_read(machine: ParseMachine) -> str:
    return f"inv --help {machine.context.name}" if machine.context and machine.context.name else "inv --help"


def _problem(machine: ParseMachine, message: str) -> UsageProblem:
    """What Invoke's message says, in the operator's terms."""
    context = machine.context
    command, to_read = _command(machine), _to_read(machine)
    unknown = re.fullmatch(r"No idea what '(.*)' is!", message)
    if unknown and unknown[1].startswith("-"):
        known = [flag for flag in (context.flag_names() if context else ()) if flag.startswith("--")]
        why = did_you_mean(unknown[1], known) if known else "it has none"
        return UsageProblem(f"{command} has no option {unknown[1]}", why, to_read)
    if unknown:
        if context and "--service" in context.flags and context.flags["--service"].value is None:
            why = f"the one service that is meant is given as --service {unknown[1]}"
            return UsageProblem(f'{command} takes no word "{unknown[1]}"', why, f"{command} --service {unknown[1]}")
        why = did_you_mean(unknown[1], machine.contexts)
        return UsageProblem(f'there is no command "{unknown[1]}"', why, to_read if context and context.name else "inv --list")
    if context and (missing := context.missing_positional_args):
        words = " and ".join(str(argument.name).upper() for argument in missing)
        return UsageProblem(f"{command} needs {words}", "it was not given", to_read)
    if machine.flag and machine.flag.takes_value and machine.flag.raw_value is None:
        return UsageProblem(f"{command}: --{machine.flag.name} needs a value", "none was given", to_read)
    return UsageProblem(f"{command} cannot be understood", message, to_read)


# tests/unit/cli/test_program.py shows when a later version changes what these rest on.
# Positional arguments cannot be optional: pyinvoke/invoke#159.
ParseMachine.complete_context = _complete  # type: ignore[assignment, method-assign]
# Positional arguments swallow --help (pyinvoke/invoke#982), --dry and the other options of inv (pyinvoke/invoke#1084).
ParseMachine.handle = _handle  # type: ignore[assignment, method-assign]
# "No idea what 'x' is!" suggests nothing: pyinvoke/invoke#1021.
ParseMachine.error = _refuse  # type: ignore[assignment, method-assign]


class VerbTask(Task[Any]):
    """A task whose positional arguments with an empty default may be left out."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        return [self._as_optional(argument) for argument in super().get_arguments(ignore_unknown_help)]

    @staticmethod
    def _as_optional(argument: Argument) -> Argument:
        if not argument.positional or argument.default != "":
            return argument
        return OptionalPositional(
            names=argument.names, kind=str, default=None, help=argument.help, positional=True, attr_name=argument.attr_name
        )


def drop(stream: TextIO) -> None:
    """Send what is still written to a stream nowhere: Python flushes it once more when it ends."""
    with suppress(UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


GROUPS: Mapping[str, tuple[str, ...]] = {
    "Every day": (
        "status", "slo", "coverage", "report", "deploy", "rollback", "scale", "logs", "trace", "open", "restart", "stop",
        "start", "releases.list", "releases.show", "releases.diff",
    ),
    "When something is wrong": (
        "alerts.show", "alerts.silence", "alerts.test", "alerts.credentials", "doctor", "keycloak.diagnose", "keycloak.fix",
        "restore", "destroy",
    ),
    "Data": ("backup.make", "backup.list", "backup.verify", "backup.prune", "backup.key", "backup.credentials"),
    "Security": (
        "audit.walls", "audit.log", "audit.verify", "certs.show", "certs.rotate", "certs.ca", "certs.acme", "certs.import",
        "secrets.show", "secrets.rotate", "secrets.check", "secrets.encrypt", "secrets.unlock", "secrets.decrypt",
    ),
    "Users and the realm": (
        "keycloak.user", "keycloak.plan", "keycloak.apply", "keycloak.export", "keycloak.rotate", "keycloak.migrate-h2",
    ),
    "Images and this host": (
        "app.new", "app.check", "build", "images.list", "images.save", "images.load", "images.push", "images.prune",
        "service.install", "service.remove",
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


_list_tasks, _task_help = Program.list_tasks, Program.print_task_help


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
        _quietly(lambda: _list_tasks(program))
    else:
        _show(*lines(summaries(program)), FIRST)


def _show(*text: str) -> None:
    _quietly(lambda: print("\n".join(text)))


def _quietly(show: Callable[[], None]) -> None:
    """Print something whose reader may go away, such as `head`."""
    try:
        show()
        sys.stdout.flush()
    except BrokenPipeError:
        drop(sys.stdout)


def _print_task_help(program: Program, name: str) -> None:
    _quietly(lambda: _task_help(program, name))


# `inv` alone lists options and no command: pyinvoke/invoke#669.
Program.print_help = _print_help  # type: ignore[assignment, method-assign]
# A reader that goes away, such as `head`, is a traceback.
Program.print_task_help = _print_task_help  # type: ignore[assignment, method-assign]
# Commands are grouped by the first part of their names at most (pyinvoke/invoke#380 became --list-format nested).
Program.list_tasks = _list  # type: ignore[assignment, method-assign]
