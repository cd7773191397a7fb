"""Another key for the same repositories: nothing but their own keys is written anew, so that every set stays readable.

What restic and pgBackRest are given encrypts other keys, and only those encrypt data: restic's lie in keys/, pgBackRest's in
two lists and a copy of each. Former keys come from host.tar, which has them until the rotation is finished: all else in it is
encrypted for a key that this container does not have. What was killed half way is completed by the next start or job. The turn
of a repository that is away comes when it answers again.
"""

import contextlib
import hashlib
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from . import disk, pgbackrest, restic
from .errors import CommandError, JobError
from .log import log
from .paths import CIPHER, HOST, PGBACKREST_CONF, RUN, VOLUME
from .repositories import Repository
from .sets import HOST_ARCHIVE

SETTLED = VOLUME / "keys.json"
"""Repository -> digest of the one key that opens it."""
LISTS = ("archive/main/archive.info", "backup/main/backup.info")
"""pgBackRest reads a list or its copy, whichever it can: the lists come first, so that one of both is readable all the time."""
FOLDER = "state/secrets/backup-cipher"
VERSION = re.compile(rf"{FOLDER}/(\d+)(?:\.withdrawn)?")
ROTATED = f"{FOLDER}/rotated"
"""Lists the versions that a rotation went between. A key that somebody has merely put in the place of another is none of these:
should it go as it came, nothing would open the repository any more."""
WHOLE = b"backrest-checksum="
"""Stands in every list. A wrong key is not always told from the right one by what it makes of the last block."""


def settle(repositories: Sequence[Repository]) -> None:
    """Have the mounted key, and no other, open these. Callers hold the job lock, or run before anything else does.

    Raises JobError where one of them opens with no key that this host has.
    """
    mounted = CIPHER.read_text().strip()
    digest = hashlib.sha256(mounted.encode()).hexdigest()[:16]
    known = _settled()
    for repository in repositories:
        if known.get(repository.name) != digest:
            # From the first change on, the former key is not the one any more.
            if known.pop(repository.name, None):
                _note(known)
            if _settle(repository, former(mounted)):
                log("INFO", "the repository has another key now", repository=repository.name)
            known[repository.name] = digest
            _note(known)


def _settle(repository: Repository, before: Sequence[str]) -> bool:
    """Whether there was anything to do. Nothing is changed where one part opens with no key."""
    old = _first(before, repository, "files", _file, _opens) if _opens(repository, CIPHER) is False else None
    wrong = [path for path in _present(repository) if not _read(repository, path, PGBACKREST_CONF)]
    lists = {path: _first(before, repository, path, _conf, partial(_reads, path)) for path in wrong}
    if old:
        with _file(old) as key:
            restic.run(repository, "key", "add", "--new-password-file", CIPHER, key=key)
    for path, value in lists.items():
        with _conf(value) as conf:
            _write(repository, path, _read(repository, path, conf))
    return any((_only_own(repository), old, lists))


def _note(known: dict[str, str]) -> None:
    disk.write(SETTLED, json.dumps(known))


def _settled() -> dict[str, str]:
    try:
        return dict(json.loads(SETTLED.read_text()))
    except (OSError, ValueError):
        return {}


def former(mounted: str, archive: Path = HOST / HOST_ARCHIVE) -> list[str]:
    """Keys between which and the mounted one a rotation went, the newest first."""
    found: dict[int, str] = {}
    rotated: list[int] = []
    with contextlib.suppress(OSError, tarfile.TarError), tarfile.open(archive) as tar:
        for member in tar:
            if match := VERSION.fullmatch(member.name):
                found[int(match[1])] = _text(tar, member)
            elif member.name == ROTATED:
                rotated = json.loads(_text(tar, member))
    keys = {number: value for number, value in found.items() if number in rotated and value}
    return [value for _, value in sorted(keys.items(), reverse=True) if value != mounted] if mounted in keys.values() else []


