"""What it takes to have the wanted images on this host."""

from __future__ import annotations

from collections.abc import Mapping

from ops.core.plan import Plan, Step
from ops.images.steps import BuildImage, FetchImage, ObtainBase
from ops.stack.images import WantedImage


def image_steps(wanted: Mapping[str, WantedImage], present: frozenset[str], deadline: int) -> tuple[Step, ...]:
    """Bases first, then every missing image; what does not depend on each other has no order."""
    missing = [image for image in wanted.values() if image.tag not in present]
    steps: dict[str, Step] = {}
    bases: dict[str, str] = {}
    """Tag of a missing base -> the key of the step that makes it. A service may be refreshed alone: a suite has two then."""
    for image in missing:
        for suite, tag in image.bases:
            if tag not in present and tag not in bases:
                key = f"base {suite}" if f"base {suite}" not in steps else f"base {suite} of {image.name}"
                bases[tag] = key
                steps[key] = ObtainBase(key, f"obtain Debian {suite}", suite=suite, tag=tag)
    for image in missing:
        key = f"image {image.name}"
        if not image.context:
            steps[key] = FetchImage(key, f"fetch {image.source}", name=image.name, tag=image.tag, source=image.source)
            continue
        after = tuple(bases[tag] for _, tag in image.bases if tag in bases)
        steps[key] = BuildImage(
            key,
            f"build {image.name}",
            after,
            name=image.name,
            tag=image.tag,
            context=image.context,
            args=image.build_args,
            deadline=deadline,
        )
    return tuple(steps.values())


def builds(plan: Plan) -> bool:
    """Whether a plan runs the steps of a Containerfile."""
    return any(isinstance(step, ObtainBase | BuildImage) for step in plan.steps)


def plan_build(wanted: Mapping[str, WantedImage], present: frozenset[str], deadline: int) -> Plan:
    return Plan("build", image_steps(wanted, present, deadline))
