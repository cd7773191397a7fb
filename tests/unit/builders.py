"""A small stack that has one of everything, and what a host looks like before, during and after its deploy."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache, singledispatch
from pathlib import Path
from typing import Any

from ops.certificates.steps import IssueCertificate
from ops.core.plan import Plan, Step
from ops.deploy.plan import plan_deploy
from ops.deploy.steps import (
    CreateContainers,
    CreateNetwork,
    CreateVolume,
    LoadFirewall,
    MarkLoaded,
    Migrate,
    PromoteContainer,
    ReloadService,
    RemoveContainer,
    RestartContainer,
    StartContainer,
    Supervise,
    WriteConfig,
)
from ops.images.steps import BuildImage, FetchImage, ObtainBase
from ops.keycloak.realm.declaration import read_realm
from ops.keycloak.realm.steps import ApplyRealm
from ops.lifecycle.steps import RemoveFirewall
from ops.releases.steps import ActivateRelease, WriteRelease
from ops.secrets.steps import GenerateSecret, SetCredential, StoreSecret
from ops.stack.allocate import allocate
from ops.stack.compose import parse_stack
from ops.stack.images import WantedImage
from ops.stack.model import Allocation, Container, Seen, Stack
from ops.stack.release import manifest_of
from ops.stack.render import MIGRATE_SUFFIX, ONE_OFFS, digest, next_of, render_release
from ops.stack.settings import Settings, parse_settings
from ops.stack.wanted import Wanted
from tests.unit.realm_model import Model

REPOSITORY = Path(__file__).resolve().parents[2]
STATE = Path("/state")
PORTS = {"http": 80, "https": 443, "ops": 9443}
GRAFANA_TAG = "localhost/cc03/grafana:13"
GRAFANA = "docker.io/grafana/grafana:13@sha256:" + "a" * 64

COMPOSE = f"""
x-common: &common
  healthcheck: {{test: [CMD, /healthy], interval: 30s}}
services:
  postgres:        # reloads, has a check, TLS, a volume and secrets; nothing works without it
    <<: *common
    build: ./postgres
    user: "60705:60705"
    stop_grace_period: 1m30s
    networks: [data]
    volumes:
      - ../config/postgres:/etc/cc03/current:ro
      - postgres-data:/var/lib/postgresql
      - "${{CC03_STATE}}/certs/postgres:/etc/tls:ro"
    secrets: [postgres-superuser, postgres-app]
    deploy: {{resources: {{limits: {{memory: 4g, cpus: "2"}}}}}}
    x-cc03: {{reload: [/reload, now], check: [/check],
              downtime: {{seconds: 10, effect: every request fails, stops_requests: true}},
              tls: {{ports: {{"5432": postgres}}, reload: [/reload, now]}}}}
  keycloak:        # configuration, but no reload
    <<: *common
    build: ./keycloak
    networks: [app, data]
    volumes: [../config/keycloak:/etc/cc03/current:ro]
    deploy: {{resources: {{limits: {{memory: 2g, cpus: "1"}}}}}}
    x-cc03: {{needs: [postgres], health: {{ready: "http://keycloak:9000/health/ready"}}, start_seconds: 600}}
  backend:         # replicated, migrates
    <<: *common
    build: ./backend
    restart: unless-stopped
    networks: [app, data]
    secrets: [postgres-app]
    environment: {{ISSUER: "${{CC03_PUBLIC_URL}}/auth"}}
    deploy: {{replicas: 2, resources: {{limits: {{memory: 2g, cpus: "2"}}}}}}
    x-cc03: {{needs: [postgres, keycloak], migration: {{command: [migrate]}}, reconnect: [again]}}
  edge:            # published, holds the address of another
    <<: *common
    build: ./edge
    networks: [web, app]
    ports: ["${{CC03_HTTPS_PORT:-443}}:8443"]
    sysctls: {{net.ipv4.tcp_migrate_req: "1"}}
    deploy: {{resources: {{limits: {{memory: 32m, cpus: "0.1"}}}}}}
  nginx:           # shares a network, reloads
    <<: *common
    build: ./nginx
    network_mode: "service:edge"
    volumes: [../config/nginx:/etc/cc03/current:ro, "${{CC03_STATE}}/certs/nginx:/etc/tls:ro"]
    deploy: {{resources: {{limits: {{memory: 256m, cpus: "0.5"}}}}}}
    x-cc03:
      reload: [nginx, -s, reload]
      check: [nginx, -t]
      tls: {{ports: {{"8443": tls}}, public_port: 8443}}
      health: {{ready: "https://nginx:8443/healthz", socket: /run/probe.sock}}
      needs: [edge]
      downtime: {{seconds: 5, effect: every request fails, stops_requests: true}}
  grafana:         # optional, as its publisher made it
    <<: *common
    image: {GRAFANA}
    networks: [app]
    deploy: {{resources: {{limits: {{memory: 1g, cpus: "0.5"}}}}}}
    x-cc03: {{optional: no registry answers}}
networks:
  web: {{}}
  app: {{internal: true}}
  data: {{internal: true}}
