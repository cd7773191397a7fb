"""The smallest application in place of the reference backend, and the reference in its place again, by one setting."""

from __future__ import annotations

from pathlib import Path

from ops.core.process import run
from tests.drill.clone import Clone, releases
from tests.drill.conftest import Record
from tests.drill.stack import Drill

SETTING = "  backend: compose/backend\n"


def answers(stack: Drill, path: str) -> str:
    """Status of a request to the public site."""
    project = stack.project
    https, domain = project.ports["https"], project.settings.domain
    argv = (
        "curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--cacert", str(project.state.site_roots),
        "--resolve", f"{domain}:{https}:127.0.0.1", f"https://{domain}:{https}{path}",
    )  # fmt: skip
    return run(argv, timeout=30).stdout


def test_smallest_application_takes_the_place_of_the_reference_and_back(
    stack: Drill, record: Record, tmp_path: Path
) -> None:  # fmt: skip
    folder = tmp_path / "app"
    reference, own = Clone.make(tmp_path / "reference"), Clone.make(tmp_path / "own")
    assert own.inv("app.new", str(folder)).returncode == 0
    checked = own.inv("app.check", str(folder))
    assert checked.returncode == 0, checked.stdout + checked.stderr
    own.edit("config/stack.yaml", SETTING, f"  backend: {folder}\n")

    record("the smallest application deployed", own.deploy().seconds)
    assert answers(stack, "/api/v1/hello") == "200"

    record("the reference deployed again", reference.deploy().seconds)
    assert answers(stack, "/api/v1/hello") == "404"
    assert [row["failed_requests"] for row in releases(reference)[:2]] == [0, 0]


def test_application_without_the_smoke_path_is_refused_within_seconds(stack: Drill, tmp_path: Path) -> None:
    clone = Clone.make(tmp_path / "clone")
    clone.edit("config/stack.yaml", "replicas:\n", "prober: {get: /api/v1/no-such-path}\n\nreplicas:\n")
    clone.version("without the path")

    answer = clone.inv("deploy", "--yes")

    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert "does not fulfil the row `smoke`" in answer.stderr and "HTTP 404" in answer.stderr
    assert "prober.get in config/stack.yaml" in answer.stderr
    stack.assert_as_wanted()
