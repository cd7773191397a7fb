"""Another number of containers in a sealed release: what is rendered for that number, and nothing else changes."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import requests  # noqa: F401  (binds a socket when it is imported, which a test may not)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops import project as project_module
from ops.core import files
from ops.core.errors import HostLacks
from ops.core.plan import Plan
from ops.core.process import Result
from ops.deploy.plan import plan_deploy
from ops.deploy.scale import remembering, rescaled, rescaled_text
from ops.deploy.steps import RememberScale
from ops.engines.podman import host as host_module
from ops.execution import Execution
from ops.project import Project, open_project, supervisor_sources
from ops.releases.steps import WriteRelease
from ops.stack.compose import fill_config
from ops.stack.release import manifest_of
from ops.stack.render import LISTEN, render_another, render_release
from ops.stack.wanted import Wanted
from tests.unit.builders import CONFIG, REPOSITORY, STATE, allocation, deployed, image, stack, wanted

WORDS = st.text("abc {}:;-12\n", max_size=12)
LINES = st.lists(
    st.one_of(WORDS.map(lambda text: text.replace("\n", " ")), st.builds("{0}${{CC03_SLOT_BACKEND}}:{1}".format,
              st.sampled_from(["", "server ", "  - "]), st.sampled_from(["8000", "8080;", ""]))),
    max_size=12,
).filter(lambda lines: "backend" not in "".join(line for line in lines if "${" not in line))  # fmt: skip


def slots(number: int) -> tuple[str, ...]:
    return tuple(f"backend-{index}" for index in range(1, number + 1))


def filled(template: str, number: int) -> str:
    return fill_config(
        template, {"CC03_DOMAIN": "shop.example.com"}, {"backend": slots(number), "frontend": ("frontend-1",)}, "f"
    )


# A busy host draws its first example slowly.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lines=LINES, before=st.integers(1, 8), after=st.integers(1, 8))
def test_rescaling_a_filled_configuration_is_filling_it_for_that_number(lines: list[str], before: int, after: int) -> None:
    template = "".join(f"{line}\n" for line in lines)

    assert rescaled_text(filled(template, before), slots(before), slots(after)) == filled(template, after)


@pytest.mark.parametrize("path", ["nginx/slots.conf", "nginx/upstreams.conf", "prometheus/targets/backend.yml"])
@pytest.mark.parametrize(("before", "after"), [(1, 3), (2, 4), (4, 1), (8, 2)])
def test_files_of_this_repository_are_rescaled_as_they_are_filled(path: str, before: int, after: int) -> None:
    template = (REPOSITORY / "config" / path).read_text()

    assert rescaled_text(filled(template, before), slots(before), slots(after)) == filled(template, after)


def test_line_that_names_one_of_several_containers_is_not_a_repeated_one() -> None:
    text = "# ask backend-1\nserver backend-1;\nserver backend-2;\nserver backend-10;\n"

    assert rescaled_text(text, slots(2), slots(3)) == (
        "# ask backend-1\nserver backend-1;\nserver backend-2;\nserver backend-3;\nserver backend-10;\n"
    )


def test_name_of_which_another_one_is_the_beginning_is_not_taken_for_it() -> None:
    text = "server backend-1;\nserver backend-10;\nserver x-backend-1;\n"

    assert rescaled_text(text, slots(1), slots(2)) == (
        "server backend-1;\nserver backend-2;\nserver backend-10;\nserver x-backend-1;\n"
    )


def of_number(number: int) -> Wanted:
    return wanted(text=f"replicas: {{backend: {number}}}")


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 4), (4, 2), (8, 1)])
def test_rescaled_release_has_the_containers_that_are_rendered_for_that_number(before: int, after: int) -> None:
    found = rescaled(of_number(before), "backend", after)

    # Not sorted: the order of services is that of their start.
    assert json.dumps(found.compose, indent=1) == json.dumps(of_number(after).compose, indent=1)
    assert found.stack == of_number(after).stack
    assert found.settings == of_number(after).settings
    assert found.number is None


def test_everything_else_stays_byte_identical() -> None:
    before = of_number(2)
    # A neighbour that the present code would render otherwise, and a file that mentions another service.
    compose = {**before.compose, "services": {**before.compose["services"]}}
    compose["services"]["postgres"] = {**compose["services"]["postgres"], "sysctls": {"of": "an earlier version"}}
    before = dataclasses.replace(before, compose=compose, config_files={"nginx": {"site.conf": "listen 443;\n"}})

    found = rescaled(before, "backend", 3)

    others = dict(before.compose["services"])
    assert {slot: one for slot, one in found.compose["services"].items() if slot in others} == others
    assert set(found.compose["services"]) - set(others) == {"backend-3"}
    assert found.config_files == before.config_files
    assert found.config == before.config
    for name in ("allocation", "images", "versions", "certificate_names", "realm", "violations"):
        assert getattr(found, name) == getattr(before, name)


def test_who_cannot_reload_its_configuration_is_replaced_where_that_changes() -> None:
    text = "upstream backend-1\nupstream backend-2\n"
    before = dataclasses.replace(of_number(2), config_files={"keycloak": {"peers": text}, "nginx": {"peers": text}})

    found = rescaled(before, "backend", 1)

    assert found.config_files["keycloak"] == {"peers": "upstream backend-1\n"}
    assert found.slot_hash("keycloak") != before.slot_hash("keycloak")
    assert found.slot_hash("nginx") == before.slot_hash("nginx")
    assert found.config["nginx"] != before.config["nginx"]


def test_container_that_binds_one_network_listens_at_its_own_address_there() -> None:
    own = stack("replicas: {backend: 2}")
    services = {**own.services, "backend": dataclasses.replace(own.services["backend"], listen_network="app")}
    own = dataclasses.replace(own, services=services)
    given_to = allocation(own)
    rendered = render_release(
        own, given_to, images={name: image(name).tag for name in own.services}, versions=dict.fromkeys(own.secrets, 1),
        config_hashes=CONFIG, state=STATE, log_megabytes=20,
    )["services"]  # fmt: skip

    another = render_another(own, given_to, own.services["backend"], rendered["backend-1"], "backend-2", "")

    assert another == rendered["backend-2"]
    assert another["environment"][LISTEN] != rendered["backend-1"]["environment"][LISTEN]


# The whole of this checkout, with what the health supervisor looks at.


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    def run(argv: Sequence[str], **_: Any) -> Result:
        return Result(tuple(argv), 0, "", "", 0.0)

    monkeypatch.setenv("CC03_STATE", str(tmp_path / "states"))
    monkeypatch.setenv("CC03_PROJECT", "scaled")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(host_module, "run", run)
    monkeypatch.setattr(project_module, "routed_subnets", tuple)
    monkeypatch.setattr(project_module, "port_is_free", lambda port: True)
    (tmp_path / "states" / "scaled").mkdir(parents=True)
    return open_project()


def say(project: Project, service: str, number: int) -> None:
    by_file = project.settings.replicas_of(service)
    files.write(project.state.scale, files.dump({service: {"replicas": number, "instead_of": by_file}}))


def of_checkout(project: Project, service: str, number: int) -> Wanted:
    say(project, service, number)
    return Project(project.settings, project.host).wanted({}, frozenset())


@pytest.mark.parametrize(("service", "before", "after"), [("backend", 2, 4), ("backend", 3, 1), ("frontend", 1, 3)])
def test_deploy_of_the_same_checkout_after_scaling_has_nothing_to_do(
    project: Project, service: str, before: int, after: int
) -> None:
    earlier = of_checkout(project, service, before)
    later = of_checkout(project, service, after)

    found = rescaled(earlier, service, after, supervisor_sources(project.host))

    assert found.supervise_version == later.supervise_version

    assert found.config_files == later.config_files
    assert found.supervise == later.supervise
    assert manifest_of(found, ()) == manifest_of(later, ())


# What is remembered.


def remembered(project: Project, plan: Plan, number: int, **origin: Any) -> Plan:
    by_file, said = project.settings.replicas_of("backend"), files.read_json(project.state.scale) or {}
    return remembering(plan, stack().services["backend"], number, by_file=by_file, said=said, origin=origin)


def test_number_is_remembered_as_the_first_step_and_the_release_keeps_its_commit(project: Project) -> None:
    plan = plan_deploy(rescaled(of_number(2), "backend", 3), deployed(of_number(2)), verb="scale", next_number=8)

    found = remembered(project, plan, 3, commit="c0ffee", dirty=False)

    first = found.steps[0]
    assert isinstance(first, RememberScale)
    assert dict(first.said) == {"backend": {"replicas": 3, "instead_of": project.settings.replicas_of("backend")}}
    assert all(first.key in step.after_keys for step in found.steps[1:])
    sealed = next(step for step in found.steps if isinstance(step, WriteRelease))
    assert sealed.manifest is not None
    assert sealed.manifest["commit"] == "c0ffee"


def test_number_that_holds_already_is_not_remembered_again(project: Project) -> None:
    say(project, "backend", 3)

    assert remembered(project, Plan("scale"), 3).steps == ()


def test_number_that_only_the_next_deploy_would_have_is_remembered_although_nothing_else_is_to_do(project: Project) -> None:
    """After a rollback the release has the number, and scale.json another one."""
    say(project, "backend", 4)

    (step,) = remembered(project, Plan("scale"), 2).steps

    Execution(project, lambda *_: None, of_number(2), lambda: None).do(step)
    assert json.loads(project.state.scale.read_text()) == {
        "backend": {"replicas": 2, "instead_of": project.settings.replicas_of("backend")}
    }


def test_scaling_without_a_release_is_refused(project: Project) -> None:
    from ops.deploy.commands import running_release

    with pytest.raises(HostLacks, match="nothing is deployed"):
        running_release(project)
