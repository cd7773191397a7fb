"""An empty host and a repository: the newest set read by restic, the state folder put in place, the repository copied."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops import podman
from ops.errors import HostLacks, OpsError, UsageProblem
from ops.machine import state as files
from ops.machine.backup import archive, key
from ops.machine.images import build_image, obtain_base
from ops.machine.observe import images
from ops.machine.project import Project
from ops.plan.bootstrap import Found
from ops.plan.images import image_steps
from ops.render import container_name, volume_name
from ops.steps import BuildImage, ObtainBase

READ_SECONDS = 1800.0
COPY_SECONDS = 6 * 3600.0
MARK = "bootstrap.json"
"""In the state folder from the moment that it is put in place until the data are: what was broken off is done again."""
STAGE = "/var/lib/pgbackrest/stage"
"""Path within a snapshot, as the backup container saw it."""
SERVICE = "backup"


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
    containers = project.host.run(podman.containers_of(project.name)).stdout.split()
    if containers or (state.secrets.is_dir() and any(state.secrets.iterdir())):
        raise HostLacks(
            f"this host has the project {project.name} already", "its secrets would be replaced by those of the repository",
            "inv restore brings data back here; to begin anew: inv destroy --no-keep-data",
        )  # fmt: skip


def reader(project: Project) -> str:
    """Tag of the backup image, built where it is missing."""
    wanted = project.images[SERVICE]
    present = frozenset(images(project.host))
    for step in image_steps({SERVICE: wanted}, present, project.settings.get("deadlines", "build")):
        if isinstance(step, ObtainBase):
            obtain_base(project.host, step, lambda text: None)
        elif isinstance(step, BuildImage):
            build_image(project.host, step, lambda text: None)
    return wanted.tag


def _restic(
    project: Project, image: str, repository: Path, secret: Path, words: tuple[str, ...], target: Path | None = None
) -> str:  # fmt: skip
    """What restic answers, of a repository that it may not write to. `target`: file that receives it instead."""
    name = container_name(project.name, "bootstrap")
    own = ("restic", "--repo", "/repository/files", "--password-file", "/key", "--no-cache", "--no-lock")
    argv = podman.run_reader(name, image, (*own, *words), {repository: "/repository:ro", secret: "/key:ro"})
    project.host.run(podman.remove_all([name]), ok=None)
    answer = project.host.run(argv, timeout=READ_SECONDS, ok=None, target=target)
    if answer.returncode:
        wrong = "wrong password" in answer.stderr
        raise OpsError(
            "the repository cannot be read", "the key is not the one of this repository" if wrong else answer.last_words(2),
            "another page of the safe" if wrong else "is it a whole copy? try another one",
        )  # fmt: skip
    return answer.stdout


def opens(project: Project, repository: Path, value: str) -> None:
    """Raises OpsError where a key is not the one of a repository."""
    with tempfile.TemporaryDirectory(dir=project.state.root, prefix=".key-") as folder:
        secret = Path(folder) / "key"
        files.write(secret, value, mode=0o600)
        _restic(project, reader(project), repository, secret, ("cat", "config"))


def look(project: Project, image: str, repository: Path, key_file: Path) -> Found:
    """The newest set, whose host.tar is left in the state folder as `bootstrap.tar`.

    Raises OpsError where the key is wrong, HostLacks where no set has a host.tar.
    """
    value = key.read(key_file)
    with tempfile.TemporaryDirectory(dir=project.state.root, prefix=".bootstrap-") as folder:
        secret, out = Path(folder) / "key", Path(folder) / "out"
        out.mkdir(mode=0o700)
        files.write(secret, value, mode=0o600)
        listed = json.loads(_restic(project, image, repository, secret, ("snapshots", "--json")))
        for snapshot in sorted(listed, key=lambda one: str(one["time"]), reverse=True):
            tags = [str(tag) for tag in snapshot.get("tags") or ()]
            if "missing=host" in tags:
                continue
            for member in ("manifest.json", archive.NAME):
                words = ("dump", str(snapshot["id"]), f"{STAGE}/{member}")
                _restic(project, image, repository, secret, words, out / member)
            return _found(snapshot, tags, out, project)
    raise HostLacks(
        "no set has what the host knew", "every set was made without host.tar", "the oldest copy of the repository?"
    )


def _found(snapshot: dict[str, Any], tags: list[str], out: Path, project: Project) -> Found:
    manifest = json.loads((out / "manifest.json").read_text())
    with (out / "host.tar").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != manifest["host"]["sha256"]:
        raise OpsError("host.tar is not the one of the manifest", "the repository is damaged", "another copy of the repository")
    facts = archive.read_facts(out / "host.tar")
    shutil.move(out / "host.tar", _kept(project))
    _kept(project).chmod(0o600)
    return Found(
        set=manifest["set"], made=datetime.strptime(manifest["set"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC),
        snapshot=snapshot["short_id"], missing=tuple(tag.partition("=")[2] for tag in tags if tag.startswith("missing=")),
        project=facts["project"], commit=str(facts.get("commit") or ""), release=facts.get("release"),
        images=facts.get("images", {}),
    )  # fmt: skip


def _kept(project: Project) -> Path:
    return project.state.root / "bootstrap.tar"


def told(found: Found, project: Project) -> str:
    """What will be brought back, in a line or two.

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
    return f"newest set {found.set}, release {found.release} of {found.project}{note}{commit}"


def put_in_place(project: Project, image: str, repository: Path, found: Found) -> None:
    """The state folder of then, from the archive."""
    state = project.state
    files.write(state.root / MARK, files.dump({"set": found.set, "repository": str(repository), "image": image}))
    source = project.host.repository / "config" / "stack.yaml"
    archive.unpack(_kept(project), state.root, source)
    _kept(project).unlink()


def copy_repository(project: Project, repository: Path, report: Callable[[str], None]) -> None:
    """The repository becomes the local one of this host, unless it lies there already."""
    name = volume_name(project.name, "backup-repository")
    if project.host.run(("podman", "volume", "exists", name), ok=None).returncode:
        project.host.run(podman.volume_create(name, {"cc03.project": project.name}))
    target = Path(project.host.run(("podman", "volume", "inspect", "--format", "{{.Mountpoint}}", name)).stdout.strip())
    if target.resolve() == repository.resolve():
        return
    needed = int(project.host.run(("du", "-sb", str(repository)), timeout=600).stdout.split()[0])
    free = shutil.disk_usage(target).free
    if needed * 1.05 > free:
        raise HostLacks("the repository does not fit on this host", f"{needed:,} bytes, {free:,} are free", "a larger disk")
    report(f"copying the repository, {needed:,} bytes")
    for part in ("postgres", "files"):
        project.host.run(("cp", "-a", "-T", str(repository / part), str(target / part)), timeout=COPY_SECONDS)
    for extra in ("drills.jsonl",):
        with suppress(OSError):
            shutil.copy2(repository / extra, target / extra)
    project.host.run(("chown", "-R", f"{archive.OWNER}:{archive.OWNER}", str(target)), timeout=600)
    project.host.run(("chmod", "0700", str(target)))


def done(project: Project) -> None:
    """The key has just been used: there is a copy of it elsewhere."""
    files.write(project.state.backup / archive.ESCROWED, time.strftime("%Y-%m-%dT%H:%M:%S%z\n"))
    (project.state.root / MARK).unlink(missing_ok=True)
