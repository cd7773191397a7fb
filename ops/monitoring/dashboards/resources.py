"""Dashboards of what everything uses: containers and the host."""

from __future__ import annotations

from ops.monitoring.dashboards.model import RATE, Dashboard, Query, Section, Variable, chart, stat, table

CHOSEN = 'name!="",service=~"$service",replica=~"$replica"'
EACH = "{{service}} {{replica}}"


def memory(by: str) -> str:
    return f"max by ({by}) (container_memory_working_set_bytes{{{CHOSEN}}})"


def of_limit(by: str) -> str:
    return f"{memory(by)} / max by ({by}) (container_spec_memory_limit_bytes{{{CHOSEN}}} > 0)"


def cpu(by: str) -> str:
    return f"max by ({by}) (rate(container_cpu_usage_seconds_total{{{CHOSEN}}}[{RATE}]))"


def traffic(metric: str) -> str:
    """Bytes of a container per second, on all its interfaces."""
    return f"sum by (service, replica) (rate({metric}{{{CHOSEN}}}[{RATE}]))"


CONTAINERS = Dashboard("containers", "Containers", "What each container uses, and whether it is well.", (
    Section("Now", (
        table("Containers", "Health, crashes and use of each container.", ("name",),
              Query("Healthy", 'min by (name) (cc03_container_healthy{service=~"$service"})', "bool_yes_no", bad=0.5, warn=0.9),
              Query("CPU", cpu("name"), "percentunit"),
              Query("Memory", memory("name"), "bytes"),
              Query("Of its limit", of_limit("name"), "percentunit", warn=0.8, bad=0.9),
              Query("Crashes", 'max by (name) (increase(cc03_container_crashes_total{service=~"$service"}[$__range]))',
                    "short", warn=0.5),
              Query("Running for", f"time() - max by (name) (container_start_time_seconds{{{CHOSEN}}})", "s"),
              logs="service=$service", runbooks=("ContainerUnhealthy", "ContainerRestarting", "ContainerMemoryHigh")),
    )),
    Section("CPU and memory", (
        chart("CPU", "Share of one core.", "percentunit", (EACH, cpu("service, replica")), stacked=True,
              logs="service=$service"),
        chart("Memory", "Working set: what counts against the limit.", "bytes", (EACH, memory("service, replica")),
              stacked=True,
              runbooks=("ContainerMemoryHigh", "OutOfMemoryKill")),
        chart("Memory of the limit", "At 100 % the kernel ends the container.", "percentunit", (EACH,
              of_limit("service, replica")),
              warn=0.8, bad=0.9, runbooks=("ContainerMemoryHigh",)),
        chart("Held back", "Share of the time slices in which the CPU limit held a container back.", "percentunit",
              (EACH, f"max by (service, replica) (rate(container_cpu_cfs_throttled_periods_total{{{CHOSEN}}}[{RATE}])"
                     f" / (rate(container_cpu_cfs_periods_total{{{CHOSEN}}}[{RATE}]) > 0))"),
              runbooks=("KeycloakCpuShort",), empty="the kernel keeps no account of time slices (cgroup v1)"),
    )),
    Section("Network and crashes", (
        chart("Received", "Bytes per second.", "Bps", (EACH, traffic("container_network_receive_bytes_total"))),
        chart("Sent", "Bytes per second.", "Bps", (EACH, traffic("container_network_transmit_bytes_total"))),
        chart("Crashes", "Ends of the main process that nobody ordered.", "short",
              ("{{name}}", f'max by (name) (increase(cc03_container_crashes_total{{service=~"$service"}}[{RATE}]))'), width=24,
              logs="service=$service&level=error", runbooks=("ContainerRestarting",)),
    )),
), (
    Variable("service", "Service", "cc03_container_healthy", "service"),
    Variable("replica", "Replica", 'container_start_time_seconds{name!=""}', "replica"),
))  # fmt: skip

AVAILABLE = "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes"
FREE = "min by (device) (node_filesystem_avail_bytes / node_filesystem_size_bytes)"


def pressure(kind: str) -> str:
    """Share of the time in which something waited for a resource."""
    return f"max(rate(node_pressure_{kind}_waiting_seconds_total[{RATE}]))"


