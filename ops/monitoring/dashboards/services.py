"""Dashboards of what users wait for: the API, the login, the database and the cache."""

from __future__ import annotations

from ops.monitoring.dashboards.model import RATE, Dashboard, Query, Section, Variable, chart, stat, table

API_SERIES = 'job="backend",instance=~"$replica"'
QUANTILE = f"histogram_quantile({{}}, sum by (le{{}}) (rate(http_request_duration_seconds_bucket{{{{{API_SERIES}}}}}[{RATE}])))"
EDGE_QUANTILE = (
    f'histogram_quantile({{}}, sum by (le) (rate(edge_response_duration_seconds_bucket{{{{route="api"}}}}[{RATE}])))'
)
API_FAILED = f'sum(rate(http_requests_total{{{API_SERIES},status=~"5.."}}[{RATE}]))'
API_ALL = f"sum(rate(http_requests_total{{{API_SERIES}}}[{RATE}]))"

API = Dashboard("api", "API", "The backend: what it is asked, how fast it answers, what it waits for.", (
    Section("Now", (
        stat("Requests", "Answers per second.", "reqps", API_ALL, logs="service=backend"),
        stat("Failed requests", "Share of 5xx answers. 0 where nothing is asked.", "percentunit",
             f"{API_FAILED} / ({API_ALL} > 0) or vector(0)", warn=0.01, bad=0.05,
             logs="service=backend&level=error", runbooks=("ErrorRatioHigh",)),
        stat("Latency, median", "Half of the requests take at most so long.", "s", QUANTILE.format(0.5, "")),
        stat("Latency, 95 %", "95 of 100 requests take at most so long.", "s", QUANTILE.format(0.95, ""), warn=0.5, bad=2),
        stat("In flight", "Requests that are being answered now.", "none", f"sum(http_requests_in_flight{{{API_SERIES}}})"),
        stat("WebSocket clients", "Open WebSockets of browsers.", "none", f"sum(websocket_clients{{{API_SERIES}}})"),
    )),
    Section("Requests", (
        chart("Requests by status", "Answers per second.", "reqps",
              ("{{status}}", f"sum by (status) (rate(http_requests_total{{{API_SERIES}}}[{RATE}]))"), stacked=True,
              logs="service=backend"),
        chart("Latency", "Time until the response is handed to the network.", "s",
              ("median", QUANTILE.format(0.5, "")), ("95 %", QUANTILE.format(0.95, "")), ("99 %", QUANTILE.format(0.99, ""))),
        chart("Requests by route", "The eight routes that are asked most.", "reqps",
              ("{{method}} {{route}}", f"topk(8, sum by (method, route) (rate(http_requests_total{{{API_SERIES}}}[{RATE}])))")),
        chart("Slowest routes", "Latency, 95 %, of the eight slowest routes that are asked at all.", "s",
              ("{{route}}", f"topk(8, {QUANTILE.format(0.95, ', route')} > 0)")),
        chart("Requests by replica", "Answers per second: nginx spreads them evenly.", "reqps",
              ("{{instance}}", f"sum by (instance) (rate(http_requests_total{{{API_SERIES}}}[{RATE}]))")),
        chart("As clients wait for it",
              "Time from the request to the end of the response at nginx, waiting and retries included.", "s",
              ("median", EDGE_QUANTILE.format(0.5)), ("95 %", EDGE_QUANTILE.format(0.95)), ("99 %", EDGE_QUANTILE.format(0.99)),
              logs="service=nginx", empty="no request within the window"),
        chart("Attempts by container", "Requests that nginx passed to each container of the backend, by class of status.",
              "reqps",
              ("{{upstream}} {{status}}",
              f'sum by (upstream, status) (rate(edge_upstream_responses_total{{service="backend"}}[{RATE}])) > 0'),
              logs="service=nginx&expert=status:>=500", runbooks=("ContainerFailsRequests",),
              empty="no request within the window"),
        chart("At the edge", "Responses for the API that clients got, those of nginx itself (502, 504, 429) included.", "reqps",
              ("{{status}}", f'sum by (status) (rate(edge_responses_total{{route="api"}}[{RATE}])) > 0'),
              logs="service=nginx&expert=status:>=500", runbooks=("RequestsLimited",)),
    )),
    Section("What it needs", (
        chart("Dependencies", "1 while the backend reaches it, by replica.", "none",
              ("{{dependency}}, {{instance}}", f"dependency_up{{{API_SERIES}}}"), runbooks=("BackendDependencyDown",)),
        chart("Database connections", "Of its pools: in use, idle, and requests that wait for one.", "none",
              ("{{state}}", f"sum by (state) (database_pool_connections{{{API_SERIES}}})"),
              ("waiting", f"sum(database_pool_waiting{{{API_SERIES}}})"), ("limit", f"sum(database_pool_max{{{API_SERIES}}})")),
        chart("Cache", "Cached reads per second, by outcome.", "reqps",
              ("{{outcome}}", f"sum by (outcome) (rate(cache_reads_total{{{API_SERIES}}}[{RATE}]))"), stacked=True,
              empty="nothing was read since the backend was started"),
        chart("Tokens refused", "Per second, by reason. A token that has expired is renewed by the page.", "reqps",
              ("{{reason}}", f"sum by (reason) (rate(auth_tokens_refused_total{{{API_SERIES}}}[{RATE}]))"),
              logs="service=backend&level=warn", runbooks=("KeycloakKeysStale",), empty="no token was refused yet"),
        chart("Errors in browsers", "Reports per second, by what became of them.", "reqps",
              ("{{outcome}}", f"sum by (outcome) (rate(browser_errors_total{{{API_SERIES}}}[{RATE}]))"),
              logs="service=backend&expert=error:*", runbooks=("BrowserErrorsHigh",),
              empty="no browser has reported an error yet"),
        chart("CPU of the processes", "Share of one core.", "percentunit",
              ("{{instance}}", f"rate(process_cpu_seconds_total{{{API_SERIES}}}[{RATE}])"), logs="service=backend"),
    )),
), (Variable("replica", "Replica", 'http_requests_in_flight{job="backend"}', "instance"),))  # fmt: skip

