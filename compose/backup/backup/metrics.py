"""The state in the Prometheus text format."""

from .state import State


def render(state: State, healthy: bool) -> str:
    done = state.done
    repository = state.repository
    lines: list[str] = []

    def family(name: str, kind: str, text: str, samples: dict[str, float | None]) -> None:
        lines.append(f"# HELP {name} {text}")
        lines.append(f"# TYPE {name} {kind}")
        lines.extend(f"{name}{labels} {value}" for labels, value in samples.items() if value is not None)

    def seconds(moment) -> float | None:
        return None if moment is None else moment.timestamp()

    family(
        "backup_last_success_timestamp_seconds",
        "gauge",
        "Newest backup as found in the repository (wal, verify: last successful check).",
        {
            '{component="postgres"}': seconds(done.any_backup),
            '{component="redis"}': seconds(done.redis),
            '{component="wal"}': seconds(done.check),
            '{component="verify"}': seconds(done.verify),
        },
    )
    family("backup_last_full_timestamp_seconds", "gauge", "Newest full backup.", {"": seconds(done.full)})
    family(
        "backup_repository_bytes",
        "gauge",
        "Bytes on the repository's volume.",
        {'{component="postgres"}': repository.postgres_bytes, '{component="redis"}': repository.redis_bytes},
    )
    family(
        "backup_available",
        "gauge",
        "Backups that can be restored.",
        {'{component="postgres"}': len(repository.backups), '{component="redis"}': len(repository.redis_copies)},
    )
    family(
        "backup_wal_last_archived_timestamp_seconds",
        "gauge",
        "When the newest WAL segment reached the repository.",
        {"": seconds(repository.wal_archived)},
    )
    entries = state.journal.items()
    family(
        "backup_last_duration_seconds",
        "gauge",
        "Duration of the last successful run.",
        {f'{{job_name="{job}"}}': entry.last_seconds for job, entry in entries},
    )
    family(
        "backup_failures_total",
        "counter",
        "Failed runs.",
        {f'{{job_name="{job}"}}': entry.failures_total for job, entry in entries},
    )
    family("backup_running", "gauge", "1 while a scheduled job runs.", {"": int(state.running is not None)})
    family("backup_healthy", "gauge", "1 when /health answers 200.", {"": int(healthy)})
    return "\n".join(lines) + "\n"
