"""A file of Keycloak's H2 database: found, copied and read. Only the copy is opened, without a network."""

from __future__ import annotations

import fcntl
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ops.core.errors import HostLacks, OpsError
from ops.core.files import remove_clear, sha256
from ops.engines.engine import Engine, OneOff

NAME = "keycloakdb.mv.db"
"""What Keycloak calls it; the copy bears this name whatever the file is called."""
SLOT = "keycloak-h2"
"""Name of the container that reads the copy."""
ASK_SECONDS = 120.0
INSPECT = r"""jar=$(echo /opt/keycloak/lib/lib/main/com.h2database.h2-*.jar)
for user in "" sa; do
  said=$(java -Djava.io.tmpdir=/tmp -cp "$jar" org.h2.tools.Shell -user "$user" -password "${user:+password}" \
    -url 'jdbc:h2:file:/h2/keycloakdb;IFEXISTS=TRUE;NON_KEYWORDS=VALUE' -sql "$1" 2>&1)
  [[ $said == *28000-* ]] || break
done
printf '%s\n' "$said" "user:$user"
"""
"""Keycloak's own user of H2 has no name and no password; that of earlier versions was sa, with the password `password`."""
MARK = "cc03-h2"
KINDS = ("realms", "clients", "users", "roles")
QUERY = (
    "SELECT 'cc03-h2 ' || (SELECT version FROM migration_model ORDER BY update_time DESC LIMIT 1)"
    " || ' ' || (SELECT COUNT(*) FROM realm) || ' ' || (SELECT COUNT(*) FROM client)"
    " || ' ' || (SELECT COUNT(*) FROM user_entity) || ' ' || (SELECT COUNT(*) FROM keycloak_role)"
    " || ' ' || (SELECT LISTAGG(name, ',') WITHIN GROUP (ORDER BY name) FROM realm)"
)
_CODE = re.compile(r"\[(\d{5})-\d+\]")
_EXCEPTION = re.compile(r"^(Exception in thread \S+ )?[\w.]+Exception: ")
_REASONS = {
    "90020": ("another program has it open", "stop the Keycloak that uses it, then run this again"),
    "90048": (
        "another major version of H2 wrote it: Keycloak before 20 did",
        "start a Keycloak of 20 to 25 on a copy of it once with the H2 migration tool (org.h2.tools.Upgrade), then move that",
    ),
    "28000": (
        "its user and password are not those that Keycloak gives it", "set them to none, with ALTER USER on a copy",
    ),
    "42102": ("it holds no tables of Keycloak", "give the file data/h2/keycloakdb.mv.db of a Keycloak"),
    "42104": ("it holds no tables of Keycloak", "give the file data/h2/keycloakdb.mv.db of a Keycloak"),
}  # fmt: skip
_DAMAGED = ("it is damaged", "take the newest sound copy from a backup of that host; H2's Recover tool reads what is left")


@dataclass(frozen=True)
class Source:
    """An H2 database of Keycloak."""

    path: str
    version: str
    counts: Mapping[str, int]
    realms: tuple[str, ...]
    user: str = ""
    """H2's user, where it has a name: `sa` in databases that earlier versions made."""


def file_of(names: Iterable[str]) -> str:
    """The one database among the files of a folder. Raises OpsError where that is not clear."""
    found = sorted(name for name in names if name.endswith(".mv.db"))
    if len(found) != 1:
        raise OpsError(
            "there is no H2 database to move" if not found else "there are several H2 databases in that folder",
            f"found: {', '.join(found)}" if found else "the folder holds no file that ends in .mv.db",
            "inv keycloak.migrate-h2 FILE, with the path of keycloakdb.mv.db",
        )
    return found[0]


def parse_answer(path: str, output: str) -> Source:
    """What H2 answered to QUERY. Raises OpsError, with what to do, where it answered something else."""
    lines = (line.strip() for line in output.splitlines())
    line = next((line for line in lines if line.startswith(f"{MARK} ") and "||" not in line), "")
    fields = line.split(" ", 6)
    if len(fields) != 7:
        raise refusal(path, output)
    user = next((line.removeprefix("user:").strip() for line in output.splitlines() if line.startswith("user:")), "")
    numbers_found = (int(field) for field in fields[2:6])
    return Source(path, fields[1], dict(zip(KINDS, numbers_found, strict=True)), tuple(fields[6].split(",")), user)


def refusal(path: str, output: str) -> OpsError:
    """Why H2 cannot read it, by its error code."""
    match = _CODE.search(output)
    code = match[1] if match else ""
    why, next_step = _REASONS.get(code, _DAMAGED)
    said = next((" ".join(line.split()) for line in output.splitlines() if "rror" in line or "xception" in line), "")
    if code not in _REASONS and said:
        why = f"{why}: {_EXCEPTION.sub('', said).partition(' Possible solution')[0][:160]}"
    return OpsError(
        f"the H2 database {path} cannot be read", f"{why}; it was not touched, and neither was PostgreSQL", next_step
    )


def find(path: Path) -> Path:
    """The database file that a path names. Raises OpsError where there is none, or more than one."""
    try:
        if path.is_dir():
            folder = path / "h2" if (path / "h2").is_dir() else path
            return folder / file_of(one.name for one in folder.iterdir())
        if path.is_file() and path.name.endswith(".mv.db"):
            return path
    except OSError as problem:
        raise HostLacks(f"cannot read {path}", str(problem.strerror), "run it as root") from problem
    what = "is no H2 database" if path.exists() else "does not exist"
    raise OpsError(
        f"{path} {what}", "a folder data/h2 or a file that ends in .mv.db is needed", "inv --help keycloak.migrate-h2"
    )


def copy(source: Path, folder: Path) -> str:
    """Copy the database into a folder for root alone, and return its SHA-256.

    Raises OpsError where a Keycloak has it open, or it changed while it was copied.
    """
    remove_clear(folder)
    target = folder / "data" / NAME
    target.parent.mkdir(parents=True, mode=0o700)
    folder.chmod(0o700)
    with source.open("rb") as file:
        try:
            # H2 holds an exclusive lock on the file for as long as it is open.
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as problem:
            raise OpsError(
                f"the H2 database {source} is in use", "a copy of it would be torn", "stop the Keycloak that has it open"
            ) from problem
    before = sha256(source)
    shutil.copyfile(source, target)
    target.chmod(0o600)
    if not before == sha256(target) == sha256(source):
        raise OpsError(f"the H2 database {source} changed while it was copied", "somebody writes to it", "stop that Keycloak")
    return before


def inspect(engine: Engine, source: Path, folder: Path, image: str) -> Source:
    """Which Keycloak wrote it, and what is in it, by the copy.

    Raises OpsError where H2 cannot read it; what to do is said by H2's error code.
    """
    one = OneOff(image, ("bash", "-c", INSPECT, "h2", QUERY), SLOT, {folder / "data": "/h2"})
    answer = engine.run(one, timeout=ASK_SECONDS, ok=None)
    return parse_answer(str(source), answer.stdout + answer.stderr)
