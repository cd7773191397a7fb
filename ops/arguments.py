"""`inv logs [SERVICE]`: a positional argument that may be left out, which Invoke 2 or 3 does not know by itself."""

from __future__ import annotations

from typing import Any

from invoke import Task
from invoke.parser import Argument
from invoke.parser.parser import ParseMachine


class OptionalPositional(Argument):
    """Counts as missing while words are read, so that the next one fills it; and as empty once the command line ends."""


_complete_context = ParseMachine.complete_context


def _complete(machine: ParseMachine) -> None:
    for argument in machine.context.positional_args if machine.context else ():
        if isinstance(argument, OptionalPositional) and argument.value is None:
            argument.value = ""
    _complete_context(machine)


# Invoke asks one and the same property whether to read a word as a positional and whether one is missing at the end, so
# only the end itself can tell the two apart. tests/unit/test_arguments.py shows when a later version changes that.
ParseMachine.complete_context = _complete  # type: ignore[assignment, method-assign]


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
