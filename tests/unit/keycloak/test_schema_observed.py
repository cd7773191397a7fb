"""When a plan's Keycloak is looked at: wherever it may be another than the last, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ops.core.errors import HostLacks
from ops.core.plan import Plan
from ops.core.process import Result
from ops.core.state import State
from ops.deploy.participant import FORWARD
from ops.deploy.plan import plan_deploy
from ops.engines.podman.host import Host
from ops.keycloak.schema import observed as schema
from ops.keycloak.schema.plan import Server
from ops.keycloak.schema.upgrade import Found
from ops.project import Project
from ops.stack.model import Seen
from ops.stack.wanted import Wanted
from tests.unit.builders import deployed, settings, wanted, with_state

NEWER = wanted(tags={"keycloak": "2"})


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(settings(), Host("cc03", State(tmp_path / "cc03")))


def with_image(seen: Seen, tag: str) -> Seen:
    found = {**seen.containers, "keycloak": replace(seen.containers["keycloak"], image=f"localhost/cc03/keycloak:{tag}")}
    return replace(seen, containers=found)


def looked_at(project: Project, release: Wanted, seen: Seen, monkeypatch: pytest.MonkeyPatch, plan: Plan | None = None) -> bool:
    asked: list[str] = []

    def inspect(_: Project, image: object, *, built: bool) -> Found:
        asked.append("")
        return Found(Server("26.7.3"), None, empty=True)

    monkeypatch.setattr(schema, "inspect", inspect)
    planned = plan or plan_deploy(release, seen)
    assert schema.with_schema(project, planned, release, seen, FORWARD, 0) == planned
    return bool(asked)


def test_other_image_is_looked_at(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert looked_at(project, NEWER, with_image(deployed(wanted()), "1"), monkeypatch)


def test_missing_container_is_looked_at_since_a_killed_command_may_have_removed_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = deployed(wanted())
    gone = replace(seen, containers={name: one for name, one in seen.containers.items() if name != "keycloak"})

    assert looked_at(project, wanted(), gone, monkeypatch)


def test_container_that_was_never_started_is_looked_at(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    created = with_state(with_image(deployed(wanted()), "1"), "created", "keycloak")

    assert looked_at(project, wanted(), created, monkeypatch)


@pytest.mark.parametrize("release", [wanted(), wanted(config={"keycloak": "kc-2"}), wanted(tags={"backend": "2"})])
def test_same_image_or_another_service_is_not(release: Wanted, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not looked_at(project, release, with_image(deployed(wanted()), "1"), monkeypatch)


def test_first_deploy_has_nothing_to_look_at(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not looked_at(project, wanted(), Seen(), monkeypatch)


def test_image_that_holds_no_keycloak_that_is_known_is_told(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    said = '[{"GraphDriver": {"Data": {"UpperDir": "/nowhere"}}}]'
    monkeypatch.setattr("ops.engines.podman.host.run", lambda argv, **_: Result(tuple(argv), 0, said, "", 0.0))
    with pytest.raises(HostLacks, match="cannot read which schema"):
        schema.server_of(project.engine, "x")
