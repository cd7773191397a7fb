"""The first dashboard: is the stack well, and what is it doing?"""

from __future__ import annotations

from ops.monitoring.dashboards.model import RATE, Dashboard, Query, Section, chart, stat, table

EDGE = 'edge_responses_total{route!="probe"}'
FAILED = 'edge_responses_total{route!="probe",status=~"5.."}'
LATENCY = f'histogram_quantile({{}}, sum by (le) (rate(http_request_duration_seconds_bucket{{{{job="backend"}}}}[{RATE}])))'
CONTAINER_CPU = f'sum by (service) (rate(container_cpu_usage_seconds_total{{name!=""}}[{RATE}]))'
CONTAINER_MEMORY = 'sum by (service) (container_memory_working_set_bytes{name!=""})'
FIRING = 'ALERTS{alertstate="firing",alertname!="Watchdog"}'
DAY = 86400

NOW = Section("Now", (
    stat("Alerts firing", "Alerts that fire now, without the watchdog, which always does.", "none",
         f"count({FIRING}) or vector(0)", bad=1, runbooks=("Watchdog",)),
    stat("Unhealthy containers", "Containers whose health check fails.", "none",
         "count(cc03_container_healthy == 0) or vector(0)", bad=1, runbooks=("ContainerUnhealthy",)),
    stat("Requests", "Responses to clients per second, the stack's own probes left out.", "reqps",
         f"sum(rate({EDGE}[{RATE}]))", logs="service=nginx"),
    stat("Failed requests", "Share of 5xx responses, those of nginx itself included. 0 where nothing is asked.", "percentunit",
         f"sum(rate({FAILED}[{RATE}])) / (sum(rate({EDGE}[{RATE}])) > 0) or vector(0)",
         warn=0.01, bad=0.05, logs="service=nginx&expert=status:>=500", runbooks=("ErrorRatioHigh",)),
    stat("API latency, 95 %", "95 of 100 requests of the API take at most so long.", "s", LATENCY.format(0.95),
         warn=0.5, bad=2, logs="service=backend"),
    stat("Release", "Number of the release that serves.", "none", "max(cc03_release)", runbooks=("DeployReverted",)),
    stat("Host CPU", "Share of all cores in use.", "percentunit",
         f'1 - avg(rate(node_cpu_seconds_total{{mode="idle"}}[{RATE}]))',
         warn=0.8, bad=0.95),
    stat("Host memory", "Share of the memory that is not available.", "percentunit",
         "max(1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)", warn=0.85, bad=0.95,
         runbooks=("HostMemoryLow",)),
    stat("Disk used", "Of the fuller of the file systems that hold Podman's storage and the state.", "percentunit",
         "1 - min(node_filesystem_avail_bytes / node_filesystem_size_bytes)", warn=0.8, bad=0.9,
         runbooks=("DiskAlmostFull", "DiskFullSoon")),
    stat("Oldest last backup", "Age of the older of the last good backups of PostgreSQL and Redis.", "s",
         'time() - min(backup_last_success_timestamp_seconds{component=~"postgres|redis"})', warn=25 * 3600, bad=26 * 3600,
         logs="service=backup", runbooks=("BackupStale",)),
    stat("Certificate ends in", "Of the certificate that clients are shown.", "s",
         'min(last_over_time(probe_ssl_earliest_cert_expiry{probe="page"}[1h])) - time()', warn=8 * DAY, bad=3 * DAY,
         runbooks=("CertificateExpiresSoon", "CertificateExpiresVerySoon")),
    stat("Log lines", "Stored per second.", "logs/s", f"sum(rate(vl_rows_ingested_total[{RATE}]))",
         runbooks=("LogIngestionStopped",)),
))  # fmt: skip

TRAFFIC = Section("Traffic", (
    chart("Requests", "Responses to clients per second, by what they asked for.", "reqps",
          ("{{route}}", f"sum by (route) (rate({EDGE}[{RATE}]))"), stacked=True, logs="service=nginx"),
    chart("Failed requests", "Share of 5xx responses, by the service that was asked.", "percentunit",
          ("{{service}}", f"sum by (service) (rate({FAILED}[{RATE}])) / sum by (service) (rate({EDGE}[{RATE}]))"),
          bad=0.05, logs="service=nginx&expert=status:>=500", runbooks=("ErrorRatioHigh",),
          empty="no request within the window"),
    chart("Latency by what is asked", "95 of 100 responses end within this time at nginx.", "s",
          ("{{route}}",
          'histogram_quantile(0.95, sum by (route, le) (rate(edge_response_duration_seconds_bucket{route=~"api|login|page"}['
                        + RATE + "])))"), logs="service=nginx", empty="no request within the window"),
    chart("Traffic", "Bytes sent to clients per second, by what they asked for.", "Bps",
          ("{{route}}", f"sum by (route) (rate(edge_response_bytes_total[{RATE}]))"), stacked=True, logs="service=nginx"),
    chart("API latency", "Time until the backend has handed the response to the network.", "s",
          ("median", LATENCY.format(0.5)), ("95 %", LATENCY.format(0.95)), ("99 %", LATENCY.format(0.99)),
          logs="service=backend"),
    chart("As users reach it", "Time that the probes of the page, the login and the API take, through TLS and every hop.", "s",
          ("{{probe}}", "sum by (probe) (probe_duration_seconds)"), runbooks=("SiteDown",)),
))  # fmt: skip

SERVICES = Section("Services", (
    table("Services", "Each service as it is now: its health, what it uses of a core and of its memory limit.", ("service",),
          Query("Healthy", "min by (service) (cc03_container_healthy)", "bool_yes_no", bad=0.5, warn=0.9),
          Query("CPU", CONTAINER_CPU, "percentunit"),
          Query("Memory", CONTAINER_MEMORY, "bytes"),
          Query("Of its limit", f'{CONTAINER_MEMORY} / sum by (service) (container_spec_memory_limit_bytes{{name!=""}} > 0)',
                "percentunit", warn=0.8, bad=0.9),
          Query("Running for", 'time() - max by (service) (container_start_time_seconds{name!=""})', "s"),
          runbooks=("ContainerUnhealthy", "ContainerMemoryHigh")),
    table("Alerts", "What fires now, and since when.", ("alertname", "service", "severity"),
          Query("For", "time() - max by (alertname, service, severity) (ALERTS_FOR_STATE)"
                       f" and on (alertname, service, severity) {FIRING}", "s"),
          empty="no alert fires"),
    chart("CPU by service", "Share of one core.", "percentunit", ("{{service}}", CONTAINER_CPU), stacked=True,
          runbooks=("KeycloakCpuShort",)),
    chart("Memory by service", "Working set: what counts against the limit.", "bytes", ("{{service}}", CONTAINER_MEMORY),
          stacked=True, runbooks=("ContainerMemoryHigh", "OutOfMemoryKill")),
))  # fmt: skip

OVERVIEW = Dashboard("overview", "Overview", "Is the stack well, and what is it doing?", (NOW, TRAFFIC, SERVICES))
