"""Dashboards of what operators look after: objectives, logs, backups, releases, certificates."""

from __future__ import annotations

from ops.monitoring.dashboards.model import DEPLOYS, RATE, Dashboard, Query, Section, chart, stat, table

LEFT = "clamp_min(1 - max by (objective) (slo:burn_rate:window), -1)"
BURNS = ("ErrorBudgetBurnsFast", "ErrorBudgetBurnsSlowly")
QUIET = "nothing is counted yet: the rules need some minutes, and requests"

SLO = Dashboard("slo", "Objectives", "What is promised to users, and what is left of each error budget.", (
    Section("Now", (
        stat("Least budget left", "Of the objective that has the least.", "percentunit", f"min({LEFT})", width=6, warn=0.5,
             bad=0.1,
             runbooks=BURNS, empty=QUIET),
        stat("Missed", "Objectives whose budget is used up.", "none", "count(slo:burn_rate:window >= 1) or vector(0)", width=6,
             bad=1, runbooks=BURNS),
        stat("Burn fast now", "Objectives that use 14 times what they may, or more, over an hour.", "none",
             "count(slo:burn_rate:1h > 14.4) or vector(0)", width=6, bad=1, runbooks=BURNS),
        stat("Objectives", "That are declared in config/objectives.yaml.", "none", "count(slo:budget:ratio)", width=6),
    )),
    Section("Budgets", (
        table("Objectives", "What is promised, what was reached within the time that metrics are kept, and what is left.",
              ("objective", "service"),
              Query("Promised", "1 - max by (objective, service) (slo:budget:ratio)", "percentunit"),
              Query("Budget left", "clamp_min(1 - max by (objective, service) (slo:burn_rate:window), -1)", "percentunit",
                    warn=0.5, bad=0.1),
              Query("Burn rate, 1 h", "max by (objective, service) (slo:burn_rate:1h)", "none", warn=1, bad=14.4),
              Query("Burn rate, 6 h", "max by (objective, service) (slo:burn_rate:6h)", "none", warn=1, bad=6),
              runbooks=BURNS),
        chart("Budget left", "Below 0 the objective is missed; -100 % stands for twice the budget, and for more.",
              "percentunit", ("{{objective}}", LEFT),
              width=24,
              runbooks=BURNS, empty=QUIET),
        chart("Burn rate, 1 hour", "1 uses the budget up just in time; at 14.4 a day's share goes in 100 minutes.", "none",
              ("{{objective}}", "max by (objective) (slo:burn_rate:1h)"), warn=1, bad=14.4, runbooks=BURNS, empty=QUIET),
        chart("Burn rate, 6 hours", "What an hour's trouble leaves behind.", "none",
              ("{{objective}}", "max by (objective) (slo:burn_rate:6h)"), warn=1, bad=6, runbooks=BURNS, empty=QUIET),
        chart("Bad events", "Per second; for an objective in time, the share of it.", "none",
              ("{{objective}}", "max by (objective) (slo:bad:rate5m)"), logs="service=nginx&expert=status:>=500", empty=QUIET),
        chart("Events", "Per second.", "none", ("{{objective}}", "max by (objective) (slo:events:rate5m)"), empty=QUIET),
    )),
))  # fmt: skip

LOGS = Dashboard("logs", "Logs", "What is written, whether all of it reaches the store, and what the store uses.", (
    Section("Now", (
        stat("Lines", "Stored per second.", "logs/s", f"sum(rate(vl_rows_ingested_total[{RATE}]))", logs="time=1h",
             runbooks=("LogIngestionStopped",)),
        stat("Lost", "Gaps in the range shown: lines that never reached the store.", "short",
             "sum(increase(collector_losses_total[$__range])) or vector(0)", bad=1, runbooks=("LogLinesLost",)),
        stat("Refused", "Lines that the store refused, in the range shown.", "short",
             "sum(increase(vl_rows_dropped_total[$__range])) or vector(0)", bad=1, runbooks=("LogRowsDropped",)),
        stat("Backlog", "Bytes that wait to be stored.", "bytes", "sum(collector_backlog_bytes)", warn=1024**2,
             bad=64 * 1024**2,
             runbooks=("LogsNotDelivered",)),
        stat("Last accepted", "Time since the store last accepted a line.", "s",
             "time() - max(collector_last_accepted_timestamp_seconds)", warn=60, bad=120, runbooks=("LogsNotDelivered",)),
        stat("On disk", "Of the store, compressed.", "bytes", "sum(vl_data_size_bytes)", runbooks=("RetentionCutBySize",)),
    )),
    Section("Lines", (
        chart("Collected", "Lines that the store has accepted per second, and spans of traces among them.", "logs/s",
              ("lines", f"sum(rate(collector_rows_total[{RATE}]))"), ("spans", f"sum(rate(collector_spans_total[{RATE}]))"),
              logs="time=1h"),
        chart("Lines stored", "Per second.", "logs/s", ("stored", f"sum(rate(vl_rows_ingested_total[{RATE}]))"),
              ("refused", f"sum(rate(vl_rows_dropped_total[{RATE}]))"), runbooks=("LogIngestionStopped", "LogRowsDropped")),
        chart("Backlog", "Bytes that wait to be stored.", "bytes", ("backlog", "sum(collector_backlog_bytes)"),
              runbooks=("LogsNotDelivered",)),
        chart("Gaps", "Lines lost, by reason: a file that was cut or removed before it was read.", "short",
              ("{{source}}, {{reason}}", f"sum by (source, reason) (increase(collector_losses_total[{RATE}]))"),
              runbooks=("LogLinesLost",), empty="nothing was ever lost"),
    )),
    Section("The store", (
        chart("On disk", "Compressed, by kind.", "bytes", ("{{type}}", "sum by (type) (vl_data_size_bytes)"), stacked=True,
              runbooks=("RetentionCutBySize",)),
        chart("Memory", "Resident memory of the store.", "bytes", ("memory",
              'max(process_resident_memory_bytes{job="logs"})')),
    )),
))  # fmt: skip

