"""Repositories in S3 and behind SFTP, against real servers: sets go there, come back from there, and outlive this host.

One stack for all of it, and in this order: the last test takes the whole stack away.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError

from ops.backup.restore.volumes import folder_of
from ops.core.machine import REPOSITORY
from ops.core.process import Result
from ops.secrets import verifiers
from ops.store import versions
from tests.drill.backup.servers import BUCKET, S3, Sftp, s3
from tests.drill.stack import Drill, inv
from tests.smoke.live import eventually

KEY, BACKUP = "backup-cipher", "backup"
JOB_SECONDS = 600.0
LOOK_SECONDS = 90.0
"""Until the scheduler has seen what a job by hand has made; longer than it takes to look."""
RETRY_SECONDS = 300.0
"""From a server that is back until all of it was read: it is noticed within a minute, and a small repository takes a minute."""
Record = Callable[..., None]


@dataclass(frozen=True)
class Elsewhere:
    """The stack, and the two servers that its settings name."""

    drill: Drill
    s3: S3
    sftp: Sftp
    folder: Path

    def podman(self, *argv: str) -> str:
        return self.drill.project.host.run(("podman", *argv), timeout=JOB_SECONDS).stdout

    def psql(self, sql: str) -> str:
        name = f"{self.drill.project.name}-postgres"
        return self.podman("exec", name, "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", "app", "-c", sql).strip()

    def status(self) -> dict[str, Any]:
        name = f"{self.drill.project.name}-backup"
        answer = self.drill.project.host.run(("podman", "exec", name, "backup", "status", "--json"), ok=None, timeout=60)
        report: dict[str, Any] = json.loads(answer.stdout)
        return report

    def place(self, name: str) -> dict[str, Any]:
        return next(one for one in self.status()["repositories"] if one["name"] == name)

    def idle(self) -> None:
        eventually(lambda: f"{self.status()['running']} runs" if self.status()["running"] else "", JOB_SECONDS)

    def make(self, kind: str = "incr") -> dict[str, Any]:
        """A new set by the operator's command, as it is listed then."""
        before = {one["set"] for one in self.status()["sets"]}
        succeeded("backup", "--kind", kind)
        found: list[dict[str, Any]] = [one for one in self.seen_anew()["sets"] if one["set"] not in before]
        assert found, "the new set is not listed"
        return found[0]

    def seen_anew(self) -> dict[str, Any]:
        """What there is, looked at after now: a set is listed while it is being made. A long job may run on."""
        since = datetime.now(UTC)

        def look() -> str:
            report = self.status()
            after = datetime.fromisoformat(report["seen"]) - since
            begun_since = after > timedelta(seconds=LOOK_SECONDS if report["running"] else 0)
            return "" if begun_since else "not looked at since"

        eventually(look, JOB_SECONDS)
        return self.status()


def succeeded(*arguments: str) -> Result:
    answer = inv(*arguments)
    assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr
    return answer


def held(one: dict[str, Any]) -> set[str]:
    """Repositories that hold all of a set."""
    return {name for name, place in one["repositories"].items() if place["label"] and place["snapshot"]}


@pytest.fixture(scope="module")
def elsewhere(drill: Drill, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Elsewhere]:
    """Both declared, their credentials given, one set in all three places."""
    folder = tmp_path_factory.mktemp("elsewhere")
    sftp = Sftp(drill, folder)
    with s3(folder) as server, pytest.MonkeyPatch.context() as patched:
        try:
            sftp.build(dict(drill.project.images["backup"].bases)["bookworm"])
            sftp.start()
            patched.setenv("CC03_STACK", str(settings(folder, server, sftp)))
            if any(drill.project.state.secrets.glob("repository-*")):
                drill.destroy()  # an earlier run has given them credentials
            refused = inv("deploy", "--yes")
            assert refused.returncode == 3, refused.stderr
            assert "inv backup.credentials" in refused.stderr
            succeeded("backup.credentials", "offsite", str(server.credentials(server.host)))
            printed = succeeded("backup.credentials", "nas").stdout
            sftp.allow(next(line for line in printed.splitlines() if line.startswith("ssh-ed25519 ")))
            drill.deploy()
            drill.await_healthy()
            found = Elsewhere(drill, server, sftp, folder)
            found.idle()
            found.psql("CREATE TABLE IF NOT EXISTS elsewhere (n int PRIMARY KEY)")
            yield found
        finally:
            sftp.remove()
    # The stack must not know of them any more.
    drill.deploy()


def settings(folder: Path, server: S3, sftp: Sftp) -> Path:
    content = yaml.safe_load((REPOSITORY / "config" / "stack.yaml").read_text())
    content["backup"] = {**content.get("backup", {}), "repositories": [server.entry(), sftp.entry()]}
    path = folder / "stack.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def insert(elsewhere: Elsewhere, number: int) -> None:
    elsewhere.psql(f"INSERT INTO elsewhere VALUES ({number})")  # noqa: S608


