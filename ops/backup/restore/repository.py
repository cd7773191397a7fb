"""An empty host and a repository: the newest set read by restic, the state folder put in place, the repository copied."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.backup import credentials
from ops.backup import host_archive as archive
from ops.backup.container import SERVICE
from ops.backup.restore import volumes
from ops.core import files
from ops.core.errors import HostLacks, OpsError, UsageProblem
from ops.core.plan import STAMP
from ops.engines.engine import How, OneOff
from ops.execution import Execution
from ops.images.steps import image_steps
from ops.observed import observe
from ops.project import Project
from ops.secrets import backup_keys as keys
from ops.stack import applied_settings
from ops.stack.images import tags_of
from ops.stack.render import volume_name
from ops.stack.repositories import LOCAL, Repository, from_url
from ops.store import encrypted_copies, versions

READ_SECONDS = 1800.0
COPY_SECONDS = 6 * 3600.0
MARK = "bootstrap.json"
"""In the state folder from the moment that it is put in place until the data are: what was broken off is done again."""
VOLUME = "/var/lib/pgbackrest"
"""Of the local repository, in the backup container."""
STAGE = f"{VOLUME}/stage"
"""Path within a snapshot, as the backup container saw it."""
REPOSITORY = "backup-repository"
"""Volume of the local repository."""


@dataclass(frozen=True)
class Found:
    """The newest set of a repository. snapshot: restic's id. release: what ran; images: service -> tag."""

    set: str
    made: datetime
    snapshot: str
    missing: tuple[str, ...]
    project: str
    commit: str
    release: int | None
    images: Mapping[str, str]
    repository: str = LOCAL
    """The one that the data come out of."""
    number: int = 1
    """By which pgBackRest knows it."""
    unopened: int = 0
    """How many newer sets the recovery keys did not open."""


@dataclass(frozen=True)
class Source:
    """Where everything is restored from, and by what it is read. credentials: part -> value. recovery: keys that open what sets
    hold of the host; none in files that earlier versions exported."""

    repository: Repository
    key: str
    credentials: Mapping[str, str]
    recovery: tuple[str, ...] = ()

    @property
    def folder(self) -> Path | None:
        """Of this host; None: the repository is elsewhere."""
        return None if self.repository.remote else Path(self.repository.where["path"])


def source(where: str, key_file: str, credentials_file: str) -> Source:
    """What the options of the command mean. Raises UsageProblem where that is no repository, or a file does not fit."""
    repository = from_url(where, lambda path: credentials.read_file(Path(path)))
    value, identities = keys.read(Path(key_file)), keys.read_recovery(Path(key_file))
    if repository.remote != bool(credentials_file):
        raise UsageProblem(
            f"{where} takes {'a file of' if repository.remote else 'no'} credentials", "only a folder is read without",
            "inv --help restore; docs/runbooks/disaster.md has examples",
        )  # fmt: skip
    if repository.remote:
        return Source(repository, value, credentials.read(repository.kind, Path(credentials_file)), identities)
    folder = place(Path(repository.where["path"]))
    return Source(replace(repository, where={"path": str(folder)}), value, {}, identities)


def place(folder: Path) -> Path:
    """The folder that holds `postgres` and `files`. Raises UsageProblem where there is none."""
    for candidate in (folder, folder / "_data"):
        if (candidate / "files" / "config").is_file() and (candidate / "postgres").is_dir():
            return candidate.absolute()
    raise UsageProblem(
        f"{folder} is no repository", "it must hold the folders postgres and files", "give a copy of the repository's volume"
    )


def must_be_empty(project: Project) -> None:
    """Raises HostLacks where this host has secrets or containers of this project that no bootstrap has left."""
    state = project.state
    if (state.root / MARK).is_file():
        return
    places = (state.secrets, encrypted_copies.copies_of(state.root) / "secrets")
    there = not encrypted_copies.is_locked(state.root) and any(any(place.iterdir()) for place in places if place.is_dir())
    if there or project.engine.slots():
        raise HostLacks(
            f"this host has the project {project.name} already", "its secrets would be replaced by those of the repository",
            "inv restore restores data here; to start from scratch with a repository elsewhere: inv destroy --no-keep-data",
        )  # fmt: skip


