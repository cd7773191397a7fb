"""The state in the Prometheus text format, read from the repositories and not from what jobs claim."""

from collections.abc import Mapping
from datetime import datetime

from . import catalog
from .repositories import LOCAL
from .sets import COMPONENTS
from .state import State

Samples = Mapping[str, float | int | None]


def render(state: State, healthy: bool, now: datetime) -> str:
    families = [*_ages(state, now), *_drills(state, now), *_places(state), *_archive(state), *_runs(state, healthy)]
    lines: list[str] = []
    for name, kind, text, samples in families:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{labels} {value}" for labels, value in samples.items() if value is not None]
    return "\n".join(lines) + "\n"


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _ages(state: State, now: datetime) -> list[tuple[str, str, str, Samples]]:
    found = state.seen.sets
    # A further repository that never got a set is as old as its declaration: no series would mean no alert.
    never = {name: state.seen.declared if name != LOCAL else None for name in state.seen.places}
    ages = {
        f'{{component="{component}",repository="{name}"}}': _seconds(catalog.last(found, now, name, component) or never[name])
        for name in state.seen.places
        for component in COMPONENTS
    }
    for component, job in (("wal", "check"), ("verify", "verify"), ("verify-remote", "verify-remote")):
        ages[f'{{component="{component}",repository="{LOCAL if job != "verify-remote" else "remote"}"}}'] = _seconds(
            state.last_success(job, now)
        )
    newest = found[0] if found else None
    kinds = {f'{{kind="{kind}"}}': sum(one.kind == kind for one in found) for kind in ("full", "diff", "incr")}
    return [
        ("backup_last_success_timestamp_seconds", "gauge",
         "Newest backup as found in the repository (wal, verify: last successful check).", ages),
        ("backup_last_full_timestamp_seconds", "gauge", "Newest full set.", {"": _seconds(state.done(now).full)}),
        ("backup_sets", "gauge", "Sets that are kept.", kinds),
        ("backup_set_bytes", "gauge", "Of the newest set, as it would be restored.", {"": newest.bytes if newest else None}),
        ("backup_set_added_bytes", "gauge", "What the newest set added to the repository.",
         {"": newest.added_bytes if newest else None}),
        ("backup_set_missing_components", "gauge", "Components that the newest set lacks.",
         {"": len(newest.missing) if newest else None}),
    ]  # fmt: skip


def _drills(state: State, now: datetime) -> list[tuple[str, str, str, Samples]]:
    last = state.seen.drills[-1] if state.seen.drills else None
    passed = next((one for one in reversed(state.seen.drills) if one.passed), None)
    measured = next((one for one in reversed(state.seen.drills) if one.data_loss is not None), None)
    return [
        ("backup_drill_last_success_timestamp_seconds", "gauge", "When a set last passed its drill.",
         {"": _seconds(state.last_drill(now))}),
        ("backup_drill_last_passed", "gauge", "1 when the newest drill passed.", {"": int(last.passed) if last else None}),
        ("backup_drill_duration_seconds", "gauge", "Of the last drill that passed.", {"": passed.seconds if passed else None}),
        ("backup_drill_data_loss_seconds", "gauge", "Committed changes that the disk alone held at the last drill.",
         {"": measured.data_loss if measured else None}),
        ("backup_unproved_sets", "gauge", "Sets that have not passed a drill.",
         {"": sum(one.proved_at is None for one in state.seen.sets)}),
    ]  # fmt: skip


def _places(state: State) -> list[tuple[str, str, str, Samples]]:
    places = {f'{{repository="{name}"}}': place for name, place in state.seen.places.items()}
    return [
        ("backup_repository_up", "gauge", "1 when the repository could be read when it was last looked at.",
         {label: int(not place.error) for label, place in places.items()}),
        ("backup_repository_bytes", "gauge", "Bytes in the repository.", {k: place.used_bytes for k, place in places.items()}),
        ("backup_repository_free_bytes", "gauge", "Free bytes of its disk.", {k: one.free_bytes for k, one in places.items()}),
        ("backup_repository_size_bytes", "gauge", "Bytes of its disk.", {k: one.total_bytes for k, one in places.items()}),
        ("backup_key_escrowed", "gauge", "1 when the key of the repositories was exported once.",
         {"": int(state.seen.escrowed)}),
    ]  # fmt: skip


def _archive(state: State) -> list[tuple[str, str, str, Samples]]:
    sample = state.seen.sample
    return [
        ("backup_wal_last_archived_timestamp_seconds", "gauge", "When the newest WAL segment reached the repository.",
         {"": _seconds(state.seen.wal_archived)}),
        ("backup_wal_pending_segments", "gauge", "WAL segments that wait to be archived.",
         {"": sample.pending if sample else None}),
        ("backup_wal_pending_age_seconds", "gauge", "Age of the oldest of them; 0 where there is none.",
         {"": sample.pending_age if sample else None}),
    ]  # fmt: skip


def _runs(state: State, healthy: bool) -> list[tuple[str, str, str, Samples]]:
    entries = [(f'{{job_name="{job}"}}', entry) for job, entry in sorted(state.entries.items())]
    return [
        ("backup_last_duration_seconds", "gauge", "Duration of the last successful run.",
         {label: entry.last_seconds for label, entry in entries}),
        ("backup_failures_total", "counter", "Failed runs.", {label: entry.failures_total for label, entry in entries}),
        ("backup_failures_in_row", "gauge", "Failed runs since the last success.",
         {label: entry.failures_in_row for label, entry in entries}),
        ("backup_running", "gauge", "1 while a scheduled job runs.", {"": int(state.running is not None)}),
        ("backup_healthy", "gauge", "1 when /health answers 200.", {"": int(healthy)}),
    ]  # fmt: skip
