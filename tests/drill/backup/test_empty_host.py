"""The host is gone: nothing is left but a copy of the repository and the key."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.core.process import run
from ops.secrets import backup_keys as keys
from tests.drill.backup.hands import Backups
from tests.drill.conftest import Record
from tests.drill.stack import inv
from tests.smoke.accounts import Account
from tests.smoke.conftest import item_input
from tests.smoke.live import eventually

TABLES = ("items", "ledger")
COPY_SECONDS = 600.0


@pytest.fixture
def vault(backups: Backups) -> Iterator[Path]:
    """A folder off the stack, with the key."""
    folder = backups.drill.project.state.root.with_name(f"{backups.drill.project.name}.vault")
    folder.mkdir(mode=0o700)
    answer = inv("backup.key", "--export", str(folder / "key.txt"))
    assert answer.returncode == 0, answer.stderr
    yield folder
    shutil.rmtree(folder)


def test_one_command_brings_everything_back(backups: Backups, person: Account, vault: Path, record: Record) -> None:
    live, drill = backups.live, backups.drill
    item = person("POST", "/items", json=item_input())
    assert item.status_code == 201, item.text
    tracer = f"drill-{time.time_ns()}"
    live.site.get(f"/{tracer}")
    eventually(lambda: "" if live.log_lines(f'"{tracer}"') else "the line is not in the store", 60)
    authority = live.ca.read_bytes()
    backups.make()
    backups.write(1001, 1500)
    backups.drill.psql("SELECT pg_switch_wal()")
    backups.await_archived()
    before, name = backups.sums(*TABLES), drill.project.name
    run(("cp", "-a", str(backups.mount()), str(vault / "repository")), timeout=COPY_SECONDS)
    drill.destroy()
    shutil.rmtree(drill.project.state.root, ignore_errors=True)
    assert run(("podman", "volume", "ls", "--quiet", "--filter", f"name={name}-"), timeout=30).stdout == ""

    arguments = ("restore", "--bootstrap", str(vault / "repository"), "--key", str(vault / "key.txt"))
    looked = inv(*arguments, "--plan")
    assert looked.returncode == 0, looked.stderr
    began = time.monotonic()
    answer = inv(*arguments)
    record("inv restore --bootstrap on an empty host whose images are built", time.monotonic() - began, note="RTO")
    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr
    drill.await_healthy()
    drill.assert_as_wanted()
    assert backups.sums(*TABLES) == before, "what was archived after the set is a part of it"
    live = backups.live
    assert live.ca.read_bytes() == authority
    person.live = live
    person.log_in_anew()
    assert person("GET", f"/items/{item.json()['id']}").json() == item.json()
    assert person("POST", "/items", json=item_input()).status_code == 201
    eventually(lambda: "" if live.log_lines(f'"{tracer}"') else "the line of before is gone", 60)
    eventually(lambda: "" if backups.status()["sets"][0]["kind"] == "full" else "no set of this host", 120)
    backups.run("drill")
    assert inv("backup.key", "--check", str(vault / "key.txt")).returncode == 0
    assert inv("backup.verify").returncode == 0


def test_the_key_of_another_repository(backups: Backups, vault: Path, tmp_path: Path) -> None:
    """As on an empty host: under the name of a project that is not here."""
    wrong, earlier = tmp_path / "wrong.txt", tmp_path / "earlier.txt"
    wrong.write_text("x" * 43)
    earlier.write_text(keys.read(vault / "key.txt"))
    empty = f"{backups.drill.project.name}-two"
    state = backups.drill.project.state.root.with_name(empty)
    try:
        for file, said in (
            (wrong, ["the key is not the one of this repository"]), (vault / "key.txt", ["CC03_PROJECT="]),
            # A host that was upgraded has older sets, which that file opens.
            (earlier, ["inv backup.key --export", "CC03_PROJECT="]),
        ):  # fmt: skip
            answer = inv(
                "restore", "--bootstrap", str(backups.mount()), "--key", str(file), "--plan", env={"CC03_PROJECT": empty}
            )
            assert answer.returncode and any(words in answer.stderr for words in said), answer.stdout + answer.stderr
        assert not any((state / "secrets").glob("*"))
    finally:
        shutil.rmtree(state, ignore_errors=True)
