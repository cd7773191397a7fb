"""Repairs of containers, images and mounted configuration: back to what a sealed release says, and up again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from ops.certificates.steps import IssueCertificate
from ops.core.plan import Step
from ops.deploy.containers import Options
from ops.deploy.plan import plan_deploy
from ops.deploy.steps import (
    AwaitHealthy,
    CreateVolume,
    ReloadService,
    RemoveContainer,
    RestartContainer,
    StartContainer,
    await_healthy,
)
from ops.images.steps import BuildImage, FetchImage, ObtainBase
from ops.keycloak.failures.facts import Facts
from ops.keycloak.repair.situation import KEYCLOAK, NGINX, POSTGRES, Situation, grace_of
from ops.keycloak.repair.sql import orphaned
from ops.keycloak.repair.steps import (
    CopyOut,
    Halt,
    KeepCertificate,
    ReplaceConfig,
    Resume,
    Revive,
    SetAside,
    StopStranger,
    TagImage,
)
from ops.secrets.steps import GenerateSecret, StoreSecret
from ops.stack.model import Seen
from ops.stack.wanted import Wanted

ALIVE_SECONDS = 180
"""For a Keycloak that is started again on a schema it knows: 15 s on an idle host. A migration has the release's own time."""
IDLE_GRACE = 5
"""Seconds to stop one that serves nobody and migrates nothing: Java takes 17 s for it in the middle of a start."""
STOPPED = ("exited", "stopped", "created", "configured")
"""States of a container that `podman start` starts."""
STARTED = re.compile(r"Keycloak \S+ .*started in ")
NEVER = (BuildImage, FetchImage, ObtainBase, GenerateSecret, CreateVolume)
"""What no repair does: it would run something new, or begin without the data."""


def stop(situation: Situation) -> list[Step]:
    """Stop Keycloak, in a crash loop above all, so that nothing burns a CPU while its cause is repaired."""
    facts = situation.facts
    if not facts.running or facts.ready or situation.wanted is None or migrating(facts) or served(facts):
        return []
    grace = min(IDLE_GRACE, grace_of(situation.wanted, KEYCLOAK))
    return [Halt(f"stop {KEYCLOAK}", f"stop {KEYCLOAK} while its cause is repaired", slot=KEYCLOAK, grace=grace)]


def migrating(facts: Facts) -> bool:
    """Whether its own session holds the change log lock: a migration, which must not be broken off."""
    holder = facts.postgres.schema.holder if facts.postgres.schema else None
    return holder is not None and holder.address in facts.container.addresses and not orphaned(facts, holder)


def served(facts: Facts) -> bool:
    """Whether this very process has been serving and waits for its database: it may recover by itself, and much sooner."""
    began = facts.now - (facts.container.running_seconds or 0.0)
    up = any(line.at >= began and STARTED.search(line.text) for line in facts.log)
    return facts.running and not facts.ready and not facts.looping and up


def revive(situation: Situation, after: Iterable[Step]) -> list[Step]:
    """Let it recover by itself; restart it where that takes too long."""
    grace = grace_of(situation.wanted, KEYCLOAK) if situation.wanted else 30
    revived = Revive(f"revive {KEYCLOAK}", f"let {KEYCLOAK} recover, or restart it", tuple(after), slot=KEYCLOAK, grace=grace)
    return [revived, await_keycloak((revived,))]


def await_keycloak(after: Iterable[Step], *, once: bool = True, deadline: int = ALIVE_SECONDS) -> Step:
    return await_healthy(KEYCLOAK, after, deadline=deadline, once=once)


def start_again(after: Iterable[Step]) -> list[Step]:
    started = StartContainer(f"start {KEYCLOAK}", f"start {KEYCLOAK}", tuple(after), slot=KEYCLOAK)
    return [started, await_keycloak((started,))]


