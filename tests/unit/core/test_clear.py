"""Data in the clear that cannot be removed is an error, and removing much of it may take its time."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops.backup import container
from ops.backup.restore import volumes
from ops.backup.restore.steps import RemoveFetched
from ops.core.errors import OpsError
from ops.core.files import remove_clear
from ops.core.process import Result
from ops.core.state import State
from ops.engines.podman import host as host_module
from ops.engines.podman.host import Host
from ops.execution import Execution
from ops.keycloak.h2.steps import RemoveFolder
from ops.project import Project, open_project
from tests.unit.builders import settings, wanted


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host("cc03-test", State(tmp_path))


@pytest.fixture
def project(host: Host) -> Project:
    return Project(settings(), host)


def busy(*_: Any, **__: Any) -> None:
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), "folder")


def test_folder_is_removed_with_what_is_in_it_and_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "data" / "inner").mkdir(parents=True)
    (tmp_path / "data" / "inner" / "hashes").write_text("a")

    remove_clear(tmp_path / "data")
    remove_clear(tmp_path / "data")

    assert list(tmp_path.iterdir()) == []


def test_folder_that_stays_is_an_error(tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    (host.state.root / "h2").mkdir()
    monkeypatch.setattr(os, "rmdir", busy)

    with pytest.raises(OpsError, match="which contains unencrypted data"):
        RemoveFolder("tidy", "remove the copy", folder="h2").run(cast(Execution, SimpleNamespace(state=host.state)))


def ran(monkeypatch: pytest.MonkeyPatch, code: int) -> list[float]:
    """Every program ends with this code; the deadlines that those in containers were given."""
    deadlines: list[float] = []

    def run(argv: Sequence[str], *, timeout: float, **_: Any) -> Result:
        deadlines.extend([timeout] if argv[1] in ("exec", "run") else ())
        return Result(tuple(argv), code, "", "rm: cannot remove 'redis.rdb': Read-only file system", 0.0)

    monkeypatch.setattr(host_module, "run", run)
    return deadlines


def test_what_was_unpacked_and_stays_in_the_container_is_an_error(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    ran(monkeypatch, 1)

    with pytest.raises(OpsError, match="which contains unencrypted data") as caught:
        container.remove_fetched(project)

    assert "Read-only file system" in caught.value.why


def test_undo_of_a_restore_goes_on_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    ran(monkeypatch, 125)
    monkeypatch.setenv("CC03_STATE", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    performer = Execution(open_project(), lambda *_: None, wanted(), lambda: None)

    performer.do(RemoveFetched("tidy first", "remove the unpacked files", grave=False))
    with pytest.raises(OpsError):
        performer.do(RemoveFetched("tidy", "remove the unpacked files"))

    assert "contains unencrypted data" in capsys.readouterr().out


def test_removing_data_has_hours(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines = ran(monkeypatch, 0)
    service = {"image": "postgres:1", "networks": {}, "deploy": {"resources": {"limits": {"memory": "1g"}}}}
    monkeypatch.setattr(volumes, "_service", lambda *_: service)

    container.remove_fetched(project)
    volumes.do(project, "postgres", ("drop", "20260101T000000Z"))

    assert len(deadlines) == 2 and min(deadlines) >= 3600