volumes: {{postgres-data: {{}}}}
secrets: {{postgres-superuser: {{external: true}}, postgres-app: {{external: true}}}}
"""

CONFIG = {"postgres": "pg-1", "keycloak": "kc-1", "nginx": "ng-1"}
LEFT_OUT = {"grafana": "no registry answers"}


def settings(text: str = "", project: str | None = None) -> Settings:
    return parse_settings(text, Path("stack.yaml"), project)


@cache
def stack(text: str = "", project: str | None = None) -> Stack:
    """The small stack under a stack.yaml of this content."""
    return parse_stack(COMPOSE, settings(text, project), PORTS, REPOSITORY, STATE)


def allocation(of: Stack) -> Allocation:
    return allocate(of, PORTS, None, ())


def image(name: str, tag: str = "1") -> WantedImage:
    if name == "grafana":
        return WantedImage(name, GRAFANA_TAG, source=GRAFANA)
    return WantedImage(name, f"localhost/cc03/{name}:{tag}", f"compose/{name}", (("trixie", "localhost/cc03/base-trixie:1"),))


def wanted(
    *,
    text: str = "",
    tags: Mapping[str, str] | None = None,
    config: Mapping[str, str] | None = None,
    without: Iterable[str] = (),
) -> Wanted:
    """A release of the small stack. `tags`: service -> other image tag; `config`: service -> other configuration."""
    own = stack(text)
    left_out = frozenset(without)
    images = {name: image(name, (tags or {}).get(name, "1")) for name in own.services}
    configs = {**CONFIG, **(config or {})}
    versions = dict.fromkeys(own.secrets, 1)
    compose = render_release(
        own, allocation(own), images={name: one.tag for name, one in images.items()}, versions=versions, config_hashes=configs,
        state=STATE, log_megabytes=20, without=left_out,
    )  # fmt: skip
    supervise = {"targets": [slot for slot in compose["services"] if not slot.endswith(MIGRATE_SUFFIX)]}
    names = {name: (name, "localhost") for name, service in own.services.items() if service.has_tls}
    return Wanted(
        own,
        allocation(own),
        images,
        compose,
        configs,
        versions,
        {name: {"file": text} for name, text in configs.items()},
        supervise,
        digest(supervise),
        certificate_names=names,
        settings=dict(sorted(settings(text).given().items())),
    )


def deployed(release: Wanted, **changes: Any) -> Seen:
    """What is seen once a release runs and all is well; `changes` replace fields of it."""
    seen = done(plan_deploy(release, Seen()).steps, Seen(), release)
    return replace(seen, **changes)


def container(slot: str, config_hash: str, state: str = "running") -> Container:
    return Container(f"cc03-{slot}", slot, state, config_hash, "image")


def with_state(seen: Seen, state: str, *slots: str) -> Seen:
    """As `seen`, but for the state of these containers; who stands in the network of one that does not run has lost it."""
    changed = {slot: replace(seen.containers[slot], state=state) for slot in slots}
    found = {**seen.containers, **changed}
    for slot, one in found.items():
        down = one.holder and found[one.holder].state != "running"
        found[slot] = replace(one, stranded=bool(one.state == "running" and (one.stranded or down)))
    return replace(seen, containers=found)


# What each step does to what is seen: the contract between ops/plan and ops/machine, in its shortest form.


def done(plan: Iterable[Step], seen: Seen, release: Wanted) -> Seen:
    """What is seen after these steps have been done one after the other."""
    for step in plan:
        seen = _effect(step, seen, release)
    return seen


@singledispatch
def _effect(step: Step, seen: Seen, release: Wanted) -> Seen:
    """Steps that leave nothing behind: checks, waits for health, one-off runs."""
    return seen


@_effect.register(ObtainBase)
@_effect.register(BuildImage)
@_effect.register(FetchImage)
def _(step: Any, seen: Seen, release: Wanted) -> Seen:
    return replace(seen, images=seen.images | {step.tag})


@_effect.register
def _(step: GenerateSecret, seen: Seen, release: Wanted) -> Seen:
    return replace(seen, secret_versions={**seen.secret_versions, step.name: step.version})


@_effect.register
def _(step: StoreSecret, seen: Seen, release: Wanted) -> Seen:
    return replace(seen, podman_secrets=seen.podman_secrets | {f"cc03-{step.name}-{step.version}"})


@_effect.register
def _(step: IssueCertificate, seen: Seen, release: Wanted) -> Seen:
    return replace(seen, certificates={**seen.certificates, step.service: step.names})


@_effect.register
def _(step: CreateNetwork, seen: Seen, release: Wanted) -> Seen:
    return replace(seen, networks=seen.networks | {step.name})


@_effect.register
def _(step: LoadFirewall, seen: Seen, release: Wanted) -> Seen:
    return replace(seen, firewall=step.rules)


@_effect.register
def _(step: RemoveFirewall, seen: Seen, release: Wanted) -> Seen:
    return replace(seen, firewall="")


@_effect.register
def _(step: CreateVolume, seen: Seen, release: Wanted) -> Seen:
    return replace(seen, volumes=seen.volumes | {step.name})


@_effect.register
def _(step: WriteConfig, seen: Seen, release: Wanted) -> Seen:
    return replace(seen, config_current={**seen.config_current, step.service: step.version})


@_effect.register(ReloadService)
@_effect.register(MarkLoaded)
def _(step: Any, seen: Seen, release: Wanted) -> Seen:
    return replace(seen, config_loaded={**seen.config_loaded, step.service: step.version})


@_effect.register
def _(step: WriteRelease, seen: Seen, release: Wanted) -> Seen:
    return replace(seen, release={**(step.manifest or {}), "number": step.number})


@_effect.register
def _(step: ActivateRelease, seen: Seen, release: Wanted) -> Seen:
    return replace(seen, release={**manifest_of(release, ()), "number": step.number})


@_effect.register
def _(step: CreateContainers, seen: Seen, release: Wanted) -> Seen:
    made = {}
    for name, slot in [*((slot, slot) for slot in step.slots), *((next_of(slot), slot) for slot in step.staged)]:
        mode = str(release.compose["services"][slot].get("network_mode", ""))
        holder = mode.removeprefix("container:cc03-")
        assert not holder or holder in seen.containers, f"Podman creates {slot} only once {holder} is there"
        made[name] = replace(container(name, release.slot_hash(slot), "created"), holder=holder)
    return replace(seen, containers={**seen.containers, **made})


@_effect.register
def _(step: PromoteContainer, seen: Seen, release: Wanted) -> Seen:
    assert step.slot not in seen.containers, f"the name of {step.slot} is taken"
    rest = {slot: one for slot, one in seen.containers.items() if slot != next_of(step.slot)}
    return replace(seen, containers={**rest, step.slot: replace(seen.containers[next_of(step.slot)], slot=step.slot)})


@_effect.register
def _(step: Migrate, seen: Seen, release: Wanted) -> Seen:
    one_offs = {f"{step.service}{suffix}" for suffix in ONE_OFFS}
    return replace(seen, containers={slot: one for slot, one in seen.containers.items() if slot not in one_offs})


@_effect.register(StartContainer)
@_effect.register(RestartContainer)
def _(step: Any, seen: Seen, release: Wanted) -> Seen:
    return started(seen, step.slot)


def started(seen: Seen, slot: str) -> Seen:
    holder = seen.containers[slot].holder
    if holder and seen.containers[holder].state != "running":
        seen = started(seen, holder)  # as Podman does
    unhealthy = {other: why for other, why in seen.unhealthy.items() if other != slot}
    # A new network: who stood in the old one stays there.
    left = {
        other: replace(one, stranded=True)
        for other, one in seen.containers.items()
        if one.holder == slot and one.state == "running"
    }
    found = replace(seen.containers[slot], state="running", stranded=False)
    return replace(seen, containers={**seen.containers, **left, slot: found}, unhealthy=unhealthy)


@_effect.register
def _(step: RemoveContainer, seen: Seen, release: Wanted) -> Seen:
    standing = [slot for slot, one in seen.containers.items() if one.holder == step.slot]
    assert not standing, f"Podman removes {step.slot} only after {standing}"
    return replace(seen, containers={slot: one for slot, one in seen.containers.items() if slot != step.slot})


@_effect.register
def _(step: Supervise, seen: Seen, release: Wanted) -> Seen:
    return replace(seen, ticker=step.version, supervised=step.version)


@_effect.register
def _(step: SetCredential, seen: Seen, release: Wanted) -> Seen:
    versions = (step.beside, step.version) if step.beside else (step.version,)
    return replace(seen, accepted={**seen.accepted, step.secret: versions})


@_effect.register
def _(step: ApplyRealm, seen: Seen, release: Wanted) -> Seen:
    model = Model()
    model.live = copy.deepcopy(dict(seen.realm or {}))
    return replace(seen, realm=model.become(read_realm(step.realm)).live)


# Reading a plan.


def keys(plan: Plan) -> list[str]:
    return [step.key for step in plan.steps]


def step(plan: Plan, key: str) -> Any:
    """The step of this key; typed Any, since the test knows its kind."""
    return next(step for step in plan.steps if step.key == key)


def before(plan: Plan, key: str) -> set[str]:
    """Keys of all steps that must have succeeded before this one may begin, directly or through others."""
    after = {step.key: step.after_keys for step in plan.steps}
    found: set[str] = set()
    waiting = list(after[key])
    while waiting:
        earlier = waiting.pop()
        if earlier not in found:
            found.add(earlier)
            waiting += after[earlier]
    return found


def defects(plan: Plan) -> list[str]:
    """What makes a plan impossible to carry out: unknown or repeated keys, cycles."""
    order = keys(plan)
    found = [f"{key} stands twice" for key in set(order) if order.count(key) > 1]
    for position, one in enumerate(plan.steps):
        for earlier in one.after_keys:
            if earlier not in order:
                found.append(f"{one.key} waits for {earlier}, which is no step of the plan")
            elif order.index(earlier) >= position:
                found.append(f"{one.key} is listed before {earlier}, for which it waits")
    return found
