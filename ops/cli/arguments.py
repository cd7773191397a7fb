"""The command line where Invoke 2 or 3 falls short: optional positional words, --help in any place, errors in three lines.

`inv` makes its Program and Parser before it loads our commands, and takes no other class for either, so three methods of the
parser are replaced here, each beside the upstream issue that would end it.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

from invoke import Exit, ParseError, Task
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


# tests/unit/cli/test_arguments.py shows when a later version changes what these rest on.
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
