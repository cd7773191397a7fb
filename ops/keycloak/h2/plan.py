"""The plan that moves Keycloak from H2 to PostgreSQL, and the one that reverts it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ops.core.errors import OpsError
from ops.core.plan import Plan, Step
from ops.core.state import H2_FOLDER as FOLDER
from ops.deploy.steps import StartContainer, StopContainer, await_healthy
from ops.keycloak.h2.file import Source
from ops.keycloak.h2.steps import IMPORTED, ExportRealms, ImportRealms, RemoveFolder, VerifyOperations
from ops.keycloak.schema.plan import Schema, numbers
from ops.keycloak.schema.steps import DropBeside, DumpDatabase, SwapDatabase
from ops.keycloak.schema.upgrade import DATABASE, SLOT, words

VERB = "keycloak.migrate-h2"


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


def _started(after: tuple[Step, ...], start_seconds: int, *, once: bool = False) -> tuple[Step, Step]:
    """Keycloak's container is started and waited for."""
    start = StartContainer(f"start {SLOT}", "start keycloak", after, slot=SLOT)
    healthy = await_healthy(SLOT, (start,), deadline=start_seconds, once=once)
    return start, healthy


def plan_migration(
    source: Source, present: Schema | None, service: Mapping[str, Any], export: ExportRealms, *, running: bool, grace: int,
    start_seconds: int,
) -> Plan:  # fmt: skip
    """Export and import while the present Keycloak serves; only the swap and one start are an interruption.

    service: compose mapping of Keycloak's container. export: the first step, as the host has to do it.
    running: whether Keycloak's container runs. grace, start_seconds: for its stop and its start.
    """
    fill = ImportRealms("import", "import into a new database beside the present one", (export,), folder=FOLDER,
                        service=service, counts=source.counts)  # fmt: skip
    stop = (StopContainer("stop keycloak", "stop keycloak", (fill,), slot=SLOT, grace=grace),) if running else ()
    dump = DumpDatabase("dump keycloak", "dump the present database", (fill, *stop))
    swap = SwapDatabase("swap", "replace the present database with the new one", (dump,), other=IMPORTED)
    start, healthy = _started((swap,), start_seconds, once=True)
    verify = VerifyOperations("verify", "test the operations client", (healthy,))
    drop = DropBeside("drop former keycloak", "drop the previous database (its dump stays)", (verify,))
    tidy = RemoveFolder("tidy", "remove the copy and the export", (verify,), folder=FOLDER)
    notes = (f"Keycloak {source.version} in H2: {words(source.counts)} ({', '.join(source.realms)})",)
    destroys = () if present is None else (
        f"what Keycloak keeps in PostgreSQL now: {words(present.counts)} (a dump is taken first)",
    )  # fmt: skip
    return Plan(VERB, (export, fill, *stop, dump, swap, start, healthy, verify, drop, tidy), notes, destroys=destroys)


def plan_back(*, former: str, running: bool, grace: int, start_seconds: int) -> Plan:
    """The previous database and Keycloak in their places again, after a move that failed.

    former: name that the previous database has now; empty: it did not get that far. running: whether Keycloak's container runs.
    """
    steps: list[Step] = []
    if former and running:
        steps.append(StopContainer("stop keycloak", "stop keycloak", slot=SLOT, grace=grace))
    if former:
        steps.append(SwapDatabase("swap back", "restore the previous database", (*steps,), other=former, keep=False))
    before = (*steps[-1:],)
    if former or not running:
        steps += _started(before, start_seconds)
    steps += [
        DropBeside("drop import", "drop the imported database", before, kind=IMPORTED.removeprefix(f"{DATABASE}_")),
        RemoveFolder("tidy", "remove the copy and the export", before, folder=FOLDER),
    ]
    return Plan(VERB, tuple(steps))