def image(project: Project) -> str:
    """Tag of the backup image, built where it is missing."""
    wanted, execution = project.images[SERVICE], Execution(project)
    here = frozenset(project.engine.images(tags_of([wanted])))
    for step in image_steps({SERVICE: wanted}, here, project.settings.deadlines.build):
        step.run(execution)
    return wanted.tag


@dataclass(frozen=True)
class Reader:
    """restic in a one-off container that may not write to the repository and knows nothing of this host."""

    project: Project
    image: str
    source: Source

    def ask(self, *words: str, target: Path | None = None) -> str:
        """What it answers. `target`: file that receives it instead. Raises OpsError where it cannot read."""
        repository, how = self.source.repository, How(timeout=READ_SECONDS, ok=None)
        if target:
            how["target"] = target
        addresses = {one: str(repository.where["address"]) for one in repository.names if "address" in repository.where}
        with tempfile.TemporaryDirectory(dir=encrypted_copies.private(self.project.state.root), prefix=".bootstrap-") as folder:
            command = ("backup", "read", "--repository", repository.name, "--", *words)
            answer = self.project.engine.run(OneOff(
                self.image, command, "bootstrap", self._files(Path(folder)), outside=repository.remote, hosts=addresses,
                reads_all=True,
            ), **how)  # fmt: skip
        if answer.returncode:
            wrong = "wrong password" in answer.stderr
            raise OpsError(
                "the repository cannot be read",
                "the key is not the one of this repository" if wrong else answer.last_words(2),
                "another page of the safe" if wrong else "is the copy complete? try another one",
            )  # fmt: skip
        return answer.stdout

    def _files(self, folder: Path) -> dict[Path, str]:
        """What the backup container would be given, for this one repository. It lies there while restic runs."""
        config, secrets = folder / "config", folder / "secrets"
        for made in (config, secrets):
            made.mkdir(mode=0o700)
        one = self.source.repository
        shipped = self.project.host.repository / "config" / SERVICE / "backup.toml"
        further = [one] if one.remote else []
        texts = {"backup.toml": shipped.read_text(), "repositories.json": applied_settings.repositories_json(further)}
        texts |= {applied_settings.ca_file(one): str(one.where["ca"])} if "ca" in one.where else {}
        for name, text in texts.items():
            files.write(config / name, text)
        files.write(secrets / keys.CIPHER, self.source.key, mode=0o600)
        for part, value in self.source.credentials.items():
            files.write(secrets / one.secrets[part], value, mode=0o600)
        local = {self.source.folder / "files": f"{VOLUME}/files:ro"} if self.source.folder else {}
        return {config: "/etc/cc03/current:ro", secrets: "/run/secrets:ro", **local}


def import_key(project: Project, path: Path) -> int | None:
    """Store an exported key, if it opens the local repository; the version that it got, None where it is there already.

    Raises OpsError where it does not open it, HostLacks where there is none to try it on.
    """
    value, identities = keys.read(path), keys.read_recovery(path)
    folder = volumes.folder_of(project, REPOSITORY)
    if folder is None or not (folder / "files" / "config").is_file():
        raise HostLacks(
            "there is no repository to try the key on", f"the volume {REPOSITORY} holds none",
            "with a copy of one elsewhere: inv restore --bootstrap",
        )  # fmt: skip
    local = Source(Repository(LOCAL, "folder", {"path": str(folder)}), value, {})
    Reader(project, image(project), local).ask("cat", "config")
    state = project.state
    if versions.numbers(state, keys.CIPHER) and versions.values(state, keys.CIPHER)[0] == value:
        return None
    copies = observe(project, with_health=False).given
    number = keys.version_for(versions.taken(state, keys.CIPHER), copies, f"{project.name}-{keys.CIPHER}")
    (state.secrets / keys.CIPHER).mkdir(mode=0o700, exist_ok=True)
    files.write(state.secrets / keys.CIPHER / str(number), value, mode=0o600)
    for identity in identities[:1]:
        keys.keep_recovery_key(state, number, identity)
    return number


