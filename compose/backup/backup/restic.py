"""restic: one repository of files beside each repository of PostgreSQL. One snapshot is one set."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from . import command, reserve
from .configuration import aws_file, known_hosts_file
from .errors import CommandError, JobError
from .paths import CACHE, CIPHER, CONFIG, FILES, RUN, TEMPORARY
from .progress import Progress
from .repositories import LOCAL, Repository, restic_url

STAMP = "%Y%m%dT%H%M%SZ"
DEADLINE = 6 * 3600
SHORT = 300
"""Seconds for what reads indexes only."""
LOOK = 60
"""Seconds for looking which snapshots there are: restic itself would try for a quarter of an hour."""
MISSING_REPOSITORY, LOCKED, WRONG_KEY = 10, 11, 12
"""Exit codes since restic 0.17."""
REWRITTEN = 2 << 30
"""Bytes: a container of half a CPU must not repack for hours."""
MEMORY = "160MiB"
"""What its collector aims to stay below, in a container of 512 MB that also holds pgBackRest."""


@dataclass(frozen=True)
class Snapshot:
    """Bytes: `total_bytes` of the files as they are, `added_bytes` what it added to the repository."""

    id: str
    set: str
    kind: str
    made_at: datetime
    missing: tuple[str, ...] = ()
    total_bytes: int = 0
    added_bytes: int = 0


def argv(repository: Repository, *words: str | Path, key: Path = CIPHER) -> list[str | Path]:
    own: list[str | Path] = ["restic", "--repo", restic_url(repository), "--password-file", key, "--json"]
    own += ["--cache-dir", CACHE] if repository.remote else ["--no-cache"]
    return [*own, *_reach(repository), *words]


def _reach(repository: Repository) -> list[str | Path]:
    where = repository.where
    if repository.kind == "s3":
        lookup = "path" if where.get("path_style") else "dns"
        own: list[str | Path] = ["-o", f"s3.bucket-lookup={lookup}", "-o", f"s3.region={where.get('region', 'us-east-1')}"]
        return own + (["--cacert", CONFIG / where["ca"]] if "ca" in where else [])
    if repository.kind == "sftp":
        ssh = f"ssh -i {repository.secrets['key']} -p {where.get('port', 22)} -o BatchMode=yes"
        ssh += f" -o UserKnownHostsFile={known_hosts_file(repository)} -o StrictHostKeyChecking=yes"
        return ["-o", f"sftp.command={ssh} {where['user']}@{where['host']} -s sftp"]
    return []


def environment(*repositories: Repository) -> dict[str, str]:
    """No secret: credentials are named as files."""
    own = {
        "HOME": str(RUN), "TMPDIR": str(TEMPORARY), "GOMAXPROCS": "1", "GOGC": "25", "GOMEMLIMIT": MEMORY,
        "RESTIC_PROGRESS_FPS": "1", "RESTIC_READ_CONCURRENCY": "1",
    }  # fmt: skip
    for one in repositories:
        if one.kind == "s3":
            own["AWS_SHARED_CREDENTIALS_FILE"] = str(aws_file(one))
    return own


def run(
    repository: Repository, *words: str | Path, deadline: float = SHORT, on_line: Callable[[str], None] | None = None,
    cwd: Path | None = None, key: Path = CIPHER, **more: object,
) -> str:  # fmt: skip
    """What it printed. `key`: file that holds one that opens the repository."""
    TEMPORARY.mkdir(exist_ok=True)
    return command.run(
        argv(repository, *words, key=key), deadline=deadline, env=environment(repository), on_line=on_line, cwd=cwd, **more
    )  # fmt: skip


def prepare(repository: Repository, source: Repository | None = None) -> None:
    """Creates the repository where there is none, and removes the locks that a killed run has left."""
    try:
        unlock(repository)
    except CommandError as error:
        if error.returncode != MISSING_REPOSITORY:
            raise
        words: list[str | Path] = ["init"]
        if source:
            # Equal chunks are stored once only where the same borders are drawn.
            words += ["--copy-chunker-params", "--from-repo", restic_url(source), "--from-password-file", CIPHER]
        run(repository, *words)


def unlock(repository: Repository) -> None:
    """The local one has no other writer than who holds the lock of the jobs. Elsewhere only what is dead for sure."""
    run(repository, "unlock", *(["--remove-all"] if repository.name == LOCAL else []))


def backup(
    repository: Repository, name: str, kind: str, missing: Sequence[str], paths: Iterable[Path], exclude: Sequence[str],
    progress: Progress,
) -> str:  # fmt: skip
    """The id of a new snapshot. Raises CommandError also where a file could not be read (restic's exit code 3)."""
    tags = [f"set={name}", f"kind={kind}", *(f"missing={component}" for component in missing)]
    moment = datetime.strptime(name, STAMP).strftime("%Y-%m-%d %H:%M:%S")
    words: list[str | Path] = ["backup", "--host", "stack", "--group-by", "host", "--time", moment]
    for tag in tags:
        words += ["--tag", tag]
    for pattern in exclude:
        words += ["--exclude", pattern]
    summary: dict = {}

    def line(text: str) -> None:
        said = _json(text)
        if said.get("message_type") == "status" and said.get("total_bytes"):
            progress.bytes(said.get("bytes_done", 0), said["total_bytes"])
        elif said.get("message_type") == "summary":
            summary.update(said)

    run(repository, *words, *paths, deadline=DEADLINE, on_line=line)
    if not summary.get("snapshot_id"):
        raise JobError(f"restic said nothing of a snapshot in {repository.name}")
    return str(summary["snapshot_id"])


def copy(source: Repository, target: Repository, snapshots: Sequence[str]) -> None:
    """The same snapshots in another repository; what is there already is skipped."""
    words = ["copy", "--from-repo", restic_url(source), "--from-password-file", str(CIPHER), *snapshots]
    run(target, *words, deadline=DEADLINE)


def snapshots(repository: Repository) -> list[Snapshot]:
    """Oldest first. Empty where the repository does not exist yet."""
    try:
        return parse_snapshots(run(repository, "snapshots", "--no-lock", deadline=LOOK))
    except CommandError as error:
        if error.returncode == MISSING_REPOSITORY:
            return []
        raise


def parse_snapshots(text: str) -> list[Snapshot]:
    found = []
    for item in json.loads(text.strip().splitlines()[-1]) or []:
        tags = [tag.partition("=") for tag in item.get("tags") or []]
        values = {key: value for key, _, value in tags}
        if "set" not in values:
            continue
        made_at = datetime.strptime(values["set"], STAMP).replace(tzinfo=UTC)
        summary = item.get("summary") or {}
        missing = tuple(sorted(value for key, _, value in tags if key == "missing"))
        total, added = summary.get("total_bytes_processed", 0), summary.get("data_added_packed", 0)
        found.append(Snapshot(item["id"], values["set"], values.get("kind", ""), made_at, missing, total, added))
    return sorted(found, key=lambda one: one.set)


def forget(repository: Repository, ids: Sequence[str], *, prune: bool) -> None:
    if ids:
        run(repository, "forget", *ids)
    if prune:
        most = str(most_rewritten(repository))
        run(repository, "prune", "--max-unused", "10%", "--max-repack-size", most, deadline=DEADLINE)


def most_rewritten(repository: Repository) -> int:
    """Bytes that a prune may write anew: what it replaces goes only afterwards."""
    return min(REWRITTEN, reserve.free(repository.folder) // 2) if repository.folder else REWRITTEN


def check(repository: Repository) -> None:
    """Reads and decrypts everything. Raises JobError that names the damaged file."""
    try:
        run(repository, "check", "--read-data", deadline=DEADLINE)
    except CommandError as error:
        faults = check_faults(error.output)
        raise JobError(f"repository {repository.name} is damaged: {'; '.join(faults) or error}") from None


def check_faults(output: str) -> list[str]:
    """The messages of errors in the JSON lines of `restic check --json`, without its advice how to repair."""
    faults = []
    for text in output.splitlines():
        said = _json(text)
        if said.get("message_type") in ("error", "exit_error") or "error" in said:
            message = said.get("message") or said.get("error")
            faults.append(" ".join(str(message.get("message") if isinstance(message, dict) else message).split()))
        elif not said and text.strip():
            faults.append(" ".join(text.split()))
    advice = next((at for at, text in enumerate(faults) if "contains damaged pack files" in text), len(faults))
    return list(dict.fromkeys(faults[:advice] or faults))[:20]


def names_below(repository: Repository, snapshot: str, folder: Path) -> set[str]:
    """Names of what lies directly in a folder of a snapshot; empty where the folder is not in it."""
    said = run(repository, "ls", "--no-lock", snapshot, str(folder))
    found = set()
    for text in said.splitlines():
        node = _json(text)
        path = Path(node.get("path", "/"))
        if node.get("struct_type") == "node" and path.parent == folder:
            found.add(path.name)
    return found


def restore(repository: Repository, snapshot: str, folder: Path, target: Path, exclude: Sequence[str] = ()) -> None:
    """A folder of a snapshot becomes `target`."""
    words: list[str | Path] = ["restore", f"{snapshot}:{folder}", "--target", target, "--no-lock"]
    for pattern in exclude:
        words += ["--exclude", pattern]
    run(repository, *words, deadline=DEADLINE)


def snapshot_files() -> frozenset[str]:
    """Of the local repository, without asking restic, which takes half a second of CPU to derive the key."""
    folder = FILES / "snapshots"
    return frozenset(path.name for path in folder.iterdir()) if folder.is_dir() else frozenset()


def _json(text: str) -> dict:
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
