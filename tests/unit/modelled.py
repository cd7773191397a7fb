"""A host for what brings releases about: each step has its effect in the model of `builders`, everything else is real."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops import execution, observed
from ops.audit_log import record as audit
from ops.backup import host_archive as archive
from ops.cli import execute as common
from ops.core import files
from ops.core.plan import Plan, Step
from ops.core.state import State
from ops.deploy import measurement, transition
from ops.deploy.containers import Options
from ops.deploy.measure import Sample
from ops.deploy.steps import AwaitHealthy, RememberScale, RemoveContainer, StartContainer
from ops.deploy.transition import Goal, change_release
from ops.keycloak.realm import live as realm
from ops.keycloak.schema import observed as schema
from ops.project import Project
from ops.releases import retention
from ops.releases.steps import ActivateRelease, WriteRelease
from ops.secrets.steps import GenerateSecret
from ops.stack.model import Seen
from ops.stack.release import GOOD
from ops.stack.render import digest
from ops.stack.wanted import Wanted
from ops.store import releases
from ops.store.versions import secret_versions
from tests.unit.builders import PORTS, REPOSITORY, done, settings, wanted

OLD = wanted()
NEW = wanted(config={"keycloak": "kc-2"}, tags={"postgres": "2"})
BACKEND = wanted(tags={"backend": "2"})


@dataclass
class World:
    """A host. fails: key of a step -> what it meets, once; failures: requests that fail while the slot of that name is away
    or, without a slot, all the while."""

    state: State
    seen: Seen = field(default_factory=Seen)
    fails: dict[str, BaseException | Callable[[], None]] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    lossy: tuple[str, ...] = ()
    failing: dict[str, int] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    cleaned: int = 0
    gaps: dict[str, float] = field(default_factory=dict)
    meanwhile: Callable[[], None] = lambda: None
    """What another command does before this one has the lock."""
    brought: Wanted | None = None
    """The release that steps were carried out for."""
    guard: Lock = field(default_factory=Lock)

    @property
    def project(self) -> Project:
        return cast(Project, SimpleNamespace(
            name="cc03", state=self.state, settings=settings(), ports=PORTS, release=None, remember=lambda: None,
            cluster=None, prepare=self._prepare,
            host=SimpleNamespace(prepare=self._prepare, repository=REPOSITORY, state=self.state),
            wanted_again=self.sealed, afresh=lambda: self.project, engine=SimpleNamespace(build_warning=lambda: ""),
            deployed=self.sealed(self.serving) if self.serving else None,
        ))  # fmt: skip

    def _prepare(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()

    def sealed(self, number: int) -> Wanted:
        found = releases.load_release(self.state, number, {})
        # As `builders.wanted` has them: names in the place of digests.
        config = {name: content["file"] for name, content in found.config_files.items()}
        return replace(found, supervise_version=digest(found.supervise), config=config)

    def goal(self, release: Wanted, **more: Any) -> Goal:
        def extend(plan: Plan, seen: Seen) -> Plan:
            return replace(plan, destroys=self.lossy) if plan.steps else plan

        return Goal("deploy", self.project, lambda seen: release, Options(migrate=True), extend=extend, **more)

    def aim(self, release: Wanted, **more: Any) -> Callable[[], Goal]:
        return lambda: self.goal(release, **more)

    def perform(self, step: Step, release: Wanted) -> None:
        problem = self.fails.pop(step.key, None)
        if isinstance(problem, BaseException):
            raise problem
        if problem:
            problem()
        if isinstance(step, WriteRelease):
            releases.write_release(self.state, step.number, step.manifest or {}, step.files or {})
        if isinstance(step, RememberScale):
            files.write(self.state.scale, files.dump(dict(step.said)))
        if isinstance(step, GenerateSecret):
            files.write(self.state.secrets / step.name / str(step.version), "value")
        if isinstance(step, ActivateRelease):
            files.link(self.state.current, str(step.number))
        with self.guard:
            self.brought = release
            self.seen = replace(done([step], self.seen, release), gaps=self.gaps)
            self.done.append(step.key)

    @property
    def outcomes(self) -> list[tuple[int, str]]:
        return [(entry.release, entry.outcome) for entry in releases.activations(self.state)]

    @property
    def serving(self) -> int | None:
        return releases.current_number(self.state)

    @property
    def running(self) -> dict[str, str]:
        return {slot: one.config_hash for slot, one in self.seen.containers.items() if one.state == "running"}


def performer(world: World) -> type:
    class Model:
        """Stands for `Execution`: one that knows of no host but the model."""

        def __init__(self, project: Project, report: Any, release: Wanted, first_touch: Callable[[], None]) -> None:
            self.release, self.first_touch = release, first_touch
            self.gaps: dict[str, float] = {}
            self.away: dict[str, list[tuple[float, float]]] = {}
            self.since: dict[str, float] = {}
            self.touched = False

        def do(self, step: Step) -> None:
            if isinstance(step, StartContainer | RemoveContainer) and not self.touched:
                self.touched = True
                self.first_touch()
            if isinstance(step, RemoveContainer):
                self.since[step.slot] = time.time()
            world.perform(step, self.release)
            if isinstance(step, AwaitHealthy) and step.slot in self.since:
                for _ in range(world.failing.get(step.slot, 0)):
                    world.samples.append(Sample(at=time.time(), kind="get", ms=1, status=502, failed="answered 502"))
                since = self.since.pop(step.slot)
                self.gaps[step.slot] = 1.5
                self.away[step.slot] = [(since, time.time())]

    return Model


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(State(tmp_path / "cc03"))
    made.state.prepare()
    for secret in OLD.stack.secrets:
        (made.state.secrets / secret).mkdir()
        files.write(made.state.secrets / secret / "1", "value")

    @contextmanager
    def no_realm(*_: Any) -> Iterator[Callable[[Any], None]]:
        yield lambda versions: None

    @contextmanager
    def measured(*_: Any) -> Iterator[Any]:
        made.samples[:] = [Sample(at=time.time() - 5, kind="get", ms=1, status=200)]
        yield SimpleNamespace(samples=made.samples, note="", baseline=lambda seconds: None)

    def clean_up(*_: object) -> list[int]:
        made.cleaned += 1
        return []

    monkeypatch.setattr(observed, "observe", lambda *_, **__: replace(made.seen, secret_versions=secret_versions(made.state)))
    monkeypatch.setattr(realm, "observed_realm", no_realm)
    monkeypatch.setattr(schema, "with_schema", lambda project, plan, *_: plan)
    monkeypatch.setattr(execution, "Execution", performer(made))
    monkeypatch.setattr(measurement, "measured", measured)
    monkeypatch.setattr(retention, "clean_up", clean_up)
    monkeypatch.setattr(audit, "origin", lambda _: {})
    monkeypatch.setattr(archive, "keep", lambda _: None)
    monkeypatch.setattr("ops.secrets.facts.write_metrics", lambda _: None)
    monkeypatch.setattr(common, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(transition, "AFTER_SECONDS", 0.0)
    return made


@pytest.fixture
def served(world: World) -> World:
    """Release 1 serves."""
    assert change_release(world.aim(OLD), yes=True) > 10
    assert (world.serving, world.outcomes) == (1, [(1, GOOD)])
    world.done.clear()
    return world
