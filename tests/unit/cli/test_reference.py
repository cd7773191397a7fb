"""The reference pages say what the code says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import pytest
from invoke import Collection, Context, task
from pydantic import Field

from ops import reference
from ops.cli.program import VerbTask
from ops.core.errors import OpsError, UsageProblem
from ops.reference import rows
from ops.stack.settings import Settings
from ops.stack.yaml_model import Form, Keys, parse_yaml, read
from tests.unit.builders import REPOSITORY

COMPOSE = {
    "services": {
        "web": {"deploy": {"resources": {"limits": {"memory": "1g", "cpus": "0.5"}}}, "stop_grace_period": "15s"},
    }
}


def test_pages_are_current() -> None:
    assert reference.outdated() == [], "run: nox -s docs"


def test_missing_page_is_outdated(tmp_path: Path) -> None:
    assert set(reference.outdated(tmp_path)) == set(reference.pages())


def test_every_setting_is_listed_with_what_it_takes() -> None:
    page = reference.settings_page(Settings, COMPOSE)

    for setting in rows(Settings, each="SERVICE"):
        assert setting.meaning
        assert page.count(f"| `{setting.key}` | {setting.meaning} | ") == 1
    for row in (
        "| `ports.https` | Published port of the site. | a whole number from 1 to 65535 | `443` |",
        "| `limits.SERVICE.memory` | Memory ceiling of each container of that service. | an amount of memory such as 512m or",
        "| `deploy.failed_requests` | Failed requests after which a deploy reverts to the previous release. | a whole number",
        "| `retention.metrics` | How long Prometheus keeps metrics. | an age such as 15d, 8w or 1y | `15d` |",
    ):
        assert row in page


def test_what_a_setting_takes_is_told_as_a_refusal_tells_it() -> None:
    class Paint(Keys):
        colour: Annotated[str, Field(pattern="^(red|blue)$"), Form("a colour")] = Field(default="red", description="Paint.")

    (row,) = rows(Paint)
    with pytest.raises(UsageProblem) as refused:
        read(Paint, parse_yaml("colour: loud", "paint.yaml"), "the page")

    assert (row.form, row.default) == ("a colour", "red")
    assert refused.value.why == "it must be a colour"


def test_service_without_a_deadline_of_its_own_shows_the_common_one() -> None:
    assert "| `web` | 1g | 0.5 | 120 s | 15s |" in reference.settings_page(Settings, COMPOSE)


def test_command_shows_required_value_short_form_and_inverse() -> None:
    @task(positional=["file"], help={"file": "archive | tape", "keep": "keep it"})
    def pack(c: Context, file: str, keep: bool = True) -> None:
        """Pack."""

    page = reference.commands_page(Collection(pack))

    assert "inv pack FILE [OPTIONS]" in page
    assert "| `FILE`, `--file FILE`, `-f FILE` | archive \\| tape |" in page
    assert "| `--keep`, `--no-keep` | keep it |" in page


def test_positional_that_may_be_left_out_stands_in_brackets() -> None:
    def show(c: Context, service: str = "") -> None:
        """Show."""

    namespace = Collection()
    namespace.add_task(VerbTask(show, name="show", positional=["service"]))

    assert "inv show [SERVICE]\n" in reference.commands_page(namespace)


def test_every_exit_code_is_told() -> None:
    page = reference.commands_page(Collection())

    kinds: list[type[OpsError]] = [OpsError, *OpsError.__subclasses__()]
    for code in {kind.exit_code for kind in kinds}:
        assert f"| {code} |" in page


def test_every_environment_variable_that_the_code_reads_is_told() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "ops").rglob("*.py"))

    assert set(re.findall(r'environ(?:\.get\(|\[)"(CC03_[A-Z_]+)"', text)) == set(reference.VARIABLES)