def test_set_goes_to_all_and_is_proved_out_of_each(elsewhere: Elsewhere, record: Record) -> None:
    insert(elsewhere, 1)
    made = elsewhere.make("full")

    assert held(made) == {"local", "offsite", "nas"}
    for name in ("offsite", "nas"):
        began = time.monotonic()
        succeeded("backup.verify", made["set"], "--repository", name)
        record(f"drill of a set out of {name}", time.monotonic() - began)
        assert elsewhere.place(name)["error"] == ""


def test_credentials_stand_nowhere_but_in_files(elsewhere: Elsewhere) -> None:
    secrets = [elsewhere.s3.host["AccessKeyId"], elsewhere.s3.host["SecretAccessKey"]]
    name, state = f"{elsewhere.drill.project.name}-backup", elsewhere.drill.project.state
    said = elsewhere.podman("inspect", name) + elsewhere.podman("logs", name)
    said += "".join(path.read_text() for path in state.root.glob("*.jsonl"))
    said += "".join(path.read_text() for path in (state.releases / "current").resolve().rglob("*") if path.is_file())

    assert [secret for secret in secrets if secret in said] == []


def test_server_that_is_away_stops_no_backup_and_is_made_up_for(elsewhere: Elsewhere, record: Record) -> None:
    elsewhere.make()
    with elsewhere.s3.away():
        made = elsewhere.make()
        assert held(made) == {"local", "nas"}
        eventually(lambda: "" if elsewhere.place("offsite")["error"] else "nobody noticed", JOB_SECONDS)
        assert elsewhere.place("nas")["error"] == ""
        with elsewhere.sftp.away():
            assert held(elsewhere.make()) == {"local"}
        name = f"{elsewhere.drill.project.name}-backup"
        read = ("podman", "exec", name, "backup", "run", "verify", "--repository", "offsite")
        answer = elsewhere.drill.project.host.run(read, ok=None, timeout=JOB_SECONDS)
        assert answer.returncode == 1
        assert "offsite does not answer" in answer.stdout
        assert elsewhere.seen_anew()["jobs"]["verify-remote"]["failures_in_row"] == 0, "that is no damage"
    back = datetime.now(UTC)
    eventually(lambda: elsewhere.place("offsite")["error"], JOB_SECONDS)
    eventually(lambda: elsewhere.status()["jobs"]["verify-remote"]["unreached"], RETRY_SECONDS)
    assert datetime.fromisoformat(elsewhere.status()["jobs"]["verify-remote"]["last_success"]) > back
    assert elsewhere.status()["problems"] == []
    record("from a server that is back until it is read again", (datetime.now(UTC) - back).total_seconds())
    assert held(elsewhere.make()) == {"local", "offsite", "nas"}
    waiting = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"
    eventually(lambda: "" if elsewhere.psql(waiting) == "0" else "WAL waits", JOB_SECONDS)


def test_history_outlives_who_has_taken_this_host(elsewhere: Elsewhere) -> None:
    """With all that this host knows nothing can be removed for good; what is hidden comes back, and backups go on."""
    thief, owner = (elsewhere.s3.client("s3", keys) for keys in (elsewhere.s3.host, elsewhere.s3.admin))
    before = elsewhere.place("offsite")
    versions = owner.list_object_versions(Bucket=BUCKET)["Versions"]
    attempts: tuple[Callable[[], Any], ...] = (
        lambda: thief.delete_object(Bucket=BUCKET, Key=versions[0]["Key"], VersionId=versions[0]["VersionId"]),
        lambda: thief.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"}),
        lambda: thief.delete_bucket(Bucket=BUCKET),
    )
    for attempt in attempts:
        with pytest.raises(ClientError, match="Access Denied"):
            attempt()

    for page in thief.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
        for item in page.get("Contents", ()):
            thief.delete_object(Bucket=BUCKET, Key=item["Key"])
    assert thief.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0
    for page in owner.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
        for marker in page.get("DeleteMarkers", ()):
            if marker["IsLatest"]:
                owner.delete_object(Bucket=BUCKET, Key=marker["Key"], VersionId=marker["VersionId"])

    made = elsewhere.make()
    after = elsewhere.place("offsite")
    assert "offsite" in held(made)
    assert after["backups"] == before["backups"] + 1
    succeeded("backup.verify", made["set"], "--repository", "offsite")
    assert elsewhere.status()["problems"] == []