AGE = "time() - max by ({}) (backup_last_success_timestamp_seconds)"

BACKUPS = Dashboard("backups", "Backups", "Whether all is backed up, proved, and where it lies.", (
    Section("Now", (
        stat("Oldest last backup", "Age of the older of the last good backups of PostgreSQL and Redis.", "s",
             'time() - min(backup_last_success_timestamp_seconds{component=~"postgres|redis"})', warn=25 * 3600, bad=26 * 3600,
             logs="service=backup", runbooks=("BackupStale", "BackupUnknown")),
        stat("Last proved backup", "Time since a backup was restored, started and compared with its manifest.", "s",
             "time() - max(backup_drill_last_success_timestamp_seconds)", warn=25 * 3600, bad=26 * 3600,
             logs="service=backup", runbooks=("DrillStale", "DrillFailed"), empty="no drill has passed yet: it runs daily"),
        stat("Time to restore", "What the last drill took to restore and check all of it.", "s",
             "max(backup_drill_duration_seconds)",
             runbooks=("DrillFailed",), empty="no drill has passed yet: it runs daily"),
        stat("Loss with the disk", "Committed changes that the disk alone held at the last drill.", "s",
             "max(backup_drill_data_loss_seconds)", bad=300, runbooks=("DataLossHigh",),
             empty="no drill has measured it yet: it runs daily"),
        stat("Sets", "That are kept.", "none", "sum(backup_sets)"),
        stat("Keys exported", "Whether a copy of the keys of the backups is kept away from this host.", "bool_yes_no",
             "min(backup_key_escrowed)", bad=0.5, warn=0.9, runbooks=("BackupKeyNotEscrowed",)),
    )),
    Section("Freshness", (
        table("Backups by component", "Age of the newest good backup of each component in each repository.",
              ("component", "repository"), Query("Age", AGE.format("component, repository"), "s", warn=25 * 3600,
              bad=26 * 3600),
              width=12, logs="service=backup", runbooks=("BackupStale", "BackupIncomplete")),
        table("Jobs", "How long each job took, and how often it has failed since it last succeeded.", ("job_name",),
              Query("Took", "max by (job_name) (backup_last_duration_seconds)", "s"),
              Query("Failures in a row", "max by (job_name) (backup_failures_in_row)", "none", warn=1, bad=3),
              width=12, logs="service=backup&level=warn", runbooks=("BackupDamaged",)),
        chart("Age of the newest backup", "By component.", "s", ("{{component}}", AGE.format("component")),
              bad=26 * 3600, runbooks=("BackupStale", "WalCheckStale")),
        chart("Write-ahead log that waits", "Age of the oldest segment that is not archived.", "s",
              ("age", "max(backup_wal_pending_age_seconds)"), bad=180, logs="service=backup",
              runbooks=("WalPending", "WalPendingUnknown")),
    )),
    Section("Repositories", (
        chart("Repositories used", "Share of the disk on which each repository lies.", "percentunit",
              ("{{repository}}", "1 - max by (repository) (backup_repository_free_bytes / backup_repository_size_bytes)"),
              bad=0.9, runbooks=("RepositoryAlmostFull", "RepositoryUnreachable")),
        chart("Size of the repositories", "What the backups take.", "bytes",
              ("{{repository}}", "max by (repository) (backup_repository_bytes)")),
        chart("Size of a set", "Of the newest set as it would be restored, and what it added to the repository.", "bytes",
              ("restored", "max(backup_set_bytes)"), ("added", "max(backup_set_added_bytes)")),
        chart("Sets by kind", "That are kept.", "none", ("{{kind}}", "sum by (kind) (backup_sets)"), stacked=True),
    )),
))  # fmt: skip

