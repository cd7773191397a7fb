"""kill -9 at many moments: of the commands, and of the container at work. The next run is clean, and nothing is lost."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from ops.backup.around import journal
from ops.core.machine import REPOSITORY
from ops.engines.podman import argv as podman
from tests.drill.backup.hands import SLOT, Backups
from tests.drill.conftest import Record
from tests.drill.stack import PATIENCE, inv, kill
from tests.drill.test_killed_deploy import break_off
from tests.smoke.accounts import Account
from tests.smoke.live import eventually

MAKING = (("archive", 0.0), ("set", 0.0), ("set", 2.0), ("set", 5.0))
"""Step of `inv backup`, and seconds from its beginning to the end of the command."""
UNDONE = ("aside postgres", "recover postgres")
DONE_ANEW = ("stop backend-1", "fetch postgres", "start postgres", "verify")
MOMENTS = ("postgres", "fingerprint", "redis", "files", "expire")
"""Phases of a full set."""


def assert_clean(backups: Backups) -> None:
    """Nothing of a killed job is left, and what it has left behind in the repository is no set."""
    eventually(lambda: "; ".join(backups.status()["problems"]), 120)
    backups.await_idle()
    assert {path.name for path in backups.mount().iterdir()} <= {
        "postgres", "files", "tmp", "cache", "journal.json", "keys.json", "drills.jsonl", "redis", "received", "reserve",
    }  # fmt: skip
    assert list(backups.drill.project.state.backup.glob(".host.tar*")) == []
    backups.run("verify")
    backups.run("drill")


@pytest.mark.parametrize(("step", "later"), MAKING)
def test_backup_command(backups: Backups, tmp_path: Path, step: str, later: float) -> None:
    own = backups.drill.project.state.root / "backup.jsonl"
    break_off(
        backups.drill, step, tmp_path / "log", command=("backup", "--kind", "full"), journal=own, later=later
    )  # fmt: skip
    backups.make()
    assert_clean(backups)


@pytest.mark.parametrize("step", UNDONE)
def test_restore_taken_back(backups: Backups, person: Account, tmp_path: Path, step: str) -> None:
    backups.write(1001, 1500)
    before = backups.sums("items", "ledger")
    name = backups.status()["sets"][0]["set"]
    break_off(backups.drill, step, tmp_path / "log", command=("restore", "--set", name, "--yes"))
    assert journal(backups.drill.project.state).exists()
    refused = inv("deploy", "--yes")
    assert refused.returncode == 3, refused.stdout
    assert "inv restore --undo" in refused.stderr

    answer = inv("restore", "--undo", "--yes")
    assert answer.returncode == 0, answer.stdout[-2000:] + answer.stderr
    backups.drill.await_healthy()
    assert backups.sums("items", "ledger") == before
    person.log_in_anew()
    backups.drill.assert_as_wanted()


@pytest.mark.parametrize("step", DONE_ANEW)
def test_restore_done_anew(backups: Backups, person: Account, record: Record, tmp_path: Path, step: str) -> None:
    before = backups.sums("ledger")
    name = backups.make()
    backups.write(1001, 1500)
    arguments = ("restore", "--set", name, "--yes")
    break_off(backups.drill, step, tmp_path / "log", command=arguments)

    began = time.monotonic()
    answer = inv(*arguments)
    record(f"inv restore after one killed in: {step}", time.monotonic() - began)
    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr
    backups.drill.await_healthy()
    assert backups.sums("ledger") == before
    assert not journal(backups.drill.project.state).exists()
    person.log_in_anew()
    backups.drill.assert_as_wanted()


def begin_full(backups: Backups) -> subprocess.Popen[str]:
    """A full set in the container, which tells on its standard output how far it is."""
    argv = podman.exec_in(backups.drill.name(SLOT), ("backup", "run", "set", "--kind", "full", "--json-progress"))
    host = backups.drill.project.host
    return subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=REPOSITORY,
        env={**os.environ, **host.environment},
    )


@pytest.mark.parametrize("phase", MOMENTS)
def test_container(backups: Backups, phase: str) -> None:
    sets = {one["set"] for one in backups.status()["sets"]}
    with begin_full(backups) as job:
        assert job.stdout
        for line in job.stdout:
            event = json.loads(line)
            if event.get("phase") == phase:
                kill(backups.drill.pid(SLOT))
                break
        else:
            pytest.fail(f"the job ended without the phase {phase}")
    eventually(lambda: backups.drill.unhealthy(SLOT), PATIENCE)
    eventually(lambda: "" if backups.status()["sets"] else "not looked at yet", 60)
    assert {one["set"] for one in backups.status()["sets"] if one["set"] in sets} == sets, "a set of before is gone"
    newest = backups.make()
    assert set(backups.one(newest)["missing"]) == set()
    assert_clean(backups)
