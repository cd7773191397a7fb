"""What the tools read: completed with keys and credentials, on a tmpfs only. Written anew at start and at each reload."""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from .errors import JobError
from .paths import CIPHER, CONFIG, DRILL_CONF, GIVEN_CONF, PGBACKREST_CONF, RUN, SCRATCH, SECRETS
from .repositories import LOCAL, Repository

ED25519 = bytes.fromhex("302e020100300506032b657004220420")
"""What stands before the 32 bytes of a private Ed25519 key in PKCS#8 (RFC 8410)."""


AWAY = RUN / "away.json"
NOWHERE = "/dev/null"
"""Nothing can be read from or written to a place below it, which pgBackRest finds out at once."""


def pgbackrest(
    template: str, repositories: Iterable[Repository], read: Mapping[str, str], away: frozenset[str] = frozenset()
) -> str:  # fmt: skip
    """pgbackrest.conf: the mounted one, then keys and the further repositories. Pure.

    read: file -> content, of the key and of every credential. away: names of those that are not to be asked at present.
    """
    lines = ["", "[global]"]
    for repository in repositories:
        option = f"repo{repository.number}-"
        lines += [f"{option}cipher-type=aes-256-cbc", f"{option}cipher-pass={read[str(CIPHER)]}"]
        lines += [f"{option}retention-full={repository.keep}"]
        if repository.name in away:
            lines += [f"{option}type=posix", f"{option}path={NOWHERE}/{repository.name}"]
        elif repository.name != LOCAL:
            lines += [f"{option}path={repository.postgres}", f"{option}bundle=y", f"{option}block=y"]
            lines += [f"{option}{name}={value}" for name, value in _place(repository, read).items()]
    return template + "\n".join(lines) + "\n"


def _place(repository: Repository, read: Mapping[str, str]) -> dict[str, object]:
    where, secrets = repository.where, repository.secrets or {}
    if repository.kind == "s3":
        options: dict[str, object] = {
            "type": "s3", "s3-endpoint": where["endpoint"].partition("://")[2] or where["endpoint"],
            "s3-bucket": where["bucket"], "s3-region": where.get("region", "us-east-1"),
            "s3-uri-style": "path" if where.get("path_style") else "host",
            "s3-key": read[secrets["key"]], "s3-key-secret": read[secrets["key-secret"]],
        }  # fmt: skip
        return options | ({"storage-ca-file": CONFIG / where["ca"]} if "ca" in where else {})
    if repository.kind == "sftp":
        return {
            "type": "sftp", "sftp-host": where["host"], "sftp-host-port": where.get("port", 22),
            "sftp-host-user": where["user"], "sftp-host-key-hash-type": "sha256", "sftp-private-key-file": secrets["key"],
            "sftp-known-host": known_hosts_file(repository), "sftp-host-key-check-type": "strict",
        }  # fmt: skip
    return {"type": "posix"}


def for_drill(conf: str) -> str:
    """The same repositories; PostgreSQL is no longer on another host but in the scratch space."""
    kept = [line for line in conf.splitlines() if not line.startswith(("pg1-", "tls-server-", "lock-path", "process-max"))]
    lines = ["", "[main]", f"pg1-path={SCRATCH}/postgres", "[global]", "lock-path=/run/pgbackrest/drill", "process-max=2"]
    return "\n".join([*kept, *lines]) + "\n"


def signing_key(secret: str) -> bytes:
    """An Ed25519 private key in DER, derived from a random token: the same token always gives the same key."""
    return ED25519 + sha256(secret.encode()).digest()


def known_hosts_file(repository: Repository) -> Path:
    return RUN / f"known-hosts-{repository.alias}"


def aws_file(repository: Repository) -> Path:
    return RUN / f"aws-{repository.alias}"


def write(repositories: tuple[Repository, ...], away: frozenset[str] = frozenset()) -> None:
    """Parameters: all of them; names of those that are not to be asked at present.

    Raises OSError or ValueError where a secret is missing or empty.
    """
    conf = _reached(repositories, away)
    _write(PGBACKREST_CONF, conf.encode())
    _write(DRILL_CONF, for_drill(conf).encode())
    _write(AWAY, json.dumps(sorted(away)).encode())
    roles = ("backup", "receiver")
    _write(RUN / "pgpass", "".join(f"postgres:5432:*:{one}:{_secret(SECRETS / f'postgres-{one}')}\n" for one in roles).encode())
    _write(RUN / "signing.der", signing_key(_secret(SECRETS / "backup-signing")))


def told_away() -> list[str]:
    """Names of the repositories that pgBackRest is not to ask, as it was last told."""
    return list(json.loads(AWAY.read_text())) if AWAY.exists() else []


def _reached(repositories: Iterable[Repository], away: frozenset[str] = frozenset()) -> str:
    """pgbackrest.conf, after restic's files of credentials and host keys were written."""
    known = tuple(repositories)
    read = credentials(known)
    reach(known, read)
    return pgbackrest((CONFIG / "pgbackrest.conf").read_text(), known, {**read, str(CIPHER): _secret(CIPHER)}, away)


def credentials(repositories: Iterable[Repository]) -> dict[str, str]:
    """File -> content, of all that these are reached with. Raises OSError or ValueError where one is missing or empty."""
    return {path: _secret(Path(path)) for one in repositories for path in (one.secrets or {}).values()}


@contextlib.contextmanager
def with_credentials(
    repository: Repository, given: Mapping[str, str], repositories: Iterable[Repository]
) -> Iterator[tuple[Repository, Path]]:
    """A repository as somebody with other credentials has it, and the pgbackrest.conf to it, for the length of the block.

    Raises JobError where they are not those of its kind.
    """
    if given.keys() != (repository.secrets or {}).keys():
        raise JobError(f"{repository.name} takes {', '.join(repository.secrets or {}) or 'no credentials'}")
    files = {part: RUN / f"given-{part}" for part in given}
    conf = GIVEN_CONF
    other = replace(repository, secrets={part: str(path) for part, path in files.items()}, given=True)
    try:
        for part, path in files.items():
            _write(path, given[part].encode())
        _write(conf, _reached([other if one.name == other.name else one for one in repositories]).encode())
        yield other, conf
    finally:
        for path in (*files.values(), conf, aws_file(other), known_hosts_file(other)):
            path.unlink(missing_ok=True)


def reach(repositories: Iterable[Repository], read: Mapping[str, str]) -> None:
    """What restic and ssh read to reach them. `read`: file -> content, of every credential."""
    for one in repositories:
        if one.kind == "s3":
            key, secret = read[one.secrets["key"]], read[one.secrets["key-secret"]]
            text = f"[default]\naws_access_key_id={key}\naws_secret_access_key={secret}\n"
            _write(aws_file(one), text.encode())
        elif one.kind == "sftp":
            port = one.where.get("port", 22)
            host = one.where["host"] if port == 22 else f"[{one.where['host']}]:{port}"
            _write(known_hosts_file(one), f"{host} {one.where['host_key']}\n".encode())


def _secret(path: Path) -> str:
    text = path.read_text().strip()
    if not text:
        raise ValueError(f"secret {path.name} is empty")
    return text


def _write(path: Path, content: bytes) -> None:
    """Aside and renamed: the running server may read it at any time."""
    new = path.with_name(path.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    new.rename(path)
