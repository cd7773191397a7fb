"""Copies of Redis: fetched as a replica would, encrypted on the way, proven readable before they count."""

import contextlib
import hashlib
import os
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path("/var/lib/pgbackrest/redis")
CIPHER = ["openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-iter", "600000", "-pass", "file:/run/secrets/backup-cipher"]
FETCH = ["redis-cli", "-h", "redis", "--user", "backup", "--no-auth-warning", "--rdb", "-"]
CHECK = ["redis-check-rdb", "/dev/stdin"]
SECRET = Path("/run/secrets/redis-backup")
STAMP = "%Y%m%dT%H%M%SZ"
DEADLINE = 900


class CopyError(Exception):
    pass


@dataclass(frozen=True)
class Copy:
    path: Path
    taken: datetime


def copies(root: Path = ROOT) -> list[Copy]:
    """Oldest first; what was not finished has another ending and does not count."""
    return [
        Copy(path, datetime.strptime(path.name.split(".")[0], STAMP).replace(tzinfo=UTC))
        for path in sorted(root.glob("*.rdb.enc"))
    ]


def take(keep: int, root: Path = ROOT) -> Path:
    for leftover in root.glob("*.partial"):
        leftover.unlink()
    target = root / f"{datetime.now(UTC).strftime(STAMP)}.rdb.enc"
    partial = target.with_suffix(".partial")
    _fetch(partial)
    _prove(partial)
    digest = hashlib.sha256(partial.read_bytes()).hexdigest()
    target.with_suffix(".sha256").write_text(f"{digest}  {target.name}\n")
    partial.rename(target)
    for old in copies(root)[:-keep]:
        old.path.unlink()
        old.path.with_suffix(".sha256").unlink(missing_ok=True)
    return target


def _fetch(target: Path) -> None:
    # In the environment of this one child, since argv is readable by everybody.
    environment = {**os.environ, "REDISCLI_AUTH": SECRET.read_text().strip()}
    with target.open("wb") as stream:
        redis = subprocess.Popen(FETCH, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        cipher = subprocess.Popen([*CIPHER, "-e", "-salt"], stdin=redis.stdout, stdout=stream, stderr=subprocess.PIPE)
        redis.stdout.close()
        _finish("redis-cli --rdb", redis)
        _finish("openssl enc", cipher)
        os.fsync(stream.fileno())


def _prove(path: Path) -> None:
    """Decrypts what was stored and has redis-check-rdb read all of it, its checksum included."""
    with path.open("rb") as stream:
        plain = subprocess.Popen([*CIPHER, "-d"], stdin=stream, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        check = subprocess.Popen(CHECK, stdin=plain.stdout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        plain.stdout.close()
        _finish("redis-check-rdb", check)
        _finish("openssl enc -d", plain)


def _finish(name: str, process: subprocess.Popen) -> None:
    stream = process.stderr or process.stdout
    try:
        process.wait(timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise CopyError(f"{name}: not done within {DEADLINE} s") from None
    said = " ".join(stream.read().decode(errors="replace").split()) if stream else ""
    if process.returncode != 0:
        raise CopyError(f"{name}: exit {process.returncode}: {said[-300:]}")
