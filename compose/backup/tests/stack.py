"""The programs that a job runs and the database that it asks, at the edge of this process: two repositories and a few tables.

All else is real: files, locks, signatures, threads. What a program would write to a file it writes here as well.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

import pytest
from backup import command, configuration, database, jobs, keys, log, manifest, paths
from backup.errors import CommandError
from backup.progress import Progress
from backup.repositories import Repository, local, restic_url

REAL_RUN, REAL_POPEN = command.run, subprocess.Popen
ABSENT_PROCESS = 1 << 30
"""More than any kernel gives out."""
KEY = "a-key-of-the-repositories-1234567890"
SOUND_LIST = '[backrest]\nbackrest-checksum="%s"\n' % hashlib.sha1(b"{}").hexdigest()  # noqa: S324, UP031 - pgBackRest's way
SEGMENTS = [f"0000000100000000000000{number:02X}" for number in range(1, 10)]


def moved(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    """Has every path of the package lie below `root`, also those that are defaults of parameters."""

    def there(value: Any) -> Any:
        absolute = isinstance(value, Path) and value.is_absolute() and value.parts[1] in ("var", "run", "etc")
        return root / value.relative_to("/") if absolute and not value.is_relative_to(root) else value

    for module in [module for name, module in sys.modules.items() if name.partition(".")[0] == "backup"]:
        for name, value in list(vars(module).items()):
            if isinstance(value, Path):
                monkeypatch.setattr(module, name, there(value))
            elif isinstance(value, FunctionType) and value.__module__ == module.__name__:
                monkeypatch.setattr(value, "__defaults__", tuple(map(there, value.__defaults__ or ())) or None)
                named = {key: there(one) for key, one in (value.__kwdefaults__ or {}).items()}
                monkeypatch.setattr(value, "__kwdefaults__", named or None)


@dataclass
class Held:
    """What one repository holds. `snapshots`: id -> (tags, folder with its files)."""

    stanza: bool = False
    created: bool = False
    code: int = 0
    backups: list[dict[str, Any]] = field(default_factory=list)
    snapshots: dict[str, tuple[list[str], Path]] = field(default_factory=dict)
    expires: int = 0
    """How many backups `expire` removes, the oldest first."""


@dataclass
class Stack:
    """`asked`: what was run, in order. `fails`: beginning of that -> what it fails with; a function is called instead."""

    root: Path
    asked: list[str] = field(default_factory=list)
    configs: dict[str, set[str]] = field(default_factory=dict)
    """Command of pgBackRest -> configurations that it was given."""
    fails: dict[str, Exception | Callable[[], None]] = field(default_factory=dict)
    held: dict[int, Held] = field(default_factory=dict)
    repositories: list[Repository] = field(default_factory=list)
    tables: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    restored: dict[str, dict[str, dict[str, Any]]] | None = None
    """What is in the database that a drill has restored; what was backed up where it is None."""
    xid: int = 701
    archives: bool = True
    writers: int = 0
    receiver: dict[str, Any] = field(default_factory=dict)
    said: list[tuple[str, str]] = field(default_factory=list)
    """(who asked, SQL)"""
    keys: int = 5
    number: int = 0

    def run(self, argv: list[Any], **more: Any) -> str:
        words = [str(word) for word in argv]
        name = Path(words[0]).name
        if name == "openssl":
            return REAL_RUN(argv, **more)
        text = getattr(self, "_" + name.replace("-", "_"))(words[1:], **more)
        for line in text.splitlines() if more.get("on_line") else ():
            more["on_line"](line)
        return text

    def _asks(self, what: str) -> None:
        self.asked.append(what)
        for beginning, failure in list(self.fails.items()):
            if what.startswith(beginning):
                if isinstance(failure, Exception):
                    raise failure
                failure()

    # ---- pgBackRest

    def _pgbackrest(self, words: list[str], **more: Any) -> str:
        options = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
        name = next(word for word in words if not word.startswith("--"))
        number = int(options.get("repo", 0))
        one = self.held.get(number)
        if name == "version":
            return "pgBackRest 2"
        self.configs.setdefault(name, set()).add(options["config"])
        self._asks(f"pgbackrest {name}" + (f" {number}" if number else ""))
        if name == "stanza-create":
            for each in self.held.values():
                each.stanza = True
        if name == "info":
            return json.dumps(self._info(one))
        if name == "backup":
            self.number += 1
            at = 1773109800 + 3600 * self.number
            one.backups.append({
                "label": f"202603{10 + self.number:02}-023000F", "type": options["type"], "error": False,
                "annotation": {"set": options["annotation"].partition("=")[2]},
                "timestamp": {"start": at, "stop": at + 60}, "info": {"size": 4000, "repository": {"delta": 800}},
            })  # fmt: skip
        if name == "expire":
            gone = [options["set"]] if "set" in options else [backup["label"] for backup in one.backups[: one.expires]]
            one.backups = [backup for backup in one.backups if backup["label"] not in gone]
        if name == "restore":
            Path(options["pg1-path"]).mkdir(parents=True)
        if name == "archive-get":
            Path(words[-1]).write_bytes(b"wal")
        if name == "repo-get" and more.get("stdout") is None:
            return SOUND_LIST
        return "{}" if name == "repo-ls" else ""

    def _info(self, one: Held) -> list[dict[str, Any]]:
        if not one.stanza:
            return []
        message = "ok" if one.code == 0 else "broken"
        return [{"name": "main", "status": {"code": one.code, "message": message}, "backup": one.backups}]

    # ---- restic

    def _restic(self, words: list[str], **more: Any) -> str:
        if words == ["version"]:
            return "restic 0.17"
        url = words[words.index("--repo") + 1]
        number = next(one.number for one in self.repositories if restic_url(one) == url)
        known = ("unlock", "init", "backup", "snapshots", "forget", "prune", "copy", "ls", "restore", "check", "key")
        at = next(place for place, word in enumerate(words) if word in known)
        name, rest, one = words[at], words[at + 1 :], self.held[number]
        self._asks(f"restic {name} {number}")
        if not one.created and name not in ("init", "key"):
            raise CommandError("no repository", 10)
        return getattr(self, f"_restic_{name}", lambda *_: "")(one, rest)

    def _restic_init(self, one: Held, rest: list[str]) -> str:
        one.created = True
        return ""

    def _restic_backup(self, one: Held, rest: list[str]) -> str:
        self.number += 1
        tags = [rest[place + 1] for place, word in enumerate(rest) if word == "--tag"]
        folder = self.root / "snapshots" / str(self.number)
        for path in [Path(word) for word in rest if word.startswith("/") and Path(word).is_dir()]:
            shutil.copytree(path, folder / path.relative_to("/"))
        one.snapshots[f"{self.number:08}" + "a" * 56] = (tags, folder)
        said = {"message_type": "summary", "snapshot_id": f"{self.number:08}" + "a" * 56}
        return json.dumps({"message_type": "status", "total_bytes": 10, "bytes_done": 5}) + "\n" + json.dumps(said) + "\n"

    def _restic_copy(self, one: Held, rest: list[str]) -> str:
        source = next(each for each in self.repositories if restic_url(each) == rest[rest.index("--from-repo") + 1])
        one.snapshots[rest[-1]] = self.held[source.number].snapshots[rest[-1]]
        return ""

    def _restic_snapshots(self, one: Held, rest: list[str]) -> str:
        said = [
            {"id": name, "tags": tags, "summary": {"total_bytes_processed": 700}} for name, (tags, _) in one.snapshots.items()
        ]
        return json.dumps(said)

    def _restic_forget(self, one: Held, rest: list[str]) -> str:
        for name in rest:
            del one.snapshots[name]
        return ""

    def _restic_ls(self, one: Held, rest: list[str]) -> str:
        _, folder = one.snapshots[rest[1]]
        below = folder / Path(rest[2]).relative_to("/")
        names = sorted(path.name for path in below.iterdir()) if below.is_dir() else []
        return "\n".join(json.dumps({"struct_type": "node", "path": f"{rest[2]}/{name}"}) for name in names)

    def _restic_restore(self, one: Held, rest: list[str]) -> str:
        short, _, inner = rest[0].partition(":")
        name = next(each for each in one.snapshots if each.startswith(short))
        shutil.copytree(one.snapshots[name][1] / Path(inner).relative_to("/"), rest[rest.index("--target") + 1])
        return ""

    # ---- the others

    def _redis_cli(self, words: list[str], **more: Any) -> str:
        self._asks("redis-cli")
        if "DBSIZE" in words:
            return f"{self.keys}\n"
        Path(words[-1]).write_bytes(b"REDIS")
        return ""

    def _redis_check_rdb(self, words: list[str], **more: Any) -> str:
        return "[info] 5 keys read\n[info] 0 expires\n"

    def _redis_server(self, words: list[str], **more: Any) -> str:
        return "Redis server v=7"

    def _postgres(self, words: list[str], **more: Any) -> str:
        return "postgres 15"

    def _zstd(self, words: list[str], **more: Any) -> str:
        self._asks("zstd")
        return ""

    def _pg_controldata(self, words: list[str], **more: Any) -> str:
        return ""

    def _pg_isready(self, words: list[str], **more: Any) -> str:
        return ""

    def _pg_amcheck(self, words: list[str], **more: Any) -> str:
        self._asks("pg_amcheck")
        return ""

    def _pg_waldump(self, words: list[str], **more: Any) -> str:
        self._asks("pg_waldump")
        return f"rmgr: Heap tx: {self.xid - 1}, lsn: 0/1\n"

    # ---- PostgreSQL

    def answer(self, reach: str, name: str, sql: str) -> list[Any]:
        who = "scratch" if "host=postgres" not in reach else "receiver" if "user=receiver" in reach else "backup"
        self.said.append((who, sql))
        tables = self.restored if who == "scratch" and self.restored is not None else self.tables
        answers: list[tuple[str, Callable[[], list[Any]]]] = [
            ("pg_create_restore_point", self._mark),
            ("pg_database", lambda: [[each, True] for each in tables]),
            ("relkind", lambda: [{"name": each, "bytes": 100, "closed": False} for each in tables[name]]),
            ("rolname", lambda: [{"rows": 3, "sum": "9"}]),
            ("'rows'", lambda: [tables[name][sql.rpartition(" FROM ")[2].partition(" ")[0]]]),
            ("'next_xid'", lambda: [{"next_xid": self.xid, "segment": SEGMENTS[1], "pending": 0, "pending_age": 0.0}]),
            ("'system'", lambda: [dict(self.receiver)]),
            ("backend_xid", lambda: ["0/100", self.writers]),
            ("pg_current_wal_insert_lsn", lambda: ["0/100"]),
            ("pg_is_in_recovery", lambda: [False]),
        ]
        return next((give() for words, give in answers if words in sql), [1])

    def _mark(self) -> list[str]:
        if self.archives:
            self.archive(SEGMENTS[0])
        return [SEGMENTS[0], "0/1"]

    def archive(self, segment: str) -> None:
        folder = paths.POSTGRES / "archive" / "main" / "15-1" / segment[:16]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{segment}-abc.zst").touch()


class Process:
    """A server that runs until it is told to end."""

    pid = ABSENT_PROCESS
    returncode: int | None = None

    def __init__(self, *_: Any, **__: Any) -> None:
        self.stderr = None

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        self.returncode = self.returncode or 0
        return self.returncode

    def send_signal(self, number: int) -> None:
        self.returncode = -number


@contextmanager
def stack(monkeypatch: pytest.MonkeyPatch, root: Path) -> Iterator[Stack]:
    """A container with a volume, a key, files of its neighbours, and a local repository beside one on another disk."""
    moved(monkeypatch, root / "root")
    made = Stack(root)
    for folder in (paths.VOLUME, paths.RUN, paths.SECRETS, paths.HOST, paths.PGBACKREST_CONF.parent):
        folder.mkdir(parents=True)
    paths.CIPHER.write_text(KEY)
    digest = hashlib.sha256(KEY.encode()).hexdigest()[:16]
    keys.SETTLED.write_text(json.dumps({"local": digest, "disk": digest}))
    (paths.SECRETS / "redis-backup").write_text("pw")
    manifest.KEY.write_bytes(configuration.signing_key("own"))
    (paths.DATA / "prometheus" / "01BLOCK").mkdir(parents=True)
    (paths.DATA / "prometheus" / "01BLOCK" / "meta.json").write_text("{}")
    (paths.DATA / "alertmanager").mkdir()
    (paths.DATA / "alertmanager" / "silences").write_text("s")
    day = paths.DATA / "logs" / "data" / "partitions" / "20260310" / "datadb"
    (day / "PART").mkdir(parents=True)
    (day / "parts.json").write_text('["PART"]')
    (root / "facts.json").write_text('{"release": 7}')
    with tarfile.open(paths.HOST / "host.tar", "w") as archive:
        archive.add(root / "facts.json", "facts.json")
    made.tables = {"app": {"public.items": {"rows": 2, "sum": "7"}}, "postgres": {}}
    made.receiver = {
        "system": "7001", "segment": SEGMENTS[2], "unarchived": None, "slot": False, "streams": False, "waits": False,
    }  # fmt: skip
    (root / "disk").mkdir()
    made.repositories = [local(2), Repository("disk", "folder", 2, {"path": str(root / "disk")}, 2)]
    made.held = {one.number: Held() for one in made.repositories}
    naps: list[float] = []
    real = time.monotonic
    # The module, not its function alone: openssl is a real program, and would be waited for without a pause.
    monkeypatch.setattr(subprocess, "time", SimpleNamespace(sleep=time.sleep))
    monkeypatch.setattr(time, "sleep", naps.append)
    monkeypatch.setattr(time, "monotonic", lambda: real() + sum(naps))
    monkeypatch.setattr(log, "_stream", [sys.stdout])
    monkeypatch.setattr(command, "run", made.run)
    monkeypatch.setattr(subprocess, "Popen", lambda argv, **more: (REAL_POPEN if "openssl" in argv else Process)(argv, **more))
    monkeypatch.setattr(database.Session, "__init__", _open_session(made))
    monkeypatch.setattr(database.Session, "send", lambda self, sql: setattr(self, "sql", sql))
    monkeypatch.setattr(database.Session, "receive", lambda self, deadline=60: made.answer(self.reach, self.database, self.sql))
    monkeypatch.setattr(database.Session, "close", lambda self: None)
    yield made


def _open_session(made: Stack) -> Callable[..., None]:
    def opened(self: Any, reach: str, name: str) -> None:
        made._asks(f"psql {name}")
        self.reach, self.database = reach, name

    return opened


def made(container: Stack, kind: str = "full") -> dict:
    """A set, made by its job."""
    error, result = jobs.run(kind, lambda: jobs.make_set(kind, container.repositories, Progress()))
    assert error == ""
    return result


def again(container: Stack, kind: str = "incr") -> dict:
    """A later one: a set is named by its second."""
    for one in container.held.values():
        one.snapshots = {
            name: ([tag.replace("set=2", "set=1") for tag in tags], folder) for name, (tags, folder) in one.snapshots.items()
        }
        for backup in one.backups:
            backup["annotation"]["set"] = backup["annotation"]["set"].replace("2", "1", 1)
    return made(container, kind)


def manifest_of(container: Stack, number: int = 1) -> dict:
    (_, folder) = list(container.held[number].snapshots.values())[-1]
    staged = folder / paths.STAGE.relative_to("/")
    return manifest.read(staged, manifest.public_key())
