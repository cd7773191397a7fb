"""A release with another number of containers of one service; everything else in it stays as it was sealed. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ops.core.errors import UsageProblem, did_you_mean
from ops.core.plan import Plan, linked
from ops.deploy.steps import RememberScale
from ops.releases.steps import WriteRelease
from ops.stack.model import LABEL_HASH, MAX_REPLICAS, Service
from ops.stack.render import ONE_OFFS, address, container_name, digest, hash_of, one_off, render_another
from ops.stack.wanted import Wanted


def parse(text: str) -> tuple[str, int]:
    """`backend=4` -> its parts. Raises UsageProblem for anything else."""
    match = re.fullmatch(r"([a-z][a-z0-9-]*)=(\d+)", text)
    if not match or not 1 <= int(match[2]) <= MAX_REPLICAS:
        raise UsageProblem(f'"{text}" is no scale', f"the form is SERVICE=NUMBER, 1 to {MAX_REPLICAS}", "inv scale backend=4")
    return match[1], int(match[2])


def scalable(stack: Mapping[str, Service], name: str) -> Service:
    """The service. Raises UsageProblem where there is none of that name, or it cannot have several containers."""
    if name not in stack:
        raise UsageProblem(f'there is no service "{name}"', did_you_mean(name, stack), "inv status")
    if not stack[name].replicated:
        raise UsageProblem(f"{name} cannot have several containers", "compose.yaml gives it no replicas", "inv status")
    return stack[name]


def remembering(
    plan: Plan, service: Service, number: int, *, by_file: int | None, said: Mapping[str, Any], origin: Mapping[str, Any]
) -> Plan:
    """The plan, with a step by which later deploys keep the number. It comes first: the next deploy after a killed command then
    goes on towards it.

    by_file: what stack.yaml says. said: what scale.json says. origin: commit of the release that is scaled, which the new one
    has as well.
    """
    steps = [
        replace(step, manifest={**(step.manifest or {}), **origin}) if isinstance(step, WriteRelease) else step
        for step in plan.steps
    ]
    entry = said.get(service.name, {"instead_of": None, "replicas": None})
    chosen = entry["replicas"] if entry["instead_of"] == by_file else by_file
    if (chosen or by_file or service.definition["deploy"]["replicas"]) == number:
        return replace(plan, steps=linked(steps))
    said = {**said, service.name: {"replicas": number, "instead_of": by_file}}
    first = RememberScale("scale", f"save the scale of {service.name} for later deploys: {number}", said=said)
    return replace(plan, steps=linked([first, *(replace(step, after=(*step.after, first)) for step in steps)]))


def rescaled(wanted: Wanted, name: str, number: int, ticker: Any = None) -> Wanted:
    """The release that differs from `wanted` in nothing but the number of containers of a service; it has no number yet.

    ticker: sources of the health ticker that is to watch over it.
    """
    before = wanted.stack.services[name]
    after = replace(before, replicas=number)
    stack = replace(wanted.stack, services={**wanted.stack.services, name: after})
    texts = {
        service: {path: rescaled_text(text, before.slots(), after.slots()) for path, text in files.items()}
        for service, files in wanted.config_files.items()
    }
    config = {
        service: version if texts.get(service) == wanted.config_files.get(service) else digest(texts[service])
        for service, version in wanted.config.items()
    }
    supervise = {
        kind: _repeated(entries, wanted, before, after) if isinstance(entries, list) else entries
        for kind, entries in wanted.supervise.items()
    }
    found = replace(
        wanted, stack=stack, config=config, config_files=texts, supervise=supervise, number=None,
        supervise_version=digest([supervise, ticker]),
        settings={**wanted.settings, f"replicas.{name}": number},
    )  # fmt: skip
    return replace(found, compose={**wanted.compose, "services": _containers(wanted, found, before, after)})


def rescaled_text(text: str, before: Sequence[str], after: Sequence[str]) -> str:
    """A configuration with the lines that are repeated for each container of a service, for other containers of it.

    They are found as runs of lines that are equal but for the name of the container, one for each in `before`.
    """
    first = re.compile(rf"(?<![A-Za-z0-9-]){re.escape(before[0])}(?!\d)")
    lines = text.splitlines(keepends=True)
    found: list[str] = []
    while lines:
        run = tuple(lines[: len(before)])
        repeats = first.search(run[0]) and run == tuple(first.sub(slot, run[0]) for slot in before)
        found += [first.sub(slot, run[0]) for slot in after] if repeats else run[:1]
        del lines[: len(before) if repeats else 1]
    return "".join(found)


def _containers(wanted: Wanted, found: Wanted, before: Service, after: Service) -> dict[str, Any]:
    """The containers of the release, those of the service in the place of its first one."""
    project, first = wanted.stack.project, before.slots()[0]
    services: dict[str, Any] = {}
    for slot, one in wanted.compose["services"].items():
        if slot == first:
            for own in after.slots():
                services[own] = wanted.compose["services"].get(own) or render_another(
                    found.stack, wanted.allocation, after, one, own, found.config.get(after.name, "")
                )
        elif slot not in before.slots():
            services[slot] = one
    for service in found.stack.services.values():
        if not service.reload and found.config.get(service.name) != wanted.config.get(service.name):
            for slot in (*service.slots(), service.surge_slot, *(service.name + suffix for suffix in ONE_OFFS)):
                if slot in services:
                    # A one-off container bears the hash of the service's first one.
                    decisive = services[service.slots()[0] if one_off(slot) else slot]
                    label = hash_of(service, project, decisive, found.config[service.name])
                    services[slot] = {**services[slot], "labels": {**services[slot]["labels"], LABEL_HASH: label}}
    return services


def _repeated(entries: Sequence[Any], wanted: Wanted, before: Service, after: Service) -> list[Any]:
    """What the health supervisor looks at, with the entries of the first container repeated for each."""
    ours = [entry for entry in entries if isinstance(entry, dict) and entry.get("slot") == before.slots()[0]]
    found: list[Any] = []
    for entry in entries:
        slot = entry.get("slot") if isinstance(entry, dict) else None
        if entry in ours:
            found += [_at(entry, wanted, after, own) for own in after.slots()]
        elif slot not in before.slots():
            found.append(entry)
    return found


def _at(entry: Mapping[str, Any], wanted: Wanted, service: Service, slot: str) -> dict[str, Any]:
    where = address(wanted.allocation, service.listens_on[0], service.address_name(slot))
    return {**entry, "slot": slot, "container": container_name(wanted.stack.project, slot), "address": where}
