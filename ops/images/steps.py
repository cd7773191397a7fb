"""Steps that have images on this host: obtained, built or fetched, each under the tag that names its content."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ops.core.plan import Step

if TYPE_CHECKING:
    from ops.execution import Execution


@dataclass(frozen=True)
class ObtainBase(Step):
    """Have the base image of a Debian suite: pulled where a registry answers, bootstrapped where none does."""

    suite: str = ""
    tag: str = ""

    def run(self, execution: Execution) -> None:
        execution.engine.obtain_base(self.suite, self.tag, execution.reporter(self))


@dataclass(frozen=True)
class BuildImage(Step):
    """Build one image under the tag that names its content."""

    name: str = ""
    tag: str = ""
    context: str = ""
    args: tuple[tuple[str, str], ...] = ()
    deadline: int = 1200

    def run(self, execution: Execution) -> None:
        execution.engine.build_image(
            self.name, self.tag, Path(self.context), dict(self.args), self.deadline, execution.reporter(self)
        )


@dataclass(frozen=True)
class FetchImage(Step):
    """Pull an image that is used as its publisher made it, and give it the tag under which it is looked for."""

    name: str = ""
    tag: str = ""
    source: str = ""

    def run(self, execution: Execution) -> None:
        execution.engine.fetch_image(self.name, self.tag, self.source)
