from pathlib import Path

from backup import configuration, repositories, restic
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
