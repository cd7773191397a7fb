"""The database brought up to a release, by the release's own image. The protocol: docs/how-to/replace-the-application.md."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ops.core.errors import OpsError
from ops.core.process import Result
from ops.core.state import State
from ops.engines.engine import Engine
from ops.store.releases import record_schema

if TYPE_CHECKING:
    from ops.deploy.steps import Migrate

CHECK_SECONDS = 120.0
BACKUP_SECONDS = 6 * 3600.0
REFUSED = 9
"""Exit code of an image that was asked to migrate, has a contracting migration to do, and was not told that it may."""

RunOnce = Callable[[str, float, bool], Result]
"""Runs the one-off container of a slot to its end within so many seconds, whatever its exit code. It may be there already."""


def last_json(text: str) -> dict[str, Any] | None:
    """The JSON object on the last line of what a program said; None where there is none."""
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        value = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def migrate(engine: Engine, state: State, step: Migrate, run_once: RunOnce, report: Callable[[str], None]) -> None:
    """Ask what is pending; where something is, back up and migrate.

    Parameters
    ----------
    report: told what is being done.

    Raises OpsError where a contracting migration is not allowed, or the backup or the migration fails.
    """
    report("asking the new image what the database lacks")
    asked = run_once(f"{step.slot}-check", CHECK_SECONDS, step.prepared)
    found = last_json(asked.stdout) if asked.returncode == 0 else None
    if found is not None and not found.get("pending"):
        return
    contracting = list((found or {}).get("contracting", []))
    if contracting and not step.contracting:
        raise _refusal(step, contracting)
    if step.backup:
        report("backing up, before the database is changed")
        _back_up(engine, step)
    report("migrating")
    suffix = "-contracting" if step.contracting and contracting else ""
    done = run_once(step.slot + suffix, step.deadline, False)
    if done.returncode == REFUSED:
        raise _refusal(step, contracting)
    if done.returncode:
        raise OpsError(
            f"the migration of {step.service}'s database failed", f"exit code {done.returncode}: {done.last_words(5)}",
            "correct the migration, then inv deploy; what it had completed stays, and the old release runs on it",
        )  # fmt: skip
    result = last_json(done.stdout) or {}
    record_schema(
        state, at=time.strftime("%Y-%m-%dT%H:%M:%S%z"), release=step.release, service=step.service,
        revision=result.get("revision"), applied=result.get("applied", []), contracted=contracting, backed_up=bool(step.backup),
    )  # fmt: skip


def _refusal(step: Migrate, contracting: list[str]) -> OpsError:
    return OpsError(
        f"a migration of {step.service} removes what older releases need",
        f"contracting: {', '.join(contracting) or 'see the log'}; after it no rollback goes to a release before this one",
        "inv deploy --contracting, once you are sure that no older release will be needed",
    )


def _back_up(engine: Engine, step: Migrate) -> None:
    answer = engine.exec(step.backup_slot, step.backup, ok=None, timeout=BACKUP_SECONDS)
    if answer.returncode:
        raise OpsError(
            "the backup before the migration failed, so nothing was migrated", answer.last_words(),
            "inv logs backup --since 10m; then inv deploy again",
        )  # fmt: skip