LOGINS = 'keycloak_user_events_total{event="login"'
SERVED = 'job="keycloak",uri!~"/health.*|/metrics"'
MEAN = (
    f'sum(rate(http_server_requests_seconds_sum{{{{job="keycloak",uri=~".*/{{0}}"}}}}[{RATE}]))'
    f' / (sum(rate(http_server_requests_seconds_count{{{{job="keycloak",uri=~".*/{{0}}"}}}}[{RATE}])) > 0)'
)
NOBODY = "nobody has logged in within the range"

LOGIN = Dashboard("login", "Login", "Keycloak: who logs in, who cannot, and what Keycloak waits for.", (
    Section("Now", (
        stat("Login page", "Whether the login is reached through nginx.", "bool_yes_no", 'min(probe_success{probe="login"})',
             bad=0.5, warn=0.9, runbooks=("SiteDown",)),
        stat("Logins", "That succeeded, in the range shown.", "short",
             f'sum(increase({LOGINS},error=""}}[$__range])) or vector(0)'),
        stat("Failed logins", "In the range shown.", "short", f'sum(increase({LOGINS},error!=""}}[$__range])) or vector(0)',
             logs="service=keycloak&level=warn", runbooks=("KeycloakGuessing", "KeycloakLoginsFail")),
        stat("Heap", "Share of the heap in use after the last collection.", "percentunit",
             'max(jvm_memory_usage_after_gc{job="keycloak"})', warn=0.7, bad=0.85, runbooks=("KeycloakHeapHigh",)),
        stat("CPU", "Share of the CPUs that it may use.", "percentunit", 'max(process_cpu_usage{job="keycloak"})',
             warn=0.7, bad=0.9, runbooks=("KeycloakCpuShort",)),
        stat("Age of the realm's keys", "Since the backend last read them; it asks every 5 minutes.", "s",
             'time() - min(auth_realm_keys_fetched_timestamp_seconds{job="backend"})', warn=600, bad=900,
             runbooks=("KeycloakKeysStale",)),
    )),
    Section("Logins", (
        chart("Logins", "Per second, and those that failed by reason. A page left open counts as expired_code.", "reqps",
              ("succeeded", f'sum(rate({LOGINS},error=""}}[{RATE}]))'),
              ("{{error}}", f'sum by (error) (rate({LOGINS},error!=""}}[{RATE}]))'),
              logs="service=keycloak", runbooks=("KeycloakLoginsFail", "KeycloakGuessing"), empty=NOBODY),
        chart("Events", "All events of users per second: logins, tokens, refreshes, logouts.", "reqps",
              ("{{event}}", f"sum by (event) (rate(keycloak_user_events_total[{RATE}]))"), logs="service=keycloak",
              empty=NOBODY),
        chart("Login time", "Mean time for a submitted form and for a token. Keycloak keeps no percentiles.", "s",
              ("form", MEAN.format("authenticate")), ("token", MEAN.format("token")), runbooks=("KeycloakSlow",), empty=NOBODY),
        chart("Answers", "Of Keycloak per second, by outcome; health checks are left out.", "reqps",
              ("{{outcome}}", f"sum by (outcome) (rate(http_server_requests_seconds_count{{{SERVED}}}[{RATE}]))"), stacked=True,
              logs="service=keycloak&level=error", runbooks=("KeycloakErrorRatioHigh",)),
    )),
    Section("What it needs", (
        chart("Database pool", "Connections in use, idle, and requests that wait for one.", "none",
              ("in use", 'sum(agroal_active_count{job="keycloak"})'), ("idle", 'sum(agroal_available_count{job="keycloak"})'),
              ("waiting", 'sum(agroal_awaiting_count{job="keycloak"})'), runbooks=("KeycloakPoolWaiting",)),
        chart("Heap", "In use, and the most that it may be.", "bytes",
              ("in use", 'sum(jvm_memory_used_bytes{job="keycloak",area="heap"})'),
              ("limit", 'sum(jvm_memory_max_bytes{job="keycloak",area="heap"})'), runbooks=("KeycloakHeapHigh",)),
        chart("Garbage collection", "Share of the time spent on it.", "percentunit",
              ("collection", 'max(jvm_gc_overhead{job="keycloak"})'), bad=0.2, runbooks=("KeycloakHeapHigh",)),
        chart("Threads", "Of the JVM.", "none", ("threads", 'sum(jvm_threads_live_threads{job="keycloak"})')),
    )),
))  # fmt: skip