HOST = Dashboard("host", "Host", "CPU, memory, disks and pressure of the machine that runs the stack.", (
    Section("Now", (
        stat("CPU", "Share of all cores in use.", "percentunit",
             f'1 - avg(rate(node_cpu_seconds_total{{mode="idle"}}[{RATE}]))',
             warn=0.8, bad=0.95),
        stat("Load", "Of the last minute, for each core.", "none",
             'sum(node_load1) / count(count by (cpu) (node_cpu_seconds_total{mode="idle"}))', warn=2, bad=8),
        stat("Memory", "Share that is not available.", "percentunit", f"max(1 - {AVAILABLE})", warn=0.85, bad=0.95,
             runbooks=("HostMemoryLow",)),
        stat("Disk used", "Of the fuller file system.", "percentunit", f"1 - min({FREE})", warn=0.8, bad=0.9,
             runbooks=("DiskAlmostFull",)),
        stat("Full in", "At the pace of the last six hours, once they are known; at most 30 days.", "s",
             "min(node_filesystem_avail_bytes / (-deriv(node_filesystem_avail_bytes[6h]) > 0) < 2592000"
             " and node_filesystem_avail_bytes offset 5h) or vector(2592000)",
             warn=7 * 86400, bad=86400, runbooks=("DiskFullSoon",)),
        stat("Up for", "Since the host was started.", "s", "max(node_time_seconds - node_boot_time_seconds)"),
    )),
    Section("CPU and memory", (
        chart("CPU by mode", "Cores in use, idle left out.", "none",
              ("{{mode}}", f'sum by (mode) (rate(node_cpu_seconds_total{{mode!="idle"}}[{RATE}]))'), stacked=True),
        chart("Load", "Processes that run or wait, on average.", "none",
              ("1 minute", "max(node_load1)"), ("5 minutes", "max(node_load5)"), ("15 minutes", "max(node_load15)")),
        chart("Memory", "In use, and held for files, which is given back when it is needed.", "bytes",
              ("in use", "max(node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes)"),
              ("files", "max(node_memory_Cached_bytes + node_memory_Buffers_bytes)"), ("total",
              "max(node_memory_MemTotal_bytes)"),
              runbooks=("HostMemoryLow", "OutOfMemoryKill")),
        chart("Pressure", "Share of the time in which at least one process waited for it.", "percentunit",
              ("CPU", pressure("cpu")), ("memory", pressure("memory")), ("disk", pressure("io")),
              runbooks=("HostOverloaded",), empty="the kernel measures no pressure (psi=1)"),
    )),
    Section("Disk", (
        chart("Disk used", "By file system.", "percentunit", ("{{device}}", f"1 - {FREE}"), warn=0.8, bad=0.9,
              runbooks=("DiskAlmostFull", "DiskFullSoon")),
        chart("Inodes used", "By file system: files that can be created.", "percentunit",
              ("{{device}}", "1 - min by (device) (node_filesystem_files_free / (node_filesystem_files > 0))"), bad=0.9,
              runbooks=("InodesLow",), empty="the file system has no fixed number of inodes"),
        chart("Disk traffic", "Bytes per second of all disks.", "Bps",
              ("read", f"sum(rate(node_disk_read_bytes_total[{RATE}]))"), ("written",
              f"sum(rate(node_disk_written_bytes_total[{RATE}]))")),
        chart("Busy disks", "Share of the time in which a disk works.", "percentunit",
              ("{{device}}", f"max by (device) (rate(node_disk_io_time_seconds_total[{RATE}])) > 0.001")),
        chart("Open files", "Of the whole host, as a share of its limit.", "percentunit",
              ("files", "max(node_filefd_allocated / node_filefd_maximum)"), bad=0.8, runbooks=("FileHandlesLow",)),
        chart("Ended for want of memory", "Processes that the kernel ended, on the host or at the limit of a container.",
              "short",
              ("processes", f"sum(increase(node_vmstat_oom_kill[{RATE}]))"), runbooks=("OutOfMemoryKill",)),
        chart("Clock", "How far it may be from the right time, by the kernel's estimate.", "s",
              ("at most", "max(node_timex_maxerror_seconds)"), runbooks=("ClockWrong",)),
        chart("Network", "Bytes per second of all containers.", "Bps",
              ("received", f'sum(rate(container_network_receive_bytes_total{{name!=""}}[{RATE}]))'),
              ("sent", f'sum(rate(container_network_transmit_bytes_total{{name!=""}}[{RATE}]))')),
    )),
))  # fmt: skip
