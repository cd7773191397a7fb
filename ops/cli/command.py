"""How a command is declared, what --dry means for it, and how what it raises becomes three lines and an exit code."""

from __future__ import annotations

import errno
import functools
import inspect
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO

from invoke import Context, Exit, Task, task

from ops.cli.program import VerbTask, drop
from ops.core.errors import HostLacks, NeedsPerson, OpsError, UsageProblem

INTERRUPTED = 130
"""Exit code of a command that the operator broke off (128 + SIGINT)."""
GOES_ON = "the same command completes it"
"""Said of an interrupt, where nothing more exact is known of the state that is left."""


def verb(
    help: Mapping[str, str] | None = None, *, changes: bool | str = True, **options: Any
) -> Callable[[Callable[..., None]], Task[Any]]:
    """Declare a command. Whatever it raises reaches the operator as three lines and an exit code, never as a traceback.

    help: option name -> its line in `inv --help COMMAND`.
    changes: whether the command changes anything; the name of an option: whether that is given. What only reads ends in
    silence, with 0, when the operator or the reader of its output has enough.
    """

    def declare(function: Callable[..., None]) -> Task[Any]:
        @functools.wraps(function)
        def guarded(context: Context, **given: Any) -> None:
            _watch_signals()
            changing = changes if isinstance(changes, bool) else bool(given.get(changes))
            try:
                with unread_output(tolerated=changing):
                    function(context, **options_for(function, context, changes, given))
            except OpsError as problem:
                _fail(problem)
            except KeyboardInterrupt as interrupt:
                if not changing:
                    raise Exit(code=0) from None
                print(f"\ninterrupted: {interrupt or GOES_ON}", file=sys.stderr)
                raise Exit(code=INTERRUPTED) from None
            except BrokenPipeError:
                drop(sys.stdout)
                raise Exit(code=0) from None
            except (Exit, SystemExit):
                raise
            except Exception as problem:
                failure = described(problem)
                if isinstance(failure, HostLacks):
                    drop(sys.stdout)  # it may be what cannot be written
                _fail(failure)

        declared: Task[Any] = task(help=dict(help or {}), klass=VerbTask, **options)(guarded)
        return declared

    return declare


def _watch_signals() -> None:
    """SIGTERM is Ctrl-C, and so is SIGHUP, the end of a session over SSH, unless nohup has it ignored."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, interrupt)


REFUSALS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM})
"""Errors of the system that say something of the host, and nothing of this program."""


def _refused_by_the_host(problem: BaseException) -> HostLacks | None:
    if not isinstance(problem, OSError) or problem.errno not in REFUSALS:
        return None
    where = f"{problem.filename}: " if problem.filename else ""
    if os.geteuid() and problem.errno in (errno.EACCES, errno.EPERM):
        return HostLacks("this command needs root", f"{where}{problem.strerror}", "sudo -i, then the same command")
    return HostLacks(
        "this host refused to read or write", f"{where}{problem.strerror}", "inv doctor checks space and permissions"
    )


def _fail(problem: OpsError) -> None:
    from ops.cli import show

    show.problem(problem)
    raise Exit(code=problem.exit_code) from None


def described(problem: BaseException) -> OpsError:
    """Whatever went wrong, as the three lines that an operator gets. Raises nothing: there is a state to be reverted."""
    if isinstance(problem, OpsError):
        return problem
    if isinstance(problem, KeyboardInterrupt):
        return OpsError("interrupted", "by the operator", "run it again")
    try:
        return _refused_by_the_host(problem) or _defect(problem)
    except OSError as second:
        why = f"{type(problem).__name__}: {problem}; its traceback cannot be kept: {second.strerror}"
        return NeedsPerson("this command met a defect in its own code", why, "report it")


def _defect(problem: BaseException) -> NeedsPerson:
    """A defect of this program: the traceback goes to a file, the operator gets three lines like any other.

    The file is new and for its owner alone: /tmp is open to every account, which could have laid a link under a name that can
    be guessed.
    """
    descriptor, path = tempfile.mkstemp(prefix=f"cc03-defect-{time.strftime('%Y%m%dT%H%M%S')}-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("".join(traceback.format_exception(problem)))
    return NeedsPerson(
        "this command met a defect in its own code", f"{type(problem).__name__}: {problem}", f"report it with {path}"
    )


WITHOUT_EFFECT = {
    ("run", "echo"): "--echo", ("run", "hide"): "--hide", ("run", "pty"): "--pty", ("run", "warn"): "--warn-only",
    ("timeouts", "command"): "--command-timeout", ("sudo", "password"): "--prompt-for-sudo-password",
}  # fmt: skip
"""Where Invoke keeps its options for the shell commands of a task -> option: no command here runs any through it."""


def options_for(
    function: Callable[..., None], context: Context, changes: bool | str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The options that a command runs with: `--dry` is `--plan` where the command has one.

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


def print_json(value: Any) -> None:
    """What --json prints. Times are in ISO format."""
    print(json.dumps(value, indent=2, default=lambda one: one.isoformat()))


def whole_number(word: object, name: str) -> int:
    """A positional word as a number. Raises UsageProblem where it is none.

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