def as_released(
    situation: Situation, wanted: Wanted | None = None, *, first: Iterable[Step] = (), secrets: bool = False
) -> tuple[Step, ...]:
    """Keycloak's container as a release says, made anew whatever it looks like; the one in place is set aside.

    wanted: another release than the current one. first: steps that come before. secrets: give Podman each secret again.

    Empty where the release needs something that this host no longer has, or would begin without the data.
    """
    goal = wanted or situation.wanted
    if goal is None:
        return ()
    before = [*first, *(_own(situation) if wanted is None else ()), *_copies(situation)]
    if secrets:
        before += [
            StoreSecret(f"secret {name}", f"give Podman the secret {name} again", name=name, version=goal.versions[name])
            for name in goal.stack.services[KEYCLOAK].secrets
        ]
    seen = _unlike(situation.seen, KEYCLOAK)
    if situation.retag and wanted is None:
        seen = replace(seen, images=seen.images | {goal.images[KEYCLOAK].tag})
    steps = deployed(situation, goal, seen, KEYCLOAK)
    serving = situation.facts.ready
    return after_all(before, [_gentle(step, serving, released=wanted is not None) for step in steps]) if steps else ()


def deployed(situation: Situation, wanted: Wanted, seen: Seen, service: str) -> tuple[Step, ...]:
    """What a deploy of one service would do; empty where that is more than a repair may."""
    number = situation.next_number
    plan = plan_deploy(wanted, seen, only=service, verb="keycloak.fix", options=Options(migrate=False), next_number=number)
    return () if any(isinstance(step, NEVER) for step in plan.steps) else plan.steps


def after_all(first: Iterable[Step], then: Iterable[Step]) -> tuple[Step, ...]:
    """One after the other, then the rest: nothing of it begins before the last of the first has ended."""
    ordered: list[Step] = []
    for step in first:
        ordered.append(replace(step, after=(*step.after, *ordered[-1:])))
    known = {one.key for one in ordered}
    rest = (replace(step, after=(*step.after, *ordered[-1:])) for step in then if step.key not in known)
    return (*ordered, *rest)


def _gentle(step: Step, serving: bool, *, released: bool) -> Step:
    """A removal becomes a setting aside. A wait ends at the first end of the process; a release's own time only where it may
    migrate."""
    if isinstance(step, RemoveContainer) and step.slot == KEYCLOAK:
        title = f"stop {KEYCLOAK} and set it aside"
        grace = step.grace if serving else min(IDLE_GRACE, step.grace)
        return SetAside(step.key, title, step.after, slot=KEYCLOAK, grace=grace, serving=serving)
    if isinstance(step, AwaitHealthy) and step.slot == KEYCLOAK:
        deadline = step.proof.deadline if released else ALIVE_SECONDS
        return replace(step, proof=replace(step.proof, once=True, deadline=deadline))
    return step


def _unlike(seen: Seen, slot: str) -> Seen:
    """As if the container were of another definition, so that it is made anew. What waits for its place is not trusted."""
    found = {name: one for name, one in seen.containers.items() if name not in (f"{slot}-next", f"{slot}-aside")}
    if slot in found:
        found[slot] = replace(found[slot], config_hash="")
    return replace(seen, containers=found)


def replace_config(situation: Situation, name: str) -> list[Step]:
    wanted = situation.wanted
    if wanted is None or name not in wanted.config:
        return []
    return [ReplaceConfig(f"config {name}", f"restore the sealed configuration of {name}", service=name,
                          version=wanted.config[name], files=wanted.config_files[name])]  # fmt: skip


def _own(situation: Situation) -> list[Step]:
    """What the current release's own Keycloak needs: its configuration and its image as they were sealed."""
    steps = replace_config(situation, KEYCLOAK) if KEYCLOAK in situation.edited else []
    if situation.retag and situation.wanted is not None:
        tag, title = situation.wanted.images[KEYCLOAK].tag, "give the sealed image its tag again"
        steps.append(TagImage("tag keycloak", title, image=situation.retag, tag=tag))
    return steps