RELEASES = Dashboard("releases", "Releases", "Which release serves, what each deploy did, and what it cost users.", (
    Section("Now", (
        stat("Release", "Number of the release that serves.", "none", "max(cc03_release)", width=6,
             runbooks=("DeployReverted",)),
        stat("Last deploy", "Time since a deploy, rollback or scaling last went through.", "s",
             f'time() - max({DEPLOYS}{{outcome="good"}})', width=6),
        stat("Command at work", "How long a command has held the project's lock; 0 while none does.", "s",
             "max(cc03_operation_running_seconds)", width=6, warn=3600, bad=7200, runbooks=("LockHeld",)),
        stat("Failed requests", "5xx responses to clients in the range shown.", "short",
             'sum(increase(edge_responses_total{route!="probe",status=~"5.."}[$__range]))', width=6,
             logs="service=nginx&expert=status:>=500", runbooks=("ErrorRatioHigh",)),
    )),
    Section("What happened", (
        table("Deploys", "When each kind of change last ended in each way.", ("verb", "outcome"),
              Query("Ago", f"time() - max by (verb, outcome) ({DEPLOYS})", "s"), width=12, runbooks=("DeployReverted",)),
        table("Images", "Age of each container: what the last change has replaced.", ("service",),
              Query("Running for", 'time() - max by (service) (container_start_time_seconds{name!=""})', "s"), width=12),
        chart("Release", "Number of the release that serves: a step down is a rollback.", "none", ("release",
              "max(cc03_release)")),
        chart("Failed requests", "5xx responses per second around each change.", "reqps",
              ("{{route}}", 'sum by (route) (rate(edge_responses_total{route!="probe",status=~"5.."}[' + RATE + "]))"),
              logs="service=nginx&expert=status:>=500", runbooks=("ErrorRatioHigh",)),
        chart("Commands", "How long a command has held the project's lock.", "s",
              ("at work", "max(cc03_operation_running_seconds)"), runbooks=("LockHeld",)),
        chart("Replicas of the backend", "By release: both while one replaces the other.", "none",
              ("{{release}}", "count by (release) (backend_build_info)"), stacked=True),
    )),
))  # fmt: skip

ENDS = "cc03_certificate_expires_timestamp_seconds"

CERTIFICATES = Dashboard("certificates", "Certificates", "What every listener shows, and when it ends.", (
    Section("Now", (
        stat("First to end", "Of all certificates that are shown.", "s", f"min({ENDS}) - time()", width=6, warn=8 * 86400,
             bad=3 * 86400, runbooks=("CertificateExpiresSoon", "CertificateExpiresVerySoon")),
        stat("As users see it", "Until the certificate of the site ends, by the probe.", "s",
             'min(last_over_time(probe_ssl_earliest_cert_expiry{probe="page"}[1h])) - time()', width=6, warn=8 * 86400,
             bad=3 * 86400,
             runbooks=("CertificateExpiresVerySoon",)),
        stat("Wrong", "Listeners that show another certificate than the stored one, or one that clients refuse.", "none",
             "count(cc03_certificate_served == 0) or vector(0)", width=6, bad=1, runbooks=("CertificateMismatch",)),
        stat("Failed renewals", "In a row.", "none", "max(cc03_certificate_renewal_failures)", width=6, warn=1, bad=2,
             runbooks=("CertificateRenewalFails", "AcmeRenewalFails", "AcmeIssuerFails")),
    )),
    Section("Listeners", (
        table("Listeners", "Each certificate that is shown, where, and when it ends.", ("service", "listener", "certificate",
              "source"),
              Query("Ends in", f"min by (service, listener, certificate, source) ({ENDS}) - time()", "s", warn=8 * 86400,
                    bad=3 * 86400),
              Query("As stored", "min by (service, listener, certificate, source) (cc03_certificate_served)", "bool_yes_no",
                    bad=0.5, warn=0.9),
              width=16, runbooks=("CertificateMismatch",)),
        table("Authority", "The internal authority's own certificates.", ("authority",),
              Query("Ends in", "min by (authority) (cc03_authority_expires_timestamp_seconds) - time()", "s",
                    warn=365 * 86400, bad=180 * 86400),
              width=8, runbooks=("AuthorityExpiresSoon",)),
        chart("Time left", "By service: it falls, and jumps up at each renewal.", "s",
              ("{{service}}", f"min by (service) ({ENDS}) - time()"), width=24, runbooks=("CertificateExpiresSoon",)),
    )),
))  # fmt: skip
