import json
from datetime import time, timedelta
from pathlib import Path

import pytest
from backup import repositories, settings

SHIPPED = (Path(__file__).parents[3] / "config/backup/backup.toml").read_text()
S3 = {
    "name": "offsite", "kind": "s3", "append_only": True, "keep": 14,
    "where": {"endpoint": "https://s3.example.org:9000", "bucket": "b", "prefix": "stack", "path_style": True},
    "secrets": {"key": "/run/secrets/a", "key-secret": "/run/secrets/b"},
}  # fmt: skip
SFTP = {
    "name": "nas", "kind": "sftp", "secrets": {"key": "/run/secrets/c"},
    "where": {"host": "nas", "user": "backup", "path": "/srv/cc03", "host_key": "ssh-ed25519 AAAA", "port": 2222},
}  # fmt: skip
DISK = {"name": "disk", "kind": "folder", "where": {"path": "/repositories/disk"}}


def document(*entries: dict) -> str:
    return json.dumps({"version": 1, "repositories": list(entries)})


def test_the_shipped_file_is_read():
    read = settings.parse(SHIPPED)
    assert read.sets.full_at == time(2, 30)
    assert read.sets.incr_every == timedelta(hours=1)
    assert read.sets.keep == 7


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("keep = 7", "kep = 7", "did you mean sets.keep"),
        ('full_at = "02:30"', 'full_at = "25:00"', "sets.full_at: '25:00' is not a time of day"),
        ('diff_every = "6h"', 'diff_every = "6 hours"', "sets.diff_every: '6 hours' is not a duration"),
        ("keep = 7", "keep = 0", "sets.keep: 0 is not a whole number"),
        ('grace = "10m"', "", "missing key health.grace"),
        ("[proof]", "[proof", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_named(old, new, message):
    with pytest.raises(settings.SettingsError, match=message.replace("(", r"\(")):
        settings.parse(SHIPPED.replace(old, new))


def test_without_a_list_there_is_the_local_repository_only():
    (local,) = repositories.parse(None, keep=3)
    assert (local.name, local.number, local.keep, local.append_only) == ("local", 1, 3, False)
    assert repositories.restic_url(local) == "/var/lib/pgbackrest/files"


def test_further_repositories_are_numbered_in_their_order():
    read = repositories.parse(document(S3, SFTP, DISK), keep=3)
    assert [(one.name, one.number, one.keep) for one in read] == [
        ("local", 1, 3),
        ("offsite", 2, 14),
        ("nas", 3, 3),
        ("disk", 4, 3),
    ]
    assert [repositories.restic_url(one) for one in read[1:]] == [
        "s3:https://s3.example.org:9000/b/stack/files", "sftp:backup@nas:/srv/cc03/files", "/repositories/disk/files",
    ]  # fmt: skip
    assert [one.postgres for one in read[1:]] == ["/stack/postgres", "/srv/cc03/postgres", "/repositories/disk/postgres"]
    assert read[1].append_only and not read[2].append_only
    assert [one.remote for one in read] == [False, True, True, False]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({**S3, "kind": "s4"}, "repositories[0].kind: 's4' is none of"),
        ({**S3, "where": {"endpoint": "x"}}, "missing key repositories[0].where.bucket"),
        ({**S3, "secrets": {"key": "/x"}}, "missing key repositories[0].secrets.key-secret"),
        ({**DISK, "apend_only": True}, "did you mean repositories[0].append_only"),
        ({**DISK, "name": "local"}, "two repositories are called local"),
    ],
)
def test_a_wrong_list_is_refused(entry, message):
    with pytest.raises(settings.SettingsError) as raised:
        repositories.parse(document(entry), keep=3)
    assert message in str(raised.value)


def test_a_list_of_another_version_is_refused():
    with pytest.raises(settings.SettingsError, match="version 2"):
        repositories.parse(json.dumps({"version": 2, "repositories": []}), keep=3)