def newest_set(project: Project, reader: Reader) -> Found:
    """The newest set whose host.tar the recovery keys open; it is left in the state folder as `bootstrap.tar`.

    Earlier versions wrote it in the clear, and anybody could: such a set is taken where no other can be opened.

    Raises OpsError where the key is wrong, HostLacks where no set has a host.tar that can be opened.
    """
    unopened, clear = 0, None
    with tempfile.TemporaryDirectory(dir=encrypted_copies.private(project.state.root), prefix=".bootstrap-") as folder:
        out = Path(folder)
        listed = json.loads(reader.ask("snapshots"))
        for snapshot in sorted(listed, key=lambda one: str(one["time"]), reverse=True):
            if "missing=host" in _tags(snapshot):
                continue
            _fetch(reader, snapshot, out)
            if not archive.opens(out / archive.NAME, reader.source.recovery):
                unopened += 1
            elif archive.is_sealed(out / archive.NAME):
                return replace(_found(snapshot, out, project), unopened=unopened)
            else:
                clear = clear or (snapshot, unopened)
                if not reader.source.recovery:
                    break
        if clear:
            _fetch(reader, clear[0], out)
            return replace(_found(clear[0], out, project), unopened=clear[1])
    if unopened:
        raise HostLacks(
            f"none of the {unopened} sets can be opened with this key file",
            "its recovery key is not the one they were made with, or it has none, like files of earlier versions",
            "--key FILE, with the newest file of inv backup.key --export",
        )  # fmt: skip
    raise HostLacks(
        "no set has what the host knew", "every set was made without host.tar", "the oldest copy of the repository?"
    )


def _tags(snapshot: Mapping[str, Any]) -> list[str]:
    return [str(tag) for tag in snapshot.get("tags") or ()]


def _fetch(reader: Reader, snapshot: Mapping[str, Any], out: Path) -> None:
    for member in ("manifest.json", archive.NAME):
        reader.ask("dump", str(snapshot["id"]), f"{STAGE}/{member}", target=out / member)


def _found(snapshot: Mapping[str, Any], out: Path, project: Project) -> Found:
    manifest = json.loads((out / "manifest.json").read_text())
    if files.sha256(out / "host.tar") != manifest["host"]["sha256"]:
        raise OpsError("host.tar is not the one of the manifest", "the repository is damaged", "another copy of the repository")
    facts = archive.read_facts(out / "host.tar")
    missing = tuple(tag.partition("=")[2] for tag in _tags(snapshot) if tag.startswith("missing="))
    shutil.move(out / "host.tar", _kept(project))
    _kept(project).chmod(0o600)
    return Found(
        set=manifest["set"], made=datetime.strptime(manifest["set"], STAMP).replace(tzinfo=UTC),
        snapshot=snapshot["short_id"], missing=missing,
        project=facts["project"], commit=str(facts.get("commit") or ""), release=facts.get("release"),
        images=facts.get("images", {}),
    )  # fmt: skip


def _kept(project: Project) -> Path:
    return encrypted_copies.private(project.state.root) / "bootstrap.tar"


def summary(found: Found, project: Project) -> str:
    """What will be restored, in a line or two.

    Raises HostLacks where the set is another project's.
    """
    if found.project != project.name:
        raise HostLacks(
            f"the repository is that of the project {found.project}", f"this command is about {project.name}",
            f"CC03_PROJECT={found.project}, then again",
        )  # fmt: skip
    differing = [name for name, tag in found.images.items() if name in project.images and project.images[name].tag != tag]
    note = f"; this checkout has other images of {', '.join(differing)} than ran then" if differing else ""
    commit = f" (git checkout {found.commit[:12]} has exactly that)" if note and found.commit else ""
    skipped = (
        f"\nnote: {found.unopened} newer sets were made with a recovery key that is not in the key file; what the host has "
        "changed since then (secrets, certificates, settings) does not come back. A newer file of inv backup.key --export "
        "opens them"
    ) if found.unopened else ""  # fmt: skip
    return f"newest set {found.set}, release {found.release} of {found.project}{note}{commit}{skipped}"


