"""Another key for the same repositories, with tools that are played: who opens what is the subject."""

import io
import json
import tarfile
from dataclasses import replace

import pytest
from backup import keys, pgbackrest, restic
from backup.errors import CommandError, JobError
from backup.repositories import local

LISTS = [*keys.LISTS, *(f"{path}.copy" for path in keys.LISTS)]


class Tools:
    """One repository. `files`: id -> key, of restic; None: there is none. `lists`: path -> key, of pgBackRest."""

    def __init__(self, key: str = "old") -> None:
        self.files: dict[str, str] | None = {"first": key}
        self.lists = dict.fromkeys(LISTS, key)
        self.changes = 0
        self.fails_at = ""

    def restic(self, repository, *words, key, **_):
        if self.files is None:
            raise CommandError("there is none", restic.MISSING_REPOSITORY)
        mine = [one for one, value in self.files.items() if value == key.read_text()]
        if not mine:
            raise CommandError("wrong password", restic.WRONG_KEY)
        match words:
            case ("key", "list"):
                return json.dumps([{"id": one, "current": one in mine} for one in self.files])
            case ("key", "add", _, file):
                self.files["third" if "second" in self.files else "second"] = file.read_text()
                self.changes += 1
            case ("key", "remove", one):
                del self.files[one]
                self.changes += 1
        return ""

    def pgbackrest(self, name, *options, conf, stdin=None, stdout=None):
        path, key = options[-1], conf.read_text().partition("cipher-pass=")[2].strip()
        if name == "repo-put":
            assert b"backrest-checksum=" in stdin.read()
            if path == self.fails_at:
                raise CommandError("the disk is full")
            self.lists[path] = key
            self.changes += 1
        elif self.lists[path] != key:
            stdout.write(b"\x01\x02")
        else:
            stdout.write(b'[backrest]\nbackrest-checksum="1"\n')
        return ""

    def listed(self, repository, folder):
        return {path.rpartition("/")[2]: {} for path in self.lists if path.rpartition("/")[0] == folder}


@pytest.fixture
def tools(monkeypatch, tmp_path):
    """As it is found with the mounted key `new`, of a host whose host.tar knows `old` and one that was taken back."""
    made, cipher, conf = Tools(), tmp_path / "cipher", tmp_path / "pgbackrest.conf"
    cipher.write_text("new")
    conf.write_text("[global]\nrepo1-cipher-pass=new\n")
    for name, value in {"CIPHER": cipher, "PGBACKREST_CONF": conf, "RUN": tmp_path, "SETTLED": tmp_path / "keys.json"}.items():
        monkeypatch.setattr(keys, name, value)
    monkeypatch.setattr(keys, "former", lambda mounted: [one for one in ("taken-back", "old", "older") if one != mounted])
    monkeypatch.setattr(restic, "run", lambda repository, *words, key=cipher, **more: made.restic(repository, *words, key=key))
    monkeypatch.setattr(
        pgbackrest, "run", lambda name, *options, conf=conf, **more: made.pgbackrest(name, *options, conf=conf, **more)
    )
    monkeypatch.setattr(pgbackrest, "listed", made.listed)
    return made


PLACE = local(2)


def test_the_mounted_key_alone_opens_it_afterwards(tools):
    keys.settle([PLACE])
    assert tools.files == {"second": "new"} and set(tools.lists.values()) == {"new"}
    assert (keys.opened_by("new", [PLACE]), keys.opened_by("old", [PLACE])) == ((["local"], []), ([], []))

    tools.changes = 0
    keys.settle([PLACE])
    assert tools.changes == 0


@pytest.mark.parametrize("done", range(6))
def test_what_was_killed_half_way_is_completed(tools, done):
    tools.files = {"first": "old", "second": "new"} if done else {"first": "old"}
    tools.lists |= dict.fromkeys(LISTS[: max(0, done - 1)], "new")
    assert keys.opened_by("old", [PLACE]) == ((["local"], []) if not done else ([], ["local"]) if done > 1 else (["local"], []))
    keys.settle([PLACE])
    assert tools.files == {"second": "new"} and set(tools.lists.values()) == {"new"}