DATABASES = 'datname!~"template.*|"'

POSTGRESQL = Dashboard("postgresql", "PostgreSQL", "Connections, transactions, locks, disk and the write-ahead log.", (
    Section("Now", (
        stat("Answers", "Whether PostgreSQL answers its exporter.", "bool_yes_no", "min(pg_up)", bad=0.5, warn=0.9,
             logs="service=postgres", runbooks=("DependencyDown",)),
        stat("Connections", "Of all databases.", "none", "sum(pg_stat_database_numbackends)", logs="service=postgres",
             runbooks=("PostgresConnectionsUsedUp",)),
        stat("Transactions", "Committed per second.", "ops", f"sum(rate(pg_stat_database_xact_commit[{RATE}]))"),
        stat("Cache hits", "Share of the blocks that are found in memory. 1 where none is asked for.", "percentunit",
             f"sum(rate(pg_stat_database_blks_hit[{RATE}])) / (sum(rate(pg_stat_database_blks_hit[{RATE}]))"
             f" + sum(rate(pg_stat_database_blks_read[{RATE}])) > 0) or vector(1)", warn=0.95, bad=0.9),
        stat("Longest transaction", "That is open now.", "s",
             'max(pg_stat_activity_max_tx_duration{state!="idle"}) or vector(0)', warn=60, bad=600,
             runbooks=("PostgresTransactionLong", "CommitsWait")),
        stat("WAL pending", "Segments of the write-ahead log that wait to be archived.", "none",
             "max(backup_wal_pending_segments)", warn=8, bad=32, logs="service=backup",
             runbooks=("WalPending", "WalArchivingFails")),
    )),
    Section("Work", (
        chart("Connections by database", "Open ones, busy or not.", "none",
              ("{{datname}}", f"sum by (datname) (pg_stat_database_numbackends{{{DATABASES}}})"), stacked=True),
        chart("Connections by state", "active: a statement runs; idle in transaction: it holds locks and does nothing.", "none",
              ("{{state}}", f"sum by (state) (pg_stat_activity_count{{{DATABASES}}})"), stacked=True),
        chart("Transactions", "Per second.", "ops",
              ("{{datname}}", f"sum by (datname) (rate(pg_stat_database_xact_commit{{{DATABASES}}}[{RATE}]))")),
        chart("Rollbacks", "Per second.", "ops",
              ("{{datname}}", f"sum by (datname) (rate(pg_stat_database_xact_rollback{{{DATABASES}}}[{RATE}]))"),
              logs="service=postgres&level=error"),
        chart("Rows", "Read and written per second, in all databases.", "ops",
              ("fetched", f"sum(rate(pg_stat_database_tup_fetched{{{DATABASES}}}[{RATE}]))"),
              ("inserted", f"sum(rate(pg_stat_database_tup_inserted{{{DATABASES}}}[{RATE}]))"),
              ("updated", f"sum(rate(pg_stat_database_tup_updated{{{DATABASES}}}[{RATE}]))"),
              ("deleted", f"sum(rate(pg_stat_database_tup_deleted{{{DATABASES}}}[{RATE}]))")),
        chart("Locks", "Held or waited for, by mode.", "none",
              ("{{mode}}", f"sum by (mode) (pg_locks_count{{{DATABASES}}}) > 0"), runbooks=("PostgresLocksWait",),
              empty="no lock is held at the scrape"),
        chart("Deadlocks and temporary files", "Deadlocks and files in the range, of all databases.", "short",
              ("deadlocks", f"sum(increase(pg_stat_database_deadlocks{{{DATABASES}}}[{RATE}]))"),
              ("temporary files", f"sum(increase(pg_stat_database_temp_files{{{DATABASES}}}[{RATE}]))"),
              logs="service=postgres"),
        chart("Longest transaction", "Time for which the oldest one has been open, by state.", "s",
              ("{{state}}", f"max by (state) (pg_stat_activity_max_tx_duration{{{DATABASES}}})"), runbooks=("CommitsWait",)),
    )),
    Section("Statements", (
        chart("Mean time", "Of the statements of users, by database.", "s",
              ("{{datname}}", f"sum by (datname) (rate(pg_statements_seconds_total[{RATE}]))"
                              f" / (sum by (datname) (rate(pg_statements_calls_total[{RATE}])) > 0)"), bad=0.25,
              logs="service=postgres&text=duration", runbooks=("PostgresStatementsSlow",), empty="no user's statement was run"),
        chart("Time spent", "Of one core and its waits, on the statements of users.", "percentunit",
              ("{{datname}}", f"sum by (datname) (rate(pg_statements_seconds_total[{RATE}]))"), stacked=True,
              empty="no user's statement was run"),
        table("Statements that took most time", "The ten of pg_stat_statements; the runbook shows their text.", ("datname",
              "queryid"),
              Query("Time", "sum by (datname, queryid) (pg_statements_top_seconds_total)", "s"),
              Query("Calls", "sum by (datname, queryid) (pg_statements_top_calls_total)", "short"),
              Query("Mean", "sum by (datname, queryid) (pg_statements_top_seconds_total)"
                            " / sum by (datname, queryid) (pg_statements_top_calls_total)", "s", warn=0.1, bad=0.5),
              runbooks=("PostgresStatementsSlow",), empty="no user's statement was run"),
    )),
    Section("Upkeep", (
        chart("Connections of the roles", "Share of the connections that a role may open.", "percentunit",
              ("{{usename}}", 'sum by (usename) (pg_stat_activity_count{usename!=""}) / on (usename) max by (usename)'
                              ' (label_replace(pg_roles_connection_limit > 0, "usename", "$1", "rolname", "(.+)"))'),
              bad=0.97, runbooks=("PostgresConnectionsUsedUp",)),
        chart("Dead rows", "Share of the versions of rows that wait for a vacuum.", "percentunit",
              ("{{datname}}", "max by (datname) (pg_tables_dead_rows / (pg_tables_dead_rows + pg_tables_live_rows > 0))"),
              bad=0.4,
              runbooks=("PostgresDeadRowsHigh",)),
        chart("Wraparound", "Share of the transaction numbers that are used before the database stops.", "percentunit",
              ("{{datname}}", "max by (datname) (pg_database_wraparound_age_datfrozenxid_seconds) / 2 ^ 31"), bad=0.25,
              runbooks=("PostgresWraparoundNear",)),
        chart("Damaged pages", "Found by their checksums since the statistics were reset.", "none",
              ("{{datname}}", "sum by (datname) (pg_checksum_failures_total)"), bad=1, runbooks=("PostgresPageDamaged",)),
    )),
    Section("Disk", (
        chart("Size of the databases", "On disk.", "bytes",
              ("{{datname}}", f"sum by (datname) (pg_database_size_bytes{{{DATABASES}}})"), stacked=True,
              runbooks=("DiskAlmostFull",)),
        chart("Write-ahead log", "What lies in pg_wal.", "bytes", ("pg_wal", "sum(pg_wal_size_bytes)"),
              runbooks=("WalPending",)),
        chart("Archiving", "Segments archived per second, and attempts that failed.", "ops",
              ("archived", f"sum(rate(pg_stat_archiver_archived_count[{RATE}]))"),
              ("failed", f"sum(rate(pg_stat_archiver_failed_count[{RATE}]))"), logs="service=postgres",
              runbooks=("WalArchivingFails",)),
        chart("Age of the oldest segment", "That waits to be archived: what a lost disk would cost.", "s",
              ("age", "max(backup_wal_pending_age_seconds)"), bad=180, runbooks=("WalPending", "DataLossHigh")),
    )),
))  # fmt: skip

