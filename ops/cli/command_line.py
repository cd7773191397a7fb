"""What one command is asked besides its own options: --dry, and a reader of its output that has gone."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import UnsupportedOperation
from typing import Any, TextIO

from invoke import Context

from ops.core.errors import UsageProblem

WITHOUT_EFFECT = {
    ("run", "echo"): "--echo", ("run", "hide"): "--hide", ("run", "pty"): "--pty", ("run", "warn"): "--warn-only",
    ("timeouts", "command"): "--command-timeout", ("sudo", "password"): "--prompt-for-sudo-password",
}  # fmt: skip
"""Where Invoke keeps its options for the shell commands of a task -> option: no command here runs any through it."""


def options_for(
    function: Callable[..., None], context: Context, changes: bool | str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The options that a command runs with: `--dry` is `--plan` where the command has one.

    Parameters
    ----------
    changes: whether the command changes anything; the name of an option: whether that was given.

    Raises UsageProblem for `--dry` of a change that has no plan, and for an option of Invoke that has no effect here.
    """
    given: Mapping[str, Mapping[str, Any]] = context.config._overrides  # all else mixes in what a configuration file says
    for (section, name), option in WITHOUT_EFFECT.items():
        if name in given.get(section, {}):
            raise UsageProblem(
                f"inv has no option {option}",
                "Invoke has it for tasks that run shell commands; these commands run none through it", "inv --help",
            )  # fmt: skip
    if not context.config.run.dry or not (changes if isinstance(changes, bool) else options.get(changes)):
        return dict(options)
    if "plan" in inspect.signature(function).parameters:
        return {**options, "plan": True}
    raise UsageProblem(
        "--dry cannot show what this command would do", "it has no plan, so nothing was done", "inv --list names the others"
    )


def whole_number(word: object, name: str) -> int:
    """A positional word as a number. Raises UsageProblem where it is none.

    Parameters
    ----------
    name: of the option, as `inv --help` shows it.
    """
    try:
        return int(str(word))
    except ValueError:
        raise UsageProblem(f'{name} is "{word}"', "it must be a whole number", "inv releases lists the numbers") from None


class Unread:
    """An output stream whose reader may go away: what nobody reads is dropped, and the command that writes it goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            drop(self._stream)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            drop(self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def drop(stream: TextIO) -> None:
    """Send what is still written to a stream nowhere: Python flushes it once more when it ends."""
    with suppress(UnsupportedOperation):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def unread_output(tolerated: bool) -> Iterator[None]:
    """While the block runs, a closed pipe ends nothing, where that is `tolerated`: half a change is no answer to `| head`."""
    before = sys.stdout, sys.stderr
    if tolerated:
        sys.stdout, sys.stderr = Unread(sys.stdout), Unread(sys.stderr)
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout, sys.stderr = before