def test_a_key_that_was_taken_back_opens_the_way_back(tools):
    tools.files, tools.lists = {"first": "taken-back"}, dict.fromkeys(LISTS, "taken-back")
    keys.settle([PLACE])
    assert keys.opened_by("new", [PLACE]) == (["local"], [])


def test_the_way_back_is_the_same(tools, monkeypatch):
    """What was noted of the former key does not hold any more, from the first change on."""
    keys.settle([PLACE])
    other = keys.CIPHER.with_name("other")
    other.write_text("old")
    monkeypatch.setattr(keys, "former", lambda mounted: ["new"])
    conf = keys.PGBACKREST_CONF.with_name("other.conf")
    conf.write_text("[global]\nrepo1-cipher-pass=old\n")
    with monkeypatch.context() as back:
        back.setattr(keys, "CIPHER", other)
        back.setattr(keys, "PGBACKREST_CONF", conf)
        back.setattr(restic, "run", lambda repository, *words, key=other, **more: tools.restic(repository, *words, key=key))
        back.setattr(
            pgbackrest, "run", lambda name, *options, conf=conf, **more: tools.pgbackrest(name, *options, conf=conf, **more)
        )
        tools.fails_at = LISTS[2]
        with pytest.raises(CommandError):
            keys.settle([PLACE])
        assert "local" not in json.loads(keys.SETTLED.read_text())
        tools.fails_at = ""
        keys.settle([PLACE])
    assert set(tools.files.values()) == set(tools.lists.values()) == {"old"}


def test_where_one_list_opens_with_no_key_nothing_is_changed(tools):
    tools.lists[LISTS[2]] = "lost"
    with pytest.raises(JobError, match=r"\(archive/main/archive.info.copy\)"):
        keys.settle([PLACE])
    assert tools.changes == 0 and tools.files == {"first": "old"}


def test_with_no_key_that_opens_it_nothing_is_changed(tools):
    tools.files, tools.lists = {"first": "lost"}, dict.fromkeys(LISTS, "lost")
    with pytest.raises(JobError, match=r"the key is not the one of the repository local \(files\)"):
        keys.settle([PLACE])
    assert tools.changes == 0 and not keys.SETTLED.exists()


def test_nothing_is_deleted_where_only_can_be_added(tools):
    place = replace(PLACE, name="vault", append_only=True)
    keys.settle([place])
    assert tools.files == {"first": "old", "second": "new"} and set(tools.lists.values()) == {"new"}
    assert keys.opened_by("old", [place]) == ([], [])


def test_what_does_not_exist_yet_has_no_key(tools):
    tools.files, tools.lists = None, {}
    keys.settle([PLACE])
    assert keys.opened_by("new", [PLACE]) == (["local"], [])


def test_former_keys_are_those_of_the_host_the_newest_first(tmp_path):
    archive = tmp_path / "host.tar"
    with tarfile.open(archive, "w") as tar:
        files = {"1": "one", "2.withdrawn": "two", "3": "three\n", "4": "by hand", "10": "ten", "rotated": "[1, 2, 3, 10]"}
        for name, value in files.items():
            member = tarfile.TarInfo(f"state/secrets/backup-cipher/{name}")
            member.size = len(value)
            tar.addfile(member, io.BytesIO(value.encode()))
    assert keys.former("three", archive) == ["ten", "two", "one"]
    # Nothing is done for a key that was put in the place of another.
    assert keys.former("by hand", archive) == keys.former("unknown", archive) == []
    assert keys.former("one", tmp_path / "none") == []


def test_nothing_of_an_archive_that_the_host_has_encrypted_is_taken_for_a_key(tmp_path):
    with tarfile.open(tmp_path / "host.tar", "w") as tar:
        for name in ("facts.json", "sealed.age", "sealed.hmac"):
            member = tarfile.TarInfo(name)
            member.size = 2
            tar.addfile(member, io.BytesIO(b"{}"))
    assert keys.former("three", tmp_path / "host.tar") == []
