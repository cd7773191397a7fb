"""Real processes and files: pipes, exit codes, deadlines and copies are the subject."""

import json
import os
import tarfile
import time
from pathlib import Path

import pytest
from backup import command, configuration, drill, extract, logs_copy, manifest
from backup.errors import CommandError, JobError
from backup.progress import Progress
from test_configuration import PLACES


def test_output_comes_back_and_lines_as_they_come():
    lines = []
    assert command.run(["sh", "-c", "echo one; echo two"], deadline=10, on_line=lines.append) == "one\ntwo\n"
    assert lines == ["one", "two"]


def test_a_failure_tells_what_the_program_said():
    with pytest.raises(CommandError, match="exit 3: ERROR: it broke") as raised:
        command.run(["sh", "-c", "echo before; echo ERROR: it broke >&2; exit 3"], deadline=10)
    assert raised.value.returncode == 3


def test_what_does_not_end_is_stopped_with_all_that_it_has_started(tmp_path):
    with pytest.raises(CommandError, match="not done within 1 s"):
        command.run(["sh", "-c", f"sleep 60 & echo $! > {tmp_path}/pid; wait"], deadline=1)
    time.sleep(0.2)
    left = Path("/proc", (tmp_path / "pid").read_text().strip(), "stat")
    assert not left.exists() or left.read_text().split()[2] == "Z"


def test_the_manifest_is_believed_only_unaltered_and_from_its_own_host(tmp_path):
    keys = {}
    for name in ("own", "other"):
        keys[name] = tmp_path / f"{name}.der"
        keys[name].write_bytes(configuration.signing_key(name))
    manifest.write(manifest.build(name="S", kind="full", project="p", parts={"missing": []}), tmp_path, keys["own"])
    own = manifest.public_key(keys["own"])
    assert manifest.read(tmp_path, own)["set"] == "S"
    with pytest.raises(JobError, match="not signed by this stack"):
        manifest.read(tmp_path, manifest.public_key(keys["other"]))
    (tmp_path / "manifest.json").write_text((tmp_path / "manifest.json").read_text().replace('"S"', '"T"'))
    with pytest.raises(JobError, match="altered"):
        manifest.read(tmp_path, own)


def partition(root, day: str, parts: list[str], age: float = 0) -> None:
    for table in ("datadb", "indexdb"):
        for part in parts:
            (root / day / table / part).mkdir(parents=True)
            (root / day / table / part / "index.bin").write_text(part)
        (root / day / table / "parts.json").write_text(json.dumps(parts))
        if age:
            os.utime(root / day / table / "parts.json", (time.time() - age,) * 2)


def test_busy_days_of_the_log_store_are_copied_and_others_read_in_place(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    partition(source, "20260301", ["A"], age=5 * 86400)
    partition(source, "20260310", ["B", "C"])
    (source / "20260310/datadb/LEFT-OVER").mkdir()
    assert logs_copy.stage(target, 0.0, source) == [source / "20260301"]
    assert sorted(path.name for path in (target / "20260310/datadb").iterdir()) == ["B", "C", "parts.json"]
    assert logs_copy.faults(target) == []
    assert not (target / "20260301").exists()


def test_how_far_the_collector_has_got_goes_along_and_the_store_is_copied_once_it_has_written_that(tmp_path, monkeypatch):
    source, target, checkpoint = tmp_path / "source", tmp_path / "target", tmp_path / "checkpoint.json"
    partition(source, "20260310", ["B"])
    checkpoint.write_text('{"/var/log/containers/redis.log": {"offset": 7}}')
    marked = logs_copy.mark(target, checkpoint)
    assert (target / "checkpoint.json").read_text() == checkpoint.read_text()

    waited = []
    monkeypatch.setattr(logs_copy.time, "sleep", waited.append)
    logs_copy.stage(target, marked, source)
    logs_copy.stage(target, marked - 60, source)
    assert 5 < waited[0] <= logs_copy.FLUSHED_AFTER and waited[1] == 0


def test_nothing_is_noted_where_nothing_was_delivered_yet(tmp_path):
    logs_copy.mark(tmp_path / "target", tmp_path / "none.json")
    assert list((tmp_path / "target").iterdir()) == []


def test_the_collector_may_read_how_far_it_had_got_whatever_the_mode_of_the_copy(tmp_path):
    partition(tmp_path / "logs", "20260310", ["B"])
    copy = tmp_path / "logs/checkpoint.json"
    copy.write_text("{}")
    copy.chmod(0o600)
    extract.gather_logs(PLACES[0], "S", tmp_path, ["20260310"])
    assert copy.stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "logs/data/partitions/20260310/datadb/B").is_dir()


def test_a_part_that_is_gone_is_copied_by_a_newer_list_or_reported(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    partition(source, "20260310", ["B", "C"])
    (source / "20260310/datadb/C").rename(tmp_path / "gone")
    with pytest.raises(JobError, match="merged its parts faster"):
        logs_copy.stage(target, 0.0, source)


def test_a_part_that_is_missing_from_a_restored_copy_is_named(tmp_path):
    partition(tmp_path, "20260310", ["B"])
    (tmp_path / "20260310/indexdb/B").rename(tmp_path / "elsewhere")
    assert logs_copy.faults(tmp_path) == [str(tmp_path / "20260310/indexdb/B")]


def test_facts_of_the_host_are_read_out_of_its_archive(tmp_path):
    (tmp_path / "facts.json").write_text('{"release": 7}')
    with tarfile.open(tmp_path / "host.tar", "w") as archive:
        archive.add(tmp_path / "facts.json", "facts.json")
    assert manifest.facts(tmp_path / "host.tar") == {"members": 1, "facts": {"release": 7}}
    (tmp_path / "host.tar").write_bytes((tmp_path / "host.tar").read_bytes()[:700])
    with pytest.raises(JobError, match="cannot be read"):
        manifest.facts(tmp_path / "host.tar")


def test_a_drill_that_does_not_fit_is_refused():
    drill.must_fit(10**9, 2 * 10**9)
    with pytest.raises(JobError, match="are free"):
        drill.must_fit(10**9, 10**9)


def test_progress_is_lines_of_json_at_most_one_a_second():
    now, lines = [0.0], []
    progress = Progress(lambda text: lines.append(json.loads(text)), lambda: now[0])
    progress.phase("files", "local")
    for at, done in ((1, 10), (1.5, 20), (2.5, 50)):
        now[0] = at
        progress.bytes(done, 100)
    progress.phase("")
    assert [line["event"] for line in lines] == ["phase", "progress", "progress"]
    assert lines[-1] == {
        "event": "progress", "elapsed": 2.5, "phase": "files", "repository": "local", "done": 50, "total": 100, "rate": 20
    }  # fmt: skip
    assert progress.seconds == {"files/local": 2.5}
