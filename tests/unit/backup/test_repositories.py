"""Repositories elsewhere: what stack.yaml and --bootstrap may say of them, and what that becomes in every file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.backup import credentials
from ops.backup.restore.repository import declared_as
from ops.core.errors import HostLacks, UsageProblem
from ops.core.state import State
from ops.engines.podman.host import Host
from ops.project import Project
from ops.stack import applied_settings
from ops.stack.compose import parse_stack
from ops.stack.repositories import Repository, from_url, given, host_key, read_credentials
from ops.stack.settings import Settings
from tests.unit.builders import PORTS, REPOSITORY, STATE, settings

CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMq"
S3: dict[str, Any] = {"endpoint": "s3.example.org:9000", "bucket": "backups", "prefix": "shop/live", "ca": CA}
SFTP: dict[str, Any] = {"host": "nas.example.org", "user": "backup", "path": "/srv/shop", "host_key": KEY}
PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----"


def said(*entries: dict[str, Any]) -> Settings:
    return settings(yaml.safe_dump({"backup": {"repositories": list(entries)}}))


def three() -> Settings:
    return said(
        {"name": "disk2", "path": "/mnt/disk2"}, {"name": "offsite", "s3": S3, "keep": 30, "append_only": True},
        {"name": "nas", "sftp": {**SFTP, "port": 2222, "address": "192.0.2.7"}},
    )  # fmt: skip


def test_repositories_are_complete_and_survive_as_json() -> None:
    disk, offsite, nas = three().repositories

    assert (disk.kind, disk.remote, disk.keep, disk.secrets) == ("folder", False, 7, {})
    assert (offsite.where["endpoint"], offsite.keep, offsite.append_only) == ("https://s3.example.org:9000", 30, True)
    assert offsite.secrets == {"key": "repository-offsite-key", "key-secret": "repository-offsite-key-secret"}
    assert (nas.where["port"], nas.host, nas.secrets) == (2222, "nas.example.org", {"key": "repository-nas-key"})
    kept = three().given()["backup.repositories"]
    assert json.loads(json.dumps(kept)) == kept


@pytest.mark.parametrize(("entry", "words"), [
    ({"name": "a"}, "one of path"),
    ({"name": "a", "path": "/x", "s3": S3}, "one of path"),
    ({"name": "a-key", "s3": S3}, "not ending in -key"),
    ({"name": "a", "s3": {"bucket": "backups"}}, "endpoint, bucket must be there"),
    ({"name": "a", "s3": {**S3, "endpoint": "http://s3.example.org"}}, "reached by TLS"),
    ({"name": "a", "s3": {**S3, "ca": "ca.pem"}}, "PEM"),
    ({"name": "a", "s3": {**S3, "key": "AKIA"}}, "known: address, bucket, ca, endpoint"),
    ({"name": "a", "s3": {**S3, "path_style": "yes"}}, "true or false"),
    ({"name": "a", "sftp": {key: value for key, value in SFTP.items() if key != "host_key"}}, "host_key must be there"),
    ({"name": "a", "sftp": {**SFTP, "host_key": "SHA256:abc"}}, "ssh-keyscan"),
    ({"name": "a", "sftp": {**SFTP, "user": "-oProxyCommand=x"}}, "name of an account"),
    ({"name": "a", "sftp": {**SFTP, "host": "-oProxyCommand=x"}}, "a host name or address"),
    ({"name": "a", "sftp": {**SFTP, "path": "/a b"}}, "without spaces"),
    ({"name": "a", "sftp": {**SFTP, "port": 0}}, "from 1 to 65535"),
    ({"name": "a", "sftp": {**SFTP, "address": "nas"}}, "IPv4"),
])  # fmt: skip
def test_repository_that_cannot_be_meant_is_refused(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageProblem, match=r"backup\.repositories") as refused:
        said(entry)
    assert words in refused.value.why


def test_one_place_under_two_names_is_refused() -> None:
    with pytest.raises(UsageProblem) as refused:
        said({"name": "a", "s3": S3}, {"name": "b", "s3": {**S3, "endpoint": "other.example.org"}})
    assert "places that differ" in refused.value.why


# ---- The files of the containers


def test_container_is_told_where_and_as_whom_but_no_secret() -> None:
    own = three()
    files = applied_settings.with_settings(
        "backup", {"backup.toml": (REPOSITORY / "config/backup/backup.toml").read_text()}, own
    )
    listed = {one["name"]: one for one in json.loads(files["repositories.json"])["repositories"]}

    assert files["offsite-ca.pem"] == CA
    assert listed["offsite"]["where"]["ca"] == "offsite-ca.pem"
    assert listed["offsite"]["secrets"]["key-secret"] == "/run/secrets/repository-offsite-key-secret"
    assert "address" not in listed["nas"]["where"]
    assert "secrets" not in listed["disk2"]


def shipped(own: Settings) -> Any:
    text = (REPOSITORY / "compose" / "compose.yaml").read_text()
    return parse_stack(text, own, PORTS, REPOSITORY, STATE)


def test_backup_alone_gets_a_way_out_and_only_where_it_is_needed() -> None:
    without, with_disk, remote = shipped(settings()), shipped(said({"name": "d", "path": "/mnt/d"})), shipped(three())

    assert "outward" not in without.networks
    assert "outward" not in with_disk.networks
    assert remote.networks["outward"] is False
    assert [name for name, one in remote.services.items() if "outward" in one.networks] == ["backup"]
    assert {"repository-offsite-key", "repository-nas-key"} <= set(remote.services["backup"].secrets) & set(remote.secrets)
    assert remote.services["backup"].definition["extra_hosts"] == ["nas.example.org:192.0.2.7"]
    assert remote.services["backup"].networks[0] == "data"


def test_bucket_in_front_of_the_name_is_known_by_both_names() -> None:
    (one,) = said({"name": "a", "s3": {**S3, "address": "192.0.2.8"}}).repositories

    assert one.names == ("backups.s3.example.org", "s3.example.org")


def test_secrets_that_are_given_are_told_from_those_that_are_made() -> None:
    assert given("repository-offsite-key-secret") == given("repository-offsite-key") == "offsite"
    assert given("backup-cipher") == ""
    assert {given(name) for one in three().repositories for name in one.secrets.values()} == {"offsite", "nas"}


# ---- --bootstrap


def test_url_says_what_stack_yaml_says() -> None:
    content = {"/ca.pem": CA, "/nas.pub": f"{KEY} root@nas\n"}
    _, offsite, nas = three().repositories
    bucket = from_url("s3://s3.example.org:9000/backups/shop/live?region=eu&style=path&ca=/ca.pem", content.__getitem__)
    folder = from_url("sftp://backup@nas.example.org:2222/srv/shop?host_key=/nas.pub&address=192.0.2.7", content.__getitem__)

    assert (bucket.identity, bucket.where["path_style"], bucket.where["ca"]) == (offsite.identity, True, CA)
    assert dict(folder.where) == dict(nas.where)
    assert from_url("/mnt/copy", content.__getitem__) == Repository("local", "folder", {"path": "/mnt/copy"})
    assert declared_as(three().repositories, bucket) == ("offsite", 3)


@pytest.mark.parametrize(("text", "words"), [
    ("ftp://host/x", "s3://"), ("s3://host", "bucket"), ("s3://host/b?stile=path", "behind the question mark"),
    ("sftp://nas/srv", "host_key must be there"),
])  # fmt: skip
def test_url_that_cannot_be_meant_is_refused(text: str, words: str) -> None:
    with pytest.raises(UsageProblem) as refused:
        from_url(text, lambda path: "")
    assert words in refused.value.why


def test_repository_that_the_stack_of_then_does_not_know_is_refused() -> None:
    with pytest.raises(HostLacks, match="not among the repositories") as refused:
        declared_as(three().repositories, from_url("s3://s3.example.org/elsewhere", lambda path: ""))
    assert "offsite (s3://s3.example.org:9000/backups/shop/live)" in refused.value.why


def test_host_key_is_found_in_every_form_that_it_is_written_in() -> None:
    for text in (KEY, f"{KEY} root@nas", f"# nas:22 SSH-2.0\nnas.example.org {KEY}\n", f"[nas]:2222 {KEY}"):
        assert host_key(text) == KEY
    assert host_key("SHA256:abc") == ""


# ---- Credentials


@pytest.mark.parametrize("text", [
    "key = AK/1\nkey_secret = s+/=\n", "[default]\naws_access_key_id=AK/1\naws_secret_access_key=s+/=\n",
    "key: AK/1\nkey_secret: s+/=",
])  # fmt: skip
def test_credentials_of_s3_are_read_in_the_usual_forms(text: str) -> None:
    assert read_credentials("s3", text, "file") == {"key": "AK/1", "key-secret": "s+/="}


@pytest.mark.parametrize(("kind", "text"), [
    ("s3", "key = AK1\n"), ("s3", ""), ("sftp", KEY), ("sftp", PRIVATE.replace("b3Bl", "Proc-Type: 4,ENCRYPTED")),
])  # fmt: skip
def test_other_files_are_refused_without_a_word_of_their_content(kind: str, text: str) -> None:
    with pytest.raises(UsageProblem) as refused:
        read_credentials(kind, text, "FILE")
    assert "AK1" not in f"{refused.value.what} {refused.value.why} {refused.value.next_step}"


def test_private_key_ends_with_a_line_end_as_ssh_wants_it() -> None:
    assert read_credentials("sftp", PRIVATE, "file") == {"key": PRIVATE + "\n"}
    assert read_credentials("sftp", credentials.key_pair()[0], "file")["key"].endswith("-----\n")


def test_credentials_are_kept_for_root_alone_and_counted_up(tmp_path: Path) -> None:
    project = Project(three(), Host("cc03", State(tmp_path)))
    project.state.prepare()
    one = project.settings.repositories[1]
    first, second = {"key": "a", "key-secret": "b"}, {"key": "a", "key-secret": "c"}

    assert credentials.keep(project, one, first)
    assert not credentials.keep(project, one, first)
    assert credentials.keep(project, one, second)

    kept = {part: (tmp_path / "secrets" / f"repository-offsite-{part}" / "2").read_text() for part in second}
    assert kept == second
    paths = sorted((tmp_path / "secrets").rglob("[0-9]*"))
    assert {f"{path.parent.name}/{path.name}" for path in paths} == {
        f"repository-offsite-{part}/{number}" for part in ("key", "key-secret") for number in (1, 2)
    }
    assert {path.stat().st_mode & 0o777 for path in paths} == {0o600}
