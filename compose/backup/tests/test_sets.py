"""A set: what is in it, what is missing, and what of it fails. The programs stand in at the edge of the process (stack.py)."""

import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from backup import drill, jobs, logs_copy, paths, sets
from backup.errors import CommandError, JobError
from backup.progress import Progress
from stack import SEGMENTS, again, made, manifest_of

LOCAL, DISK = 1, 2


def test_a_set_is_in_every_repository_and_says_what_it_consists_of(container):
    result = made(container)
    said = manifest_of(container)

    assert (result["missing"], result["failed"], result["exact"]) == ([], {}, True)
    assert result["labels"] == {"local": "20260311-023000F", "disk": "20260312-023000F"} == said["labels"]
    assert (said["set"], said["kind"], said["missing"]) == (result["set"], "full", [])
    assert said["fingerprint"]["databases"]["app"] == {"public.items": {"rows": 2, "sum": "7"}}
    assert said["fingerprint"]["segment"] == SEGMENTS[0]
    assert said["redis"]["keys"] == 5 and said["prometheus"] == {"blocks": ["01BLOCK"]}
    assert said["logs"] == {"days": ["20260310"]} and said["alertmanager"] == {"files": ["silences"]}
    assert said["host"]["facts"] == {"release": 7} and said["host"]["bytes"] > 0
    assert list(container.held[DISK].snapshots) == [result["snapshot"]]
    assert list(result["seconds_of"]) == [
        "postgres/local", "postgres/disk", "fingerprint", "logs", "redis", "prometheus", "alertmanager", "host",
        "files/local", "files/disk",
    ]  # fmt: skip


def test_a_set_holds_its_files_and_leaves_nothing_in_the_clear(container):
    (paths.STAGE / "left-by-a-kill").mkdir(parents=True)
    made(container)
    ((tags, folder),) = container.held[LOCAL].snapshots.values()
    staged = folder / paths.STAGE.relative_to("/")

    assert sorted(path.name for path in staged.iterdir()) == ["host.tar", "logs", "manifest.json", "manifest.sig", "redis.rdb"]
    assert (staged / "logs" / "20260310" / "datadb" / "PART").is_dir() or (
        folder / _data("logs/data/partitions/20260310")
    ).is_dir()
    assert (folder / _data("prometheus/01BLOCK/meta.json")).is_file()
    assert (folder / _data("alertmanager/silences")).is_file()
    assert "kind=full" in tags
    assert not paths.STAGE.exists()


def _data(inner: str) -> Path:
    return (paths.DATA / inner).relative_to("/")


def test_the_fingerprint_is_taken_between_the_backup_and_the_mark_that_archives_it(container):
    made(container)
    asked = [what for what in container.asked if what.startswith(("pgbackrest backup", "psql app", "restic backup"))]
    assert asked == ["pgbackrest backup 1", "pgbackrest backup 2", "psql app", "restic backup 1"]
    statements = [sql for _, sql in container.said]
    assert any("items" in sql for sql in statements[: next(at for at, sql in enumerate(statements) if "restore_point" in sql)])


def test_stage_is_removed_also_where_the_set_fails(container):
    container.fails["restic backup"] = CommandError("no")
    with pytest.raises(JobError):
        sets.make("full", container.repositories, Progress())
    assert not paths.STAGE.exists()
    assert [what for what in container.asked if what == "restic backup 1"] == ["restic backup 1"] * sets.ATTEMPTS


@pytest.mark.parametrize(
    ("fails", "missing"),
    [
        ({"redis-cli": CommandError("refused")}, ["redis"]),
        ({"redis-cli": OSError("refused")}, ["redis"]),
        ({"host": None}, ["host"]), ({"alertmanager": None}, ["alertmanager"]), ({"prometheus": None}, ["prometheus"]),
    ],
)  # fmt: skip
def test_a_component_that_cannot_be_had_is_noted_and_the_rest_is_kept(container, fails, missing):
    for what, failure in fails.items():
        if failure:
            container.fails[what] = failure
        elif what == "host":
            (paths.HOST / "host.tar").unlink()
        else:
            shutil.rmtree(paths.DATA / what)
    result = made(container)

    assert result["missing"] == missing == manifest_of(container)["missing"]
    assert missing[0] not in manifest_of(container)
    ((tags, _),) = container.held[LOCAL].snapshots.values()
    assert [tag for tag in tags if tag.startswith("missing=")] == [f"missing={name}" for name in missing]


def test_log_store_that_cannot_be_read_is_missing_once(container):
    shutil.rmtree(paths.DATA / "logs")
    assert made(container)["missing"] == ["logs"]


def test_a_further_repository_that_fails_fails_alone(container):
    container.fails["pgbackrest backup 2"] = CommandError("no room")
    result = made(container)
    assert (result["failed"], list(result["labels"])) == ({"disk": "no room"}, ["local"])
    assert "restic copy 2" not in container.asked

    container.fails = {"restic copy 2": CommandError("unreadable")}
    assert again(container)["failed"] == {"disk": "unreadable"}


