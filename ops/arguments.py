"""The command line where Invoke 2 or 3 falls short: words that may be left out, and mistakes told as any other failure is."""

from __future__ import annotations

import re
from typing import Any, NoReturn

from invoke import Exit, ParseError, Task
from invoke.parser import Argument, ParserContext
from invoke.parser.parser import ParseMachine

from ops.errors import UsageProblem, did_you_mean


class OptionalPositional(Argument):
    """Counts as missing while words are read, so that the next one fills it; and as empty once the command line ends."""


_complete_context = ParseMachine.complete_context


def _complete(machine: ParseMachine) -> None:
    for argument in machine.context.positional_args if machine.context else ():
        if isinstance(argument, OptionalPositional) and argument.value is None:
            argument.value = ""
    _complete_context(machine)


class Misread(ParseError, Exit):
    """A command line that cannot be meant. Invoke prints a ParseError, and takes the exit code from an Exit."""

    def __init__(self, problem: UsageProblem, context: ParserContext | None) -> None:
        Exit.__init__(self, code=problem.exit_code)
        self.args, self.context = ("\n".join(problem.lines()),), context


def _refuse(machine: ParseMachine, message: str) -> NoReturn:
    raise Misread(_problem(machine, message), machine.context)


def _problem(machine: ParseMachine, message: str) -> UsageProblem:
    """What Invoke's message says, in the operator's terms."""
    context = machine.context
    name = context.name if context else None
    command = f"inv {name}" if name else "inv"
    to_read = f"inv --help {name}" if name else "inv --help"
    unknown = re.fullmatch(r"No idea what '(.*)' is!", message)
    if unknown and unknown[1].startswith("-"):
        known = [flag for flag in (context.flag_names() if context else ()) if flag.startswith("--")]
        why = did_you_mean(unknown[1], known) if known else "it has none"
        return UsageProblem(f"{command} has no option {unknown[1]}", why, to_read)
    if unknown:
        why = did_you_mean(unknown[1], machine.contexts)
        return UsageProblem(f'there is no command "{unknown[1]}"', why, to_read if name else "inv --list")
    if context and (missing := context.missing_positional_args):
        words = " and ".join(str(argument.name).upper() for argument in missing)
        return UsageProblem(f"{command} needs {words}", "it was not given", to_read)
    if machine.flag and machine.flag.takes_value and machine.flag.raw_value is None:
        return UsageProblem(f"{command}: --{machine.flag.name} needs a value", "none was given", to_read)
    return UsageProblem(f"{command} cannot be understood", message, to_read)


# The commands are loaded by a program that Invoke itself has made, so nothing can be handed to its parser; and it asks one
# and the same property whether to read a word as a positional and whether one is missing at the end. Both are put right
# where the parser does them. tests/unit/test_arguments.py shows when a later version changes that.
ParseMachine.complete_context = _complete  # type: ignore[assignment, method-assign]
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
