"""Moving from H2 to PostgreSQL: what an H2 file is, why it is refused, and the plan that moves it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ops.core.errors import OpsError
from ops.core.plan import Plan, Step
from ops.core.state import H2_FOLDER
from ops.deploy.steps import AwaitHealthy, StartContainer, StopContainer
from ops.keycloak.h2.steps import DropImport, ExportRealms, ImportRealms, RemoveFolder, SwapBack, SwapDatabase, VerifyOperations
from ops.keycloak.schema.plan import Schema, numbers
from ops.keycloak.schema.steps import DropFormer, DumpDatabase
from ops.keycloak.schema.upgrade import SLOT, words

VERB = "keycloak.migrate-h2"
FOLDER = H2_FOLDER
"""Goes with the command."""
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


def refuse_other_version(source: Source, version: str) -> None:
    """Raises OpsError unless this Keycloak is the one that wrote the file, but for a patch: an export is read by its own."""
    if numbers(source.version)[:2] == numbers(version)[:2]:
        return
    if numbers(source.version) > numbers(version):
        way = (
            f"set KEYCLOAK_VERSION={source.version} and its KEYCLOAK_SHA256 in compose/keycloak/Containerfile; inv deploy; "
            "inv keycloak.migrate-h2 again"
        )
    else:
        # PostgreSQL's schema is of this version: an older Keycloak is never deployed on it.
        way = (
            f"upgrade a copy: unpack Keycloak {version} elsewhere, put a copy of the file into its data/h2, let bin/kc.sh "
            "start-dev start there once (it migrates the copy) and stop it; then inv keycloak.migrate-h2 with that copy"
        )
    raise OpsError(
        f"the H2 database was written by Keycloak {source.version}, and this is {version}",
        "only the version that wrote it exports it faithfully; it was not touched, and neither was PostgreSQL", way,
    )  # fmt: skip


def differences(expected: Mapping[str, int], found: Mapping[str, int]) -> list[str]:
    return [f"{kind}: {number} in H2, {found.get(kind, 0)} arrived" for kind, number in expected.items()
            if found.get(kind, 0) != number]  # fmt: skip


def plan_migration(
    source: Source, present: Schema | None, service: Mapping[str, Any], export: ExportRealms, *, running: bool, grace: int,
    start_seconds: int,
) -> Plan:  # fmt: skip
    """Export and import while the present Keycloak serves; only the swap and one start are an interruption.

    Parameters
    ----------
    service: compose mapping of Keycloak's container. export: the first step, as the host has to do it.
    running: whether Keycloak's container runs.
    """
    stop = "stop keycloak"
    steps: list[Step] = [
        export,
        ImportRealms("import", "import into a new database beside the present one", (export.key,), folder=FOLDER,
                     service=service, counts=source.counts),
        *([StopContainer(stop, "stop keycloak", ("import",), slot=SLOT, grace=grace)] if running else []),
        DumpDatabase("dump keycloak", "dump the present database", ("import", *((stop,) if running else ()))),
        SwapDatabase("swap", "replace the present database with the new one", ("dump keycloak",)),
        StartContainer(f"start {SLOT}", "start keycloak", ("swap",), slot=SLOT),
        AwaitHealthy(f"healthy {SLOT}", "wait for keycloak", (f"start {SLOT}",), slot=SLOT, deadline=start_seconds, once=True),
        VerifyOperations("verify", "test the operations client", (f"healthy {SLOT}",)),
        DropFormer("drop former keycloak", "drop the previous database (its dump stays)", ("verify",)),
        RemoveFolder("tidy", "remove the copy and the export", ("verify",), folder=FOLDER),
    ]  # fmt: skip
    notes = [f"Keycloak {source.version} in H2: {words(source.counts)} ({', '.join(source.realms)})"]
    destroys = () if present is None else (
        f"what Keycloak keeps in PostgreSQL now: {words(present.counts)} (a dump is taken first)",
    )  # fmt: skip
    return Plan(VERB, tuple(steps), tuple(notes), destroys=destroys)


def plan_back(*, former: str, running: bool, grace: int, start_seconds: int) -> Plan:
    """The former database and Keycloak in their places again, after a move that failed.

    Parameters
    ----------
    former: name of the database that was put aside; empty: it did not get that far. running: whether Keycloak's container runs.
    """
    steps: list[Step] = []
    before: tuple[str, ...] = ()
    if former and running:
        steps.append(StopContainer("stop keycloak", "stop keycloak", slot=SLOT, grace=grace))
        before = ("stop keycloak",)
    if former:
        steps.append(SwapBack("swap back", "restore the previous database", before, former=former))
        before = ("swap back",)
    if former or not running:
        steps += [
            StartContainer(f"start {SLOT}", "start keycloak", before, slot=SLOT),
            AwaitHealthy(f"healthy {SLOT}", "wait for keycloak", (f"start {SLOT}",), slot=SLOT, deadline=start_seconds),
        ]
    steps += [
        DropImport("drop import", "drop the imported database", before),
        RemoveFolder("tidy", "remove the copy and the export", before, folder=FOLDER),
    ]
    return Plan(VERB, tuple(steps))
