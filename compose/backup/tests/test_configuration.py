from dataclasses import replace
from pathlib import Path

import pytest
from backup import configuration, repositories, restic
from backup.errors import JobError
from test_settings import DISK, S3, SFTP, document

TEMPLATE = (Path(__file__).parents[3] / "config/backup/pgbackrest.conf").read_text()
READ = {"/run/secrets/backup-cipher": "CIPHER", "/run/secrets/a": "AKID", "/run/secrets/b": "SECRET", "/run/secrets/c": "PEM"}
PLACES = repositories.parse(document(S3, SFTP, DISK), keep=3)


def lines() -> list[str]:
    return configuration.pgbackrest(TEMPLATE, PLACES, READ).splitlines()


def test_each_repository_is_encrypted_with_the_one_key():
    assert [line for line in lines() if "cipher-pass" in line] == [f"repo{number}-cipher-pass=CIPHER" for number in range(1, 5)]


def test_s3_as_pgbackrest_wants_it():
    for line in ("repo2-type=s3", "repo2-path=/stack/postgres", "repo2-s3-endpoint=s3.example.org:9000", "repo2-s3-key=AKID",
                 "repo2-s3-key-secret=SECRET", "repo2-s3-uri-style=path", "repo2-block=y"):  # fmt: skip
        assert line in lines()


def test_sftp_trusts_the_one_host_key_only():
    assert "repo3-sftp-host-key-check-type=strict" in lines()
    assert "repo3-sftp-known-host=/run/backup/known-hosts-nas" in lines()
    assert not any("PEM" in line for line in lines())


def test_a_drill_restores_into_the_scratch_space_and_reaches_no_server():
    conf = configuration.for_drill("\n".join(lines()))
    assert "pg1-path=/var/lib/pgbackrest/scratch/postgres" in conf
    assert "pg1-host" not in conf and "tls-server" not in conf and "lock-path=/run/pgbackrest/lock" not in conf
    assert "repo4-path=/repositories/disk/postgres" in conf


def test_the_signing_key_is_derived_from_the_secret_alone():
    one, two = configuration.signing_key("a"), configuration.signing_key("b")
    assert one == configuration.signing_key("a") != two
    assert len(one) == 48 and one.startswith(bytes.fromhex("302e0201"))


def test_no_secret_stands_in_arguments_or_environment():
    said = " ".join(str(word) for place in PLACES for word in restic.argv(place, "snapshots"))
    said += str(restic.environment(*PLACES))
    assert not [secret for secret in READ.values() if secret in said]
    assert "/run/backup/aws-offsite" in said


def test_credentials_of_one_job_stand_in_files_of_their_own_and_go_with_it(tmp_path, monkeypatch):
    secrets = {name: tmp_path / name for name in ("cipher", "a", "b", "c")}
    for name, path in secrets.items():
        path.write_text(f"{name} of this host\n")
    (tmp_path / "pgbackrest.conf").write_text(TEMPLATE)
    for name, value in (
        ("CIPHER", secrets["cipher"]),
        ("CONFIG", tmp_path),
        ("RUN", tmp_path),
        ("GIVEN_CONF", tmp_path / "given"),
    ):
        monkeypatch.setattr(configuration, name, value)
    places = [
        replace(one, secrets={part: secrets[Path(path).name] for part, path in (one.secrets or {}).items()}) for one in PLACES
    ]
    before = set(tmp_path.iterdir())

    with configuration.with_credentials(places[1], {"key": "OWNER", "key-secret": "HERS"}, places) as (other, conf):
        text = conf.read_text()
        assert (other.name, other.number, other.given, other.append_only) == ("offsite", 2, True, True)
        assert "repo2-s3-key=OWNER" in text and "repo2-s3-key=a of this host" not in text
        assert "OWNER" in configuration.aws_file(other).read_text()
        assert configuration.aws_file(other) != configuration.aws_file(places[1])
        assert {path.stat().st_mode & 0o777 for path in (conf, configuration.aws_file(other))} == {0o600}
    left = set(tmp_path.iterdir()) - before
    assert not [path for path in left if "OWNER" in path.read_text()]

    with pytest.raises(JobError, match="offsite takes key, key-secret"), configuration.with_credentials(places[1], {}, places):
        pass
