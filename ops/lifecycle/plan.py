"""Plans that start, stop, restart and destroy what exists; nothing here builds or changes a release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.core.plan import Plan, Step, linked
from ops.deploy.steps import (
    EndSupervision,
    RemoveContainer,
    RemoveNetwork,
    RestartContainer,
    StartContainer,
    StopContainer,
    Supervise,
    await_healthy,
    firewall_steps,
)
from ops.lifecycle.steps import RemoveFirewall, RemoveState, RemoveVolume
from ops.secrets.steps import RemoveSecret
from ops.stack.applied_settings import issued
from ops.stack.model import Seen, Stack


def stop_order(stack: Stack, slots: list[str]) -> list[tuple[str, ...]]:
    """Groups of slots that may stop side by side: who needs others first, databases last, what outlives them after that."""
    needed = {need for service in stack.services.values() for need in service.needs}
    known = set(stack.slots())
    after = [slot for slot in slots if slot in known and stack.service_of(slot).stop_after]
    rest = [slot for slot in slots if slot not in after]
    first = [slot for slot in rest if slot not in known or stack.service_of(slot).name not in needed]
    middle = [slot for slot in rest if slot not in first and stack.service_of(slot).needs]
    last = [slot for slot in rest if slot not in first and slot not in middle]
    return [tuple(group) for group in (first, middle, last, after) if group]


def _down(
    stack: Stack, slots: list[str], kind: type[StopContainer | RemoveContainer], key: str, title: str, *, ticker: bool
) -> list[Step]:  # fmt: skip
    """The health supervisor first, so that it mends nothing; then each container within its grace period."""
    graces = {slot: service.grace for service in stack.services.values() for slot in service.slots()}
    steps: list[Step] = [EndSupervision("supervise", "stop the health supervisor")] if ticker else []
    before = tuple(steps)
    for group in stop_order(stack, slots):
        before = tuple(
            kind(f"{key} {slot}", f"{title} {slot}", before, slot=slot, grace=graces.get(slot, 10)) for slot in group
        )
        steps += before
    return steps


def plan_stop(stack: Stack, seen: Seen, *, ticker: bool) -> Plan:
    running = [slot for slot, one in seen.containers.items() if one.state in ("running", "paused", "stopping", "lost")]
    return Plan("stop", tuple(_down(stack, running, StopContainer, "stop", "stop", ticker=ticker)))


def plan_start(stack: Stack, seen: Seen, supervise: Mapping[str, Any], version: str, firewall: str = "") -> Plan:
    """Start what exists and does not run, in the order in which services need each other, then the health supervisor.

    firewall: rules of the packet filter that the kernel must have before a container starts.
    """
    steps: list[Step] = firewall_steps(firewall, seen)
    filtered = tuple(steps)
    stopped = {slot for slot, container in seen.containers.items() if container.state != "running"}
    for service in stack.services.values():
        needed = [slot for need in service.needs for slot in stack.services[need].slots() if slot in stopped]
        gates = (*filtered, *map(await_healthy, needed))
        for slot in service.slots():
            # One that runs while its holder does not, or that has lost its network, serves nobody.
            stranded = slot in seen.containers and (service.shares in stopped or seen.containers[slot].stranded)
            if slot in stopped or stranded:
                key, title = f"start {slot}", f"start {slot}"
                start = (
                    StartContainer(key, title, gates, slot=slot)
                    if slot in stopped
                    else RestartContainer(key, title, gates, slot=slot, grace=service.grace)
                )
                steps += [start, await_healthy(slot, [start], deadline=service.start_seconds)]
    if not seen.ticker or seen.supervised != version:
        title = "start the health supervisor"
        steps.append(Supervise("supervise", title, tuple(steps), content=supervise, version=version))
    return Plan("start", linked(steps))


def plan_restart(stack: Stack, seen: Seen, service_name: str) -> Plan:
    """Restart the containers of one service, one after the other, each healthy before the next. A holder that is restarted has
    a new network, so that those who share it follow."""
    together = [stack.services[name] for name in (service_name, stack.services[service_name].holds) if name]
    steps: list[Step] = []
    for service, slot in ((one, slot) for one in together for slot in one.slots() if slot in seen.containers):
        title = f"restart {slot}"
        restart = RestartContainer(title, title, tuple(steps[-1:]), slot=slot, grace=service.grace)
        steps += [restart, await_healthy(slot, [restart], deadline=service.start_seconds)]
    return Plan("restart", tuple(steps))


def plan_destroy(stack: Stack, seen: Seen, *, keep_data: bool) -> Plan:
    """Remove containers, networks and Podman's copies of the secrets; with the data, everything that the project ever wrote.

    keep_data: keep volumes and the state folder (releases, secrets, the CA), so that the next deploy goes on with them.
    """
    steps = _down(stack, list(seen.containers), RemoveContainer, "remove", "stop and remove", ticker=bool(seen.ticker))
    gone = tuple(steps)
    steps += [RemoveNetwork(f"network {name}", f"remove network {name}", gone, name=name) for name in sorted(seen.networks)]
    if seen.firewall:
        steps.append(RemoveFirewall("firewall", "remove the packet filter of the published network", gone))
    own = sorted(name for name in seen.podman_secrets if _belongs(name, stack))
    steps += [RemoveSecret(f"secret {name}", f"remove secret {name} from Podman", gone, name=name) for name in own]
    losses: tuple[str, ...] = ()
    if not keep_data:
        steps += [RemoveVolume(f"volume {name}", f"remove volume {name}", gone, name=name) for name in sorted(seen.volumes)]
        state = RemoveState("state", "remove the project's state folder", tuple(steps))
        steps.append(state)
        losses = (
            *(f"volume {name}" for name in sorted(seen.volumes)),
            "the state folder: releases, secrets, certificates, logs; without the backup key no backup can ever be read",
        )
    elif seen.containers:
        losses = (f"{len(seen.containers)} containers, so the site is down; volumes and state stay",)
    return Plan("destroy", tuple(steps), destroys=losses)


def _belongs(name: str, stack: Stack) -> bool:
    """Whether a Podman secret is this project's: `<project>-<secret>-<version>`, so that `cc03` never takes `cc03-test`'s.

    Credentials of repositories count whether these are still declared or not.
    """
    rest, _, version = name.removeprefix(f"{stack.project}-").rpartition("-")
    return name.startswith(f"{stack.project}-") and version.isdigit() and (rest in stack.secrets or bool(issued(rest)[0]))
