"""A refresh that fails leaves the images as they were: an offline deploy still finds them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from invoke import Context, Exit

from ops import project as machine
from ops.cli.execute import Operation
from ops.core.errors import OpsError
from ops.core.state import State
from ops.images import commands as images


def project(root: Path, stamps: str = "") -> Any:
    return SimpleNamespace(
        state=State(root), kept_stamps="old", with_stamps=lambda new: project(root, new), stamps=stamps, stack=None,
        cluster=None,
    )  # fmt: skip


@pytest.mark.parametrize(("fails", "plan", "kept"), [(True, False, "old"), (False, True, "old"), (False, False, "new")])
def test_stamp_is_kept_when_everything_is_built(
    fails: bool, plan: bool, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "refresh").write_text("old")

    def execute(operation: Operation) -> int:
        assert operation.project.stamps not in ("", "old"), "the images of the refresh are planned and built"
        if fails:
            raise OpsError("cannot build", "no network", "try again")
        return 0 if operation.plan_only else 3

    monkeypatch.setattr(machine, "open_project", lambda **_: project(tmp_path))
    monkeypatch.setattr(images, "execute", execute)
    monkeypatch.setattr(machine, "known_service", lambda *_: None)
    try:
        images.build.body(Context(), service=None, plan=plan, refresh=True)
    except Exit as ended:
        assert fails and ended.code == 1
    assert ((tmp_path / "refresh").read_text() == "old") is (kept == "old")