def _text(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    content = tar.extractfile(member)
    return content.read().decode().strip() if content else ""


def opened_by(value: str, repositories: Sequence[Repository]) -> tuple[list[str], list[str]]:
    """(names of those that a key opens, of those of which it opens a part)"""
    whole, part = [], []
    with _file(value) as key, _conf(value) as conf:
        for one in repositories:
            opens = [bool(_read(one, path, conf)) for path in _present(one)]
            # Who may delete nothing there cannot take an old key away: that is done with other credentials.
            opens += [] if one.append_only or (files := _opens(one, key)) is None else [files]
            if all(opens):
                whole.append(one.name)
            elif any(opens):
                part.append(one.name)
    return whole, part


# ---- restic


def _only_own(repository: Repository) -> bool:
    """Whether there were other keys, which are removed."""
    try:
        restic.unlock(repository)
    except CommandError as error:
        if error.returncode == restic.MISSING_REPOSITORY:
            return False
        raise
    others = [one["id"] for one in json.loads(restic.run(repository, "key", "list")) if not one["current"]]
    if others and repository.append_only:
        log("WARNING", "the old key still opens the files: nothing is deleted here", repository=repository.name, keys=others)
        return False
    for one in others:
        restic.run(repository, "key", "remove", one)
    return bool(others)


def _opens(repository: Repository, key: Path) -> bool | None:
    """None: there is nothing to open yet."""
    try:
        restic.run(repository, "cat", "config", "--no-lock", key=key, deadline=restic.LOOK)
    except CommandError as error:
        if error.returncode not in (restic.WRONG_KEY, restic.MISSING_REPOSITORY):
            raise
        return None if error.returncode == restic.MISSING_REPOSITORY else False
    return True


# ---- pgBackRest


def _present(repository: Repository) -> list[str]:
    """The lists and copies that there are, the lists first."""
    found = {folder: pgbackrest.listed(repository, folder) for folder in ("archive/main", "backup/main")}
    wanted = [*LISTS, *(f"{path}.copy" for path in LISTS)]
    return [path for path in wanted if path.rpartition("/")[2] in found[path.rpartition("/")[0]]]


def _write(repository: Repository, path: str, content: bytes) -> None:
    """With the mounted key."""
    with tempfile.TemporaryFile(dir=RUN) as file:
        file.write(content)
        file.seek(0)
        pgbackrest.run("repo-put", f"--repo={repository.number}", path, stdin=file)


def _reads(path: str, repository: Repository, conf: Path) -> bool:
    return bool(_read(repository, path, conf))


def _read(repository: Repository, path: str, conf: Path) -> bytes:
    """A list in the clear, on a tmpfs; empty where this key does not open it."""
    with tempfile.TemporaryFile(dir=RUN) as file:
        try:
            options = (f"--repo={repository.number}", "--log-level-console=off", path)
            pgbackrest.run("repo-get", *options, conf=conf, stdout=file)
        except CommandError:
            return b""
        file.seek(0)
        content = file.read()
    return content if WHOLE in content else b""


# ---- Keys that are not the mounted one, as files that are gone after the block


def _first(
    values: Sequence[str], repository: Repository, what: str, form: Callable[[str], contextlib.AbstractContextManager[Path]],
    opens: Callable[[Repository, Path], bool | None],
) -> str:  # fmt: skip
    """The first of the keys that opens something."""
    for value in values:
        with form(value) as path:
            if opens(repository, path):
                return value
    raise JobError(f"the key is not the one of the repository {repository.name} ({what}), nor is any that it came after")


@contextlib.contextmanager
def _file(value: str) -> Iterator[Path]:
    descriptor, name = tempfile.mkstemp(dir=RUN, prefix="key-")
    path = Path(name)
    try:
        with os.fdopen(descriptor, "w") as stream:
            stream.write(value)
        yield path
    finally:
        path.unlink()


@contextlib.contextmanager
def _conf(value: str) -> Iterator[Path]:
    """pgbackrest.conf as it is, but for the key."""
    with _file(re.sub(r"(?m)^(repo\d+-cipher-pass)=.*$", rf"\1={value}", PGBACKREST_CONF.read_text())) as path:
        yield path
