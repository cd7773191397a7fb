"""Dashboards of both ends: nginx, which every request passes, and the monitoring, which watches the rest."""

from __future__ import annotations

from ops.monitoring.dashboards.model import RATE, Dashboard, Query, Section, Variable, chart, stat, table

CHOSEN = 'route=~"$route"'
RESPONSES = f"sum by ({{}}) (rate(edge_responses_total{{{{{CHOSEN}}}}}[{RATE}]))"
QUANTILE = f"histogram_quantile({{}}, sum by (le{{}}) (rate(edge_response_duration_seconds_bucket{{{{{CHOSEN}}}}}[{RATE}])))"
WATCHERS = 'name!="",service=~"prometheus|alertmanager|cadvisor|logs"'
QUIET = "no request within the window"

EDGE = Dashboard("edge", "Edge", "nginx: every request of every client, what it got, and how long it took.", (
    Section("Now", (
        stat("Answers", "Whether nginx answers its exporter.", "bool_yes_no", "min(nginx_up)", bad=0.5, warn=0.9,
             logs="service=nginx", runbooks=("DependencyDown",)),
        stat("Reached", "Whether the probes of page, login and API succeed.", "bool_yes_no", "min(probe_success)", bad=0.5,
             warn=0.9,
             runbooks=("SiteDown",)),
        stat("Requests", "Responses per second, probes included.", "reqps",
             f"sum(rate(edge_responses_total{{{CHOSEN}}}[{RATE}]))",
             logs="service=nginx"),
        stat("Latency, 95 %", "95 of 100 responses end within this time.", "s", QUANTILE.format(0.95, ""), warn=0.5, bad=2,
             empty=QUIET),
        stat("Refused as too many", "429 responses in the range shown.", "short",
             f'sum(increase(edge_responses_total{{{CHOSEN},status="429"}}[$__range])) or vector(0)', warn=1,
             logs="service=nginx&expert=status:429", runbooks=("RequestsLimited",)),
        stat("Connections", "Open ones of clients.", "none", "sum(nginx_connections_active)"),
    )),
    Section("Responses", (
        chart("By status", "Per second.", "reqps", ("{{status}}", RESPONSES.format("status") + " > 0"), stacked=True,
              logs="service=nginx", empty=QUIET),
        chart("By route", "Per second.", "reqps", ("{{route}}", RESPONSES.format("route")), stacked=True, logs="service=nginx"),
        chart("Latency", "Until the end of the response, waiting and retries included.", "s",
              ("median", QUANTILE.format(0.5, "")), ("95 %", QUANTILE.format(0.95, "")), ("99 %", QUANTILE.format(0.99, "")),
              empty=QUIET),
        chart("Latency by route", "95 of 100 responses end within this time.", "s", ("{{route}}", QUANTILE.format(0.95,
              ", route")),
              empty=QUIET),
        chart("Failures by service", "5xx responses per second, by the service that was asked.", "reqps",
              ("{{service}}", f'sum by (service) (rate(edge_responses_total{{{CHOSEN},status=~"5.."}}[{RATE}]))'),
              logs="service=nginx&expert=status:>=500", runbooks=("ErrorRatioHigh",)),
        chart("Attempts by container", "Requests that nginx passed on, by container.", "reqps",
              ("{{upstream}}", f"sum by (upstream) (rate(edge_upstream_responses_total[{RATE}]))"), logs="service=nginx",
              runbooks=("ContainerFailsRequests",)),
        chart("Sent", "Bytes per second.", "Bps", ("{{route}}",
              f"sum by (route) (rate(edge_response_bytes_total{{{CHOSEN}}}[{RATE}]))"),
              stacked=True, empty=QUIET),
        chart("Connections", "Of clients, by what they do.", "none", ("reading", "sum(nginx_connections_reading)"),
              ("writing", "sum(nginx_connections_writing)"), ("idle", "sum(nginx_connections_waiting)"), stacked=True),
    )),
), (Variable("route", "Route", "edge_responses_total", "route"),))  # fmt: skip

MONITORING = Dashboard("monitoring", "Monitoring", "What watches the rest: targets, rules, notifications, and their own use.", (
    Section("Now", (
        stat("Targets down", "That Prometheus cannot scrape.", "none", "count(up == 0) or vector(0)", bad=1,
             runbooks=("TargetDown",)),
        stat("Series", "That Prometheus holds in memory.", "short", "max(prometheus_tsdb_head_series)",
             runbooks=("RetentionCutBySize",)),
        stat("On disk", "Metrics and their write-ahead log.", "bytes",
             "max(prometheus_tsdb_storage_blocks_bytes + prometheus_tsdb_wal_storage_size_bytes)",
             runbooks=("RetentionCutBySize",)),
        stat("Data since", "How far the oldest sample reaches back.", "s",
             "time() - min(prometheus_tsdb_lowest_timestamp_seconds)"),
        stat("Notifications failed", "In the range shown.", "short",
             "sum(increase(alertmanager_notifications_failed_total[$__range])) or vector(0)",
             bad=1, logs="service=alertmanager", runbooks=("NotificationsFail", "AlertsNotSent", "AlertReceiverUnknown")),
        stat("Health ticker", "Since it last asked every container.", "s",
             "time() - max(cc03_ticker_last_round_timestamp_seconds)",
             warn=120, bad=300, runbooks=("HealthTickerStopped",)),
    )),
    Section("Collecting", (
        table("Targets", "What is scraped, how long it takes, and how much comes.", ("job", "instance"),
              Query("Up", "min by (job, instance) (up)", "bool_yes_no", bad=0.5, warn=0.9),
              Query("Scrape", "max by (job, instance) (scrape_duration_seconds)", "s", warn=3, bad=8),
              Query("Samples", "sum by (job, instance) (scrape_samples_post_metric_relabeling)", "short"),
                    runbooks=("TargetDown",)),
        chart("Scrape time", "Of the slowest target of each job; 10 s is the limit.", "s", ("{{job}}",
              "max by (job) (scrape_duration_seconds)"),
              runbooks=("TargetDown",)),
        chart("Rule groups", "Time that an evaluation takes.", "s",
              ("{{rule_group}}", 'max by (rule_group) (label_replace(prometheus_rule_group_last_duration_seconds,'
                                 ' "rule_group", "$1", "rule_group", ".*;(.+)"))'), runbooks=("RulesFail",)),
    )),
    Section("Alerts", (
        chart("Alerts", "Firing, by severity; the watchdog always does.", "none",
              ("{{severity}}", 'count by (severity) (ALERTS{alertstate="firing"})'), stacked=True, runbooks=("Watchdog",)),
        chart("Notifications", "Per second, and those that failed.", "ops",
              ("sent", f"sum(rate(alertmanager_notifications_total[{RATE}]))"),
              ("failed", f"sum(rate(alertmanager_notifications_failed_total[{RATE}]))"), logs="service=alertmanager",
              runbooks=("NotificationsFail", "AlertsNotSent"), empty="no receiver is set: alerts.receivers in stack.yaml"),
    )),
    Section("Its own use", (
        chart("CPU", "Share of one core.", "percentunit",
              ("{{service}}", f"sum by (service) (rate(container_cpu_usage_seconds_total{{{WATCHERS}}}[{RATE}]))"),
              stacked=True),
        chart("Memory", "Working set.", "bytes",
              ("{{service}}", f"sum by (service) (container_memory_working_set_bytes{{{WATCHERS}}})"),
              stacked=True, runbooks=("ContainerMemoryHigh",)),
    )),
))  # fmt: skip