def test_a_local_repository_that_fails_fails_the_set(container):
    container.fails["pgbackrest backup 1"] = CommandError("no room")
    error, _ = jobs.run("full", lambda: jobs.make_set("full", container.repositories, Progress()))
    assert error == "no room"
    assert "pgbackrest backup 2" not in container.asked and "restic backup 1" not in container.asked


@pytest.mark.parametrize(("code", "told"), [(12, "the key is not the one of the repository local: damaged"), (1, "damaged")])
def test_a_wrong_key_is_told_where_restic_knows_it(container, code, told):
    container.fails = {"pgbackrest backup 1": CommandError("damaged"), "restic snapshots 1": CommandError("wrong", code)}
    with pytest.raises(JobError) as raised:
        sets.make("full", container.repositories, Progress())
    assert str(raised.value) == told


def test_stanzas_are_made_where_there_is_none_and_before_any_backup(container):
    made(container)
    again(container)
    assert container.asked.count("pgbackrest stanza-create") == 1
    assert container.asked.index("pgbackrest stanza-create") < container.asked.index("pgbackrest backup 1")


def test_stanza_of_a_repository_that_does_not_answer_stops_nobody_else(container):
    def half() -> None:
        container.held[LOCAL].stanza = True
        raise CommandError("disk does not answer")

    container.fails["pgbackrest stanza-create"] = half
    sets.stanzas(container.repositories)
    container.held[LOCAL].stanza = False
    container.fails["pgbackrest stanza-create"] = CommandError("refused")
    with pytest.raises(JobError, match="refused"):
        sets.stanzas(container.repositories)


def test_halves_are_removed_where_things_may_be_removed(container):
    container.repositories[1] = replace(container.repositories[1], append_only=True)
    made(container)
    assert "pgbackrest repo-ls 1" in container.asked and "pgbackrest repo-ls 2" not in container.asked


def test_files_that_prometheus_replaced_meanwhile_are_taken_again(container):
    def replaced() -> None:
        (paths.DATA / "prometheus" / "01BLOCK").rename(paths.DATA / "prometheus" / "02BLOCK")
        container.fails = {"restic forget": restored}

    def restored() -> None:
        (paths.DATA / "prometheus" / "02BLOCK").rename(paths.DATA / "prometheus" / "01BLOCK")
        container.fails = {}

    container.fails["restic backup"] = replaced
    made(container)
    assert container.asked.count("restic backup 1") == 2
    assert len(container.held[LOCAL].snapshots) == 1


def test_blocks_that_are_replaced_every_time_fail_the_set(container):
    container.fails["restic backup"] = lambda: shutil.rmtree(paths.DATA / "prometheus" / "01BLOCK", ignore_errors=True)
    with pytest.raises(JobError, match="faster than they could be read"):
        sets.make("full", container.repositories, Progress())
    assert container.held[LOCAL].snapshots == {}
    assert container.asked.count("restic backup 1") == sets.ATTEMPTS


def test_a_set_needs_the_wal_behind_its_fingerprint_in_the_archive(container):
    container.archives = False
    with pytest.raises(JobError, match=f"{SEGMENTS[0]} did not reach the repository within 120 s"):
        sets.make("full", container.repositories, Progress())
    assert "restic backup 1" not in container.asked


def test_one_who_writes_all_the_time_makes_a_set_that_cannot_be_compared(container):
    container.writers = 1
    assert made(container)["exact"] is False


def test_a_set_is_named_by_its_moment():
    assert sets.name_at(datetime(2026, 3, 10, 2, 30, 5, tzinfo=UTC)) == "20260310T023005Z"


@pytest.mark.parametrize(("module", "name"), [(sets, "STAGE"), (drill, "SCRATCH")])
def test_data_in_the_clear_that_cannot_be_removed_fails_the_job(module, name, tmp_path, monkeypatch):
    def busy(*_, **__):
        raise OSError(16, "Device or resource busy", "stage")

    folder = tmp_path / "stage"
    folder.mkdir()
    monkeypatch.setattr(module, name, folder)
    monkeypatch.setattr(os, "rmdir", busy)

    with pytest.raises(OSError, match="busy"):
        module.clean()


def test_set_names_its_project(container, monkeypatch):
    monkeypatch.setenv("PROJECT", "shop")
    made(container)
    assert manifest_of(container)["project"] == "shop"


def test_log_store_of_which_nobody_knows_how_far_it_is_goes_without(container, monkeypatch):
    def fails(*_: object) -> float:
        raise OSError("no checkpoint")

    monkeypatch.setattr(logs_copy, "mark", fails)
    assert made(container)["missing"] == ["logs"] == manifest_of(container)["missing"]


@pytest.mark.parametrize(("missing", "level"), [("host", "INFO"), ("alertmanager", "WARNING")])
def test_host_that_has_handed_over_nothing_yet_is_no_warning(container, monkeypatch, missing, level):
    lines = []
    monkeypatch.setattr(sets, "log", lambda level, message, **fields: lines.append((level, fields.get("component"))))
    if missing == "host":
        (paths.HOST / "host.tar").unlink()
    else:
        shutil.rmtree(paths.DATA / "alertmanager")
    made(container)
    assert lines == [(level, missing)]
