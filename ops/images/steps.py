"""Having the wanted images on this host: obtained, built or fetched, each under the tag that names its content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from ops.core import files
from ops.core.plan import Plan, Step
from ops.core.state import State
from ops.stack.images import WantedImage

if TYPE_CHECKING:
    from ops.cli.execute import UnderWay
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


@dataclass(frozen=True)
class PushImage(Step):
    """Push an image to the cluster's registry, and note the digest that it has there: releases name that."""

    tag: str = ""
    reference: str = ""

    def run(self, execution: Execution) -> None:
        digest = execution.engine.push_image(self.tag, self.reference)
        note_pushed(execution.state, self.tag, f"{self.reference.rpartition(':')[0]}@{digest}")


_one_at_a_time = Lock()
PUSHED = "pushed.json"
"""In the state folder: tag of an image -> its reference by digest in the registry of the cluster."""


def pushed(state: State) -> Mapping[str, str]:
    return files.read_json(state.root / PUSHED) or {}


def note_pushed(state: State, tag: str, reference: str) -> None:
    with _one_at_a_time:
        files.write(state.root / PUSHED, files.dump({**pushed(state), tag: reference}))


def plan_push(references: Mapping[str, str], known: Mapping[str, str]) -> Plan:
    """Push what the registry does not have yet. references: tag -> name in the registry. known: what was pushed before."""
    return Plan("images.push", tuple(
        PushImage(f"push {tag}", f"push {reference}", tag=tag, reference=reference)
        for tag, reference in references.items()
        if known.get(tag, "").partition("@")[0] != reference.rpartition(":")[0]
    ))  # fmt: skip


def image_steps(wanted: Mapping[str, WantedImage], present: frozenset[str], deadline: int) -> tuple[Step, ...]:
    """Bases first, then every missing image; what does not depend on each other has no order."""
    missing = [image for image in wanted.values() if image.tag not in present]
    steps: dict[str, Step] = {}
    bases: dict[str, Step] = {}
    """Tag of a missing base -> the step that makes it. A service may be refreshed alone: a suite has two then."""
    for image in missing:
        for suite, tag in image.bases:
            if tag not in present and tag not in bases:
                key = f"base {suite}" if f"base {suite}" not in steps else f"base {suite} of {image.name}"
                bases[tag] = steps[key] = ObtainBase(key, f"obtain Debian {suite}", suite=suite, tag=tag)
    for image in missing:
        key = f"image {image.name}"
        if not image.context:
            steps[key] = FetchImage(key, f"fetch {image.source}", name=image.name, tag=image.tag, source=image.source)
            continue
        steps[key] = BuildImage(
            key, f"build {image.name}", tuple(bases[tag] for _, tag in image.bases if tag in bases), name=image.name,
            tag=image.tag, context=image.context, args=image.build_args, deadline=deadline,
        )  # fmt: skip
    return tuple(steps.values())


def builds(plan: Plan) -> bool:
    """Whether a plan runs the steps of a Containerfile."""
    return any(isinstance(step, ObtainBase | BuildImage) for step in plan.steps)


def plan_build(wanted: Mapping[str, WantedImage], present: frozenset[str], deadline: int) -> Plan:
    return Plan("build", image_steps(wanted, present, deadline))


@contextmanager
def warn_of_host_network(change: UnderWay) -> Iterator[None]:
    """Warn after a plan that has built something, where package mirrors are reached only from the host's own network."""
    try:
        yield
    finally:
        if builds(change.plan) and (said := change.project.engine.build_warning()):
            change.note(said, "[bold yellow]warning:[/bold yellow]")