REDIS = Dashboard("redis", "Redis", "Memory, commands, hits and persistence of the cache.", (
    Section("Now", (
        stat("Answers", "Whether Redis answers its exporter.", "bool_yes_no", "min(redis_up)", bad=0.5, warn=0.9,
             logs="service=redis", runbooks=("DependencyDown",)),
        stat("Memory", "Share of the most that it may use.", "percentunit",
             "max(redis_memory_used_bytes / (redis_memory_max_bytes > 0))", warn=0.8, bad=0.95),
        stat("Keys", "In all databases.", "short", "sum(redis_db_keys)"),
        stat("Commands", "Per second.", "ops", f"sum(rate(redis_commands_processed_total[{RATE}]))"),
        stat("Cache hits", "Share of the reads that find their key. 1 where nothing is read.", "percentunit",
             f"sum(rate(redis_keyspace_hits_total[{RATE}])) / (sum(rate(redis_keyspace_hits_total[{RATE}]))"
             f" + sum(rate(redis_keyspace_misses_total[{RATE}])) > 0) or vector(1)"),
        stat("Evicted keys", "In the range shown, because the memory was full.", "short",
             "sum(increase(redis_evicted_keys_total[$__range]))", warn=1, runbooks=("RedisEvicts",)),
    )),
    Section("Work", (
        chart("Memory", "Used, and the most that may be used.", "bytes",
              ("used", "sum(redis_memory_used_bytes)"), ("limit", "sum(redis_memory_max_bytes)"),
              runbooks=("ContainerMemoryHigh",)),
        chart("Commands", "Per second, the eight most frequent.", "ops",
              ("{{cmd}}", f"topk(8, sum by (cmd) (rate(redis_commands_total[{RATE}])))"), logs="service=redis"),
        chart("Reads", "Hits and misses per second.", "ops",
              ("hits", f"sum(rate(redis_keyspace_hits_total[{RATE}]))"), ("misses",
              f"sum(rate(redis_keyspace_misses_total[{RATE}]))"),
              stacked=True),
        chart("Clients", "Connected, and those that wait for a blocking command.", "none",
              ("connected", "sum(redis_connected_clients)"), ("blocked", "sum(redis_blocked_clients)")),
        chart("Expired and evicted keys", "Per second.", "ops",
              ("expired", f"sum(rate(redis_expired_keys_total[{RATE}]))"), ("evicted",
              f"sum(rate(redis_evicted_keys_total[{RATE}]))")),
        chart("Network", "Bytes per second.", "Bps",
              ("received", f"sum(rate(redis_net_input_bytes_total[{RATE}]))"), ("sent",
              f"sum(rate(redis_net_output_bytes_total[{RATE}]))")),
    )),
    Section("Persistence", (
        table("Persistence", "Whether the last writes to the disk went well.", ("service",),
              Query("Snapshot good", "min by (service) (redis_rdb_last_bgsave_status)", "bool_yes_no", bad=0.5, warn=0.9),
              Query("AOF write good", "min by (service) (redis_aof_last_write_status)", "bool_yes_no", bad=0.5, warn=0.9),
              Query("Changes since the snapshot", "max by (service) (redis_rdb_changes_since_last_save)", "short"),
              Query("Running for", "max by (service) (redis_uptime_in_seconds)", "s"), logs="service=redis&level=warn",
              runbooks=("RedisNotPersisted",)),
    )),
))  # fmt: skip