def test_append_only_repository_is_pruned_by_its_owner_alone(elsewhere: Elsewhere) -> None:
    elsewhere.make("full")
    succeeded("backup.verify")
    elsewhere.idle()
    before = elsewhere.place("offsite")["backups"]
    succeeded("backup.prune", "--yes")
    assert elsewhere.place("offsite")["backups"] == before
    answer = inv("backup.prune", "--repository", "offsite", "--yes")
    assert answer.returncode == 2, answer.stderr

    owner = str(elsewhere.s3.credentials(elsewhere.s3.admin))
    succeeded("backup.prune", "--repository", "offsite", "--credentials", owner, "--yes")
    eventually(lambda: "" if elsewhere.place("offsite")["backups"] < before else f"{before} are left", LOOK_SECONDS)
    assert "offsite" in held(elsewhere.make())


def test_another_key_opens_all_of_them_and_the_old_one_none(elsewhere: Elsewhere, record: Record, tmp_path: Path) -> None:
    """In the append-only one the old key still opens files, since nothing can be deleted there: the log says so."""
    elsewhere.idle()
    before, state = elsewhere.make(), elsewhere.drill.project.state
    old = max(versions.numbers(state, KEY))
    former = versions.value_of(state, KEY, old)
    answer = succeeded("secrets.rotate", KEY, "--export", str(tmp_path / "new.txt"), "--yes")
    record("secrets.rotate backup-cipher, of three repositories", answer.seconds)

    assert "does not answer" not in answer.stdout + answer.stderr
    assert not verifiers.cipher_accepts(elsewhere.drill.project, BACKUP, old, former)
    assert versions.numbers(state, KEY) == [old + 1], "every repository has the new key, so the former one is not kept"
    elsewhere.idle()
    after = elsewhere.make()
    assert held(after) == {"local", "offsite", "nas"}
    for made in (before, after):
        succeeded("backup.verify", made["set"])
        for name in ("offsite", "nas"):
            succeeded("backup.verify", made["set"], "--repository", name)
    said = elsewhere.podman("logs", f"{elsewhere.drill.project.name}-backup")
    assert "the old key still opens the files" in said
    assert inv("secrets").returncode == 0
    elsewhere.drill.assert_as_wanted()


@pytest.mark.parametrize(("name", "number"), [("nas", 10), ("offsite", 11)])
def test_data_come_back_from_elsewhere_when_the_local_repository_is_gone(
    elsewhere: Elsewhere, name: str, number: int, record: Record
) -> None:  # fmt: skip
    insert(elsewhere, number)
    elsewhere.make()
    insert(elsewhere, number + 100)
    elsewhere.psql("SELECT pg_switch_wal()")
    waiting = "SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'"
    eventually(lambda: "" if elsewhere.psql(waiting) == "0" else "WAL waits", JOB_SECONDS)
    elsewhere.idle()
    volume = f"{elsewhere.drill.project.name}-backup-repository"
    local = Path(elsewhere.podman("volume", "inspect", "--format", "{{.Mountpoint}}", volume).strip())
    for part in ("postgres", "files"):
        shutil.rmtree(local / part)
    data = folder_of(elsewhere.drill.project, "postgres-data")
    assert data
    shutil.rmtree(data / "data" / "base")

    began = time.monotonic()
    succeeded("restore", "--repository", name, "--yes")
    record(f"restore from {name}, local repository gone", time.monotonic() - began)

    assert elsewhere.psql(f"SELECT count(*) FROM elsewhere WHERE n IN ({number}, {number + 100})") == "2"  # noqa: S608
    assert held(elsewhere.make("full")) == {"local", "offsite", "nas"}


def test_empty_host_comes_back_from_s3(elsewhere: Elsewhere, record: Record) -> None:
    insert(elsewhere, 20)
    elsewhere.make()
    rows = elsewhere.psql("SELECT count(*), sum(n) FROM elsewhere")
    key, host = str(elsewhere.folder / "key.txt"), str(elsewhere.s3.credentials(elsewhere.s3.host))
    private = elsewhere.folder / "nas.key"
    secret = elsewhere.drill.project.state.secrets / "repository-nas-key" / "1"
    private.write_text(secret.read_text())
    private.chmod(0o600)
    succeeded("backup.key", "--export", key)
    elsewhere.idle()
    elsewhere.drill.destroy()

    read = inv("restore", "--bootstrap", elsewhere.sftp.url(), "--key", key, "--credentials", str(private), "--plan")
    assert read.returncode == 0, read.stdout + read.stderr
    assert "newest set" in read.stdout
    began = time.monotonic()
    succeeded("restore", "--bootstrap", elsewhere.s3.url(), "--key", key, "--credentials", host)
    record("empty host, from S3", time.monotonic() - began)

    elsewhere.drill.await_healthy()
    assert elsewhere.psql("SELECT count(*), sum(n) FROM elsewhere") == rows
    assert held(elsewhere.make()) == {"local", "offsite", "nas"}
