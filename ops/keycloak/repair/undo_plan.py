"""The way back from repairs: what was kept before each of them, in steps, the last change first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ops.core.plan import Plan, Step
from ops.deploy.steps import ReloadService, RemoveContainer, WriteConfig, await_healthy
from ops.keycloak.repair.containers import ALIVE_SECONDS
from ops.keycloak.repair.situation import KEYCLOAK
from ops.keycloak.repair.undo_steps import (
    BringBackCertificate,
    BringBackConfig,
    Entry,
    StartStranger,
    TakeBack,
    UndoRealm,
    UndoStatements,
)
from ops.releases.steps import ActivateRelease
from ops.stack.wanted import Wanted

VERB = "keycloak.fix"


def plan_undo(entries: Iterable[Entry], wanted: Wanted | None) -> Plan:
    """Revert everything that was kept.

    entries: oldest first. wanted: the release that was the current one before, for what is restored from it.
    """
    steps: list[Step] = []
    for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
        for step in _back(entry, wanted):
            steps.append(replace(step, after=tuple(steps[-1:])))
    return Plan(VERB, tuple(steps))


def _back(entry: Entry, wanted: Wanted | None) -> Iterator[Step]:
    key, data = f"undo {entry.name}", entry.data
    if entry.kind == "sql":
        yield UndoStatements(key, f"revert the statements for {data.get('finding')}", entry=entry.name)
    elif entry.kind == "aside":
        slot = str(data["slot"])
        yield TakeBack(key, f"restore the {slot} that was set aside", slot=slot, entry=entry.name)
        if data.get("serving"):
            yield replace(await_healthy(slot, deadline=ALIVE_SECONDS), key=f"{key}, healthy")
    elif entry.kind == "config":
        service = str(data["service"])
        yield BringBackConfig(key, f"restore the edited configuration of {service}", service=service,
                              version=str(data["version"]), entry=entry.name)  # fmt: skip
    elif entry.kind == "certificate":
        name = str(data["service"])
        serves = wanted.stack.services.get(name) if wanted else None
        yield BringBackCertificate(key, f"restore the previous certificate of {name}", service=name,
                                   owner=int(data["owner"]), entry=entry.name)  # fmt: skip
        if wanted is not None and serves is not None and serves.reload:
            yield ReloadService(f"{key}, reload", f"reload {name}", slots=serves.slots(), argv=serves.reload, service=name,
                                version=wanted.config[name])  # fmt: skip
    elif entry.kind == "realm":
        yield UndoRealm(key, "restore what the admin API said before", entry=entry.name)
    elif entry.kind == "stranger":
        yield StartStranger(key, f"start {data['name']} again", name=str(data["name"]))
    elif entry.kind == "release":
        yield ActivateRelease(key, f"make release {data['number']} the current one again", number=int(data["number"]))
        if wanted is not None and KEYCLOAK in wanted.config:
            yield WriteConfig(f"{key}, config", f"restore the configuration of {KEYCLOAK}", service=KEYCLOAK,
                              version=wanted.config[KEYCLOAK], files=wanted.config_files[KEYCLOAK])  # fmt: skip


def plan_keep(entries: Iterable[Entry]) -> Plan:
    """After a repair that has been verified: what was set aside goes."""
    names = [str(entry.data["aside"]) for entry in entries if entry.kind == "aside"]
    return Plan(VERB, tuple(
        RemoveContainer(f"remove {name}", f"remove {name}, which is not needed any more", slot=name) for name in names
    ))  # fmt: skip
