"""Every container is measured, and so is the host, by a process that could do neither any harm."""

from __future__ import annotations

import re
from typing import Any

from tests.smoke.live import SCRAPED_WITHIN, Live, eventually

SERIES = ("container_cpu_usage_seconds_total", "container_memory_working_set_bytes", "container_spec_memory_limit_bytes")


def named(page: str, series: str) -> set[str]:
    """Names of the containers that have a series."""
    return set(re.findall(rf'^{series}{{[^}}]*\bname="([^"]+)"', page, re.MULTILINE))


def test_every_container_is_measured(live: Live) -> None:
    running = {str(item["Name"]) for item in live.containers.values()}

    def missing() -> str:
        page = live.inside("cadvisor", 8080, "/metrics").text
        return "; ".join(f"{series} lacks {sorted(absent)}" for series in SERIES if (absent := running - named(page, series)))

    eventually(missing, SCRAPED_WITHIN)


def test_series_are_those_of_this_projects_services(live: Live) -> None:
    running = {str(item["Config"]["Labels"]["cc03.service"]) for item in live.containers.values()}

    def measured() -> set[str]:
        found = live.query("count by (service) (container_memory_working_set_bytes{name!=''})")
        return {one["metric"]["service"] for one in found}

    assert sorted(measured() - running) == []
    eventually(lambda: ", ".join(sorted(running - measured())), SCRAPED_WITHIN)
    replicas = live.query('count by (replica) (container_memory_working_set_bytes{service="backend"})')
    assert {one["metric"]["replica"] for one in replicas} == {slot.rpartition("-")[2] for slot in live.slots("backend")}


def test_limits_are_those_that_are_set(live: Live) -> None:
    page = live.inside("cadvisor", 8080, "/metrics").text
    pattern = r'^container_spec_memory_limit_bytes{[^}]*\bname="([^"]+)"[^}]*} (\S+)'
    measured = {name: float(value) for name, value in re.findall(pattern, page, re.MULTILINE)}

    for service in live.project.stack.services.values():
        for slot in set(service.slots()) & set(live.containers):
            assert measured[f"{live.project.name}-{slot}"] == service.limits.memory_bytes


def test_host_is_measured(live: Live) -> None:
    page = live.inside("cadvisor", 9100, "/metrics").text

    for series in ("node_memory_MemAvailable_bytes", "node_filesystem_avail_bytes", "node_load1"):
        assert re.search(rf"^{series}\b", page, re.MULTILINE), series


def test_health_ticker_tells_what_it_sees(live: Live) -> None:
    page = live.inside("cadvisor", 9100, "/metrics").text

    assert "node_textfile_scrape_error 0" in page.splitlines()
    assert all(f'service="{service}"' in page for service in ("postgres", "redis", "nginx"))


def test_sees_the_host_through_read_only_mounts_and_no_socket(live: Live) -> None:
    item: dict[str, Any] = dict(live.container("cadvisor"))

    assert [mount["Source"] for mount in item["Mounts"] if mount["RW"]] == []
    assert [mount["Source"] for mount in item["Mounts"] if mount["Source"].endswith(".sock")] == []
    assert not item["HostConfig"]["Privileged"]