def put_in_place(project: Project, source: Source, found: Found) -> None:
    """The state folder, from the archive."""
    state = project.state
    files.write(state.root / MARK, files.dump({"set": found.set, "repository": source.repository.url}))
    settings = project.host.repository / "config" / "stack.yaml"
    archive.unpack(_kept(project), state.root, settings, source.recovery)
    _kept(project).unlink()
    # It may have been rotated after that set was made.
    if keys.newest(state) != source.key:
        files.write(state.secrets / keys.CIPHER / str(versions.next_version(state, keys.CIPHER)), source.key, mode=0o600)
    for identity in source.recovery[:1]:
        keys.keep_recovery_key(state, versions.newest(state, keys.CIPHER), identity)


def provide_data(project: Project, source: Source, found: Found, report: Callable[[str], None]) -> Found:
    """Have the restored stack reach the data: a folder becomes its local repository; of a remote one, it keeps the credentials
    that have just proved to be good."""
    if source.folder:
        copy_repository(project, source.folder, report)
        return found
    declared = project.settings.repositories
    name, number = declared_as(declared, source.repository)
    credentials.keep(project, declared[number - 2], source.credentials)
    return replace(found, repository=name, number=number)


def declared_as(settings: Sequence[Repository], read: Repository) -> tuple[str, int]:
    """(name, pgBackRest's number) of a repository by the settings of that time, which may call and reach it otherwise.

    Raises HostLacks where they do not know it: this host could not say then where the data are.
    """
    for number, one in enumerate(settings, start=2):
        if one.identity == read.identity:
            return one.name, number
    known = ", ".join(f"{one.name} ({one.url})" for one in settings) or "none"
    raise HostLacks(
        f"{read.url} is not among the repositories of that stack", f"its stack.yaml names {known}",
        "give it as it is named there; or copy the repository to this host and give the folder",
    )  # fmt: skip


def copy_repository(project: Project, repository: Path, report: Callable[[str], None]) -> None:
    """The repository becomes the local one of this host, unless it lies there already."""
    if volumes.folder_of(project, REPOSITORY) is None:
        project.engine.create_volume(volume_name(project.name, REPOSITORY))
    target = volumes.folder_of(project, REPOSITORY)
    if target is None:
        raise HostLacks("the volume of the repository is not on this host", f"{REPOSITORY} has no folder here", "inv status")
    if target.resolve() == repository.resolve():
        return
    needed = int(project.host.run(("du", "-sb", str(repository)), timeout=600).stdout.split()[0])
    free = shutil.disk_usage(target).free
    if needed * 1.05 > free:
        raise HostLacks("the repository does not fit on this host", f"{needed:,} bytes, {free:,} are free", "a larger disk")
    report(f"copying the repository, {needed:,} bytes")
    for part in ("postgres", "files"):
        project.host.run(("cp", "-a", "-T", str(repository / part), str(target / part)), timeout=COPY_SECONDS)
    with suppress(OSError):
        shutil.copy2(repository / "drills.jsonl", target / "drills.jsonl")
    project.host.run(("chown", "-R", f"{applied_settings.OWNER}:{applied_settings.OWNER}", str(target)), timeout=600)
    project.host.run(("chmod", "0700", str(target)))


def done(project: Project, source: Source) -> None:
    """The keys have just been used: there is a copy of them elsewhere, unless the file was of an earlier version."""
    if keys.recovery_key(project.state) in source.recovery:
        keys.note_exported(project.state)
    else:
        keys.mark_exported(project.state)
    (project.state.root / MARK).unlink(missing_ok=True)
