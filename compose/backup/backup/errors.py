"""The one root of what a job may fail with."""


class JobError(Exception):
    """What happened and why, in one line that an operator can act on."""


class Unreached(JobError):
    """A machine does not answer. That tells nothing of what it holds, and is tried again as soon as it does."""


class CommandError(JobError):
    """A tool failed or did not end in time."""

    def __init__(self, text: str, returncode: int | None = None, output: str = "") -> None:
        super().__init__(text)
        self.returncode = returncode
        self.output = output