def _copies(situation: Situation) -> list[Step]:
    """H2 files lie in the container that goes: whatever is in them is kept."""
    paths = situation.facts.server.h2_files
    if not paths:
        return []
    return [CopyOut("copy H2", "copy the H2 files into the state folder", slot=KEYCLOAK, paths=paths)]


def neighbour(situation: Situation, service: str) -> tuple[Step, ...]:
    """PostgreSQL or nginx: made, started or restarted as its own state asks for."""
    if situation.wanted is None:
        return ()
    seen, paused = situation.seen, list[Step]()
    found = seen.containers.get(service)
    if found is not None and found.state == "paused":
        paused = [Resume(f"resume {service}", f"resume {service}", slot=service)]
        seen = replace(seen, containers={**seen.containers, service: replace(found, state="running")})
    return after_all(paused, deployed(situation, situation.wanted, seen, service))


def postgres_up(situation: Situation) -> tuple[Step, ...]:
    """PostgreSQL, then a Keycloak that has not survived its absence."""
    up = neighbour(situation, POSTGRES)
    first = (*stop(situation), *up)
    if not up or situation.facts.container.status not in (*STOPPED, "running"):
        # Missing, lost or paused: a finding of its own.
        return first if up else ()
    if served(situation.facts):
        return (*first, *revive(situation, first))
    if situation.facts.ready:
        return (*first, await_keycloak(first, once=False))
    return (*first, *start_again(first))


def resumed() -> tuple[Step, ...]:
    step = Resume(f"resume {KEYCLOAK}", f"resume {KEYCLOAK}", slot=KEYCLOAK)
    return (step, await_keycloak((step,), once=False))


def reload_service(situation: Situation, name: str, *, certificate: bool = False) -> tuple[Step, ...]:
    """nginx or PostgreSQL on its sealed configuration; with a certificate issued anew where that is what is wrong."""
    wanted = situation.wanted
    if wanted is None or name not in wanted.stack.services:
        return ()
    service = wanted.stack.services[name]
    if name not in situation.seen.containers or situation.seen.containers[name].state != "running":
        return neighbour(situation, name)
    first: list[Step] = replace_config(situation, name) if name in situation.edited else []
    if certificate:
        first += reissue(wanted, name)
    reload = ReloadService(f"reload {name}", f"reload {name}", slots=service.slots(), argv=service.reload or (),
                           service=name, version=wanted.config[name])  # fmt: skip
    return after_all(first, [reload])


def reissue(wanted: Wanted, name: str) -> list[Step]:
    """A fresh certificate of the internal authority; the previous one is kept until the repair is verified."""
    owner = wanted.stack.services[name].owner
    return [
        KeepCertificate("keep certificate", f"keep the present certificate of {name}", service=name, owner=owner),
        IssueCertificate(f"certificate {name}", f"issue a certificate for {name}", service=name, owner=owner,
                         names=wanted.certificate_names[name]),
    ]  # fmt: skip


def restart_nginx(situation: Situation) -> tuple[Step, ...]:
    wanted = situation.wanted
    if wanted is None or NGINX not in situation.seen.containers:
        return ()
    restart = RestartContainer(f"restart {NGINX}", f"restart {NGINX}", slot=NGINX, grace=grace_of(wanted, NGINX))
    deadline = wanted.stack.services[NGINX].start_seconds
    return (restart, await_healthy(NGINX, (restart,), deadline=deadline))


def stop_strangers(situation: Situation) -> tuple[Step, ...]:
    """Second Keycloaks that this host knows: stopped in order, and kept."""
    facts = situation.facts
    known = {
        facts.neighbours[one.address] for one in facts.postgres.sessions
        if one.address in facts.neighbours and "JDBC" in one.application
        and facts.neighbours[one.address] in facts.other_keycloaks
    }  # fmt: skip
    return tuple(StopStranger(f"stop {name}", f"stop {name}, which is not this project's", name=name) for name in sorted(known))
