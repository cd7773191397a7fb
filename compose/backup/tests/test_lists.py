"""pgBackRest's lists, two copies of each: damage of either is told. A repository that does not answer is not damaged."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from backup import lists, pgbackrest
from backup.errors import CommandError
from backup.repositories import Repository
from stack import Stack, made

LOCAL, DISK = 1, 2
SAID = '{"backrest":{"backrest-format":5,"backrest-version":"2.50"},"db":{"1":{"db-id":7},"2":[1,2]}}'
"""What a checksum is of: its own line is left out, and so is a section that has none but that."""
SECTIONS = '[backrest]\nbackrest-format=5\nbackrest-checksum="{}"\nbackrest-version="2.50"\n\n[db]\n1={{"db-id":7}}\n2=[1,2]\n'


def signed(said: str = SAID, text: str = SECTIONS) -> str:
    return text.format(hashlib.sha1(said.encode()).hexdigest())  # noqa: S324 - pgBackRest's way


def test_list_is_sound_as_long_as_it_is_what_its_checksum_says():
    assert lists.sound(signed())
    assert lists.sound(signed('{"db":{"1":"a=b"}}', '[backrest]\nbackrest-checksum="{}"\n\n[db]\n1="a=b"\n')), (
        "only the first ="
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("db-id", "DB-id"), lambda text: text.replace("[1,2]", "[1,3]"),
        lambda text: text.replace("[db]", "[dc]"), lambda text: text.replace("2=", "3="),
        lambda text: text.replace("\n1=", "\n# 1="), lambda text: text[: len(text) // 2],
        lambda text: text.replace('checksum="', "checksum="), lambda text: text.replace("[backrest]\n", ""),
        lambda text: text.replace("[backrest]", "[other]"), lambda text: text + "more=1\n",
        lambda text: "", lambda text: "\x00\x01",
    ],
)  # fmt: skip
def test_any_change_of_a_list_is_damage(spoil: Callable[[str], str]):
    assert spoil(signed()) != signed() and not lists.sound(spoil(signed()))


def test_checksum_elsewhere_is_a_value_like_any_other():
    said = '{"db":{"backrest-checksum":"x"}}'
    assert lists.sound(signed(said, '[backrest]\nbackrest-checksum="{}"\n[db]\nbackrest-checksum="x"\n'))


@dataclass
class Files:
    """Files of a repository, sound unless others are given; what was asked of it."""

    other: dict[str, str | Exception] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    given: set[tuple[object, ...]] = field(default_factory=set)


@pytest.fixture
def files(container: Stack, monkeypatch: pytest.MonkeyPatch) -> Files:
    made(container)
    found, real = Files(), pgbackrest.run

    def run(name: str, *options: str, **more: object) -> str:
        if name != "repo-get":
            return real(name, *options, **more)
        *before, path = options
        found.asked.append(path)
        found.given.add((*before, *more.items()))
        content = found.other.get(path, signed())
        if isinstance(content, Exception):
            raise content
        return content

    monkeypatch.setattr(pgbackrest, "run", run)
    return found


LABEL = "20260311-023000F"
NAMES = ["archive/main/archive.info", "backup/main/backup.info", f"backup/main/{LABEL}/backup.manifest"]
BOTH = [name + suffix for name in NAMES for suffix in ("", ".copy")]


def test_both_copies_of_every_list_are_read_whole(container: Stack, files: Files):
    assert lists.faults(container.repositories[0]) == []
    assert files.asked == BOTH
    assert files.given == {("--repo=1", "--log-level-console=off", ("kept_lines", lists.MOST_LINES))}


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("content", ["", "cut off", CommandError("no such file", 1), CommandError("disk error", 99)])
def test_copy_that_is_damaged_or_gone_is_told_alone(container: Stack, files: Files, name: str, content: str | Exception):
    files.other[name] = content
    assert lists.faults(container.repositories[0]) == [f"{name} is damaged"]


@pytest.fixture
def remote(container: Stack) -> Repository:
    one = Repository(
        "disk", "s3", DISK, {"endpoint": "https://s3.test", "bucket": "b"}, 2, secrets={"key": "k", "key-secret": "s"}
    )
    container.repositories[1] = one
    return one


@pytest.mark.parametrize(
    ("error", "damaged"),
    [
        (CommandError("no such file", lists.MISSING), True),
        (CommandError("cipher header invalid", 95), True),
        (CommandError("cipher header invalid", lists.MISSING), True),
        (CommandError("timeout", 82), False),
    ],
)
def test_machine_that_does_not_answer_is_no_damage(
    container: Stack, files: Files, remote: Repository, error: Exception, damaged: bool
):
    name = NAMES[1]
    files.other[name] = error
    if damaged:
        assert lists.faults(remote) == [f"{name} is damaged"]
    else:
        with pytest.raises(CommandError, match="timeout"):
            lists.faults(remote)


def test_repository_that_has_nothing_or_cannot_be_reached_has_no_lists(container: Stack, files: Files, remote: Repository):
    local = container.repositories[0]
    container.held[DISK].code = container.held[LOCAL].code = pgbackrest.UNREACHABLE
    assert lists.faults(remote) == [] and files.asked == []
    files.other = dict.fromkeys(BOTH, "")
    assert len(lists.faults(local)) == len(BOTH), "a folder that cannot be reached is damaged"
    container.held[LOCAL].stanza = False
    files.asked.clear()
    assert lists.faults(replace(local)) == [] and files.asked == []
