"""What the host's facts mean: every finding, its level and its cure."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.core.machine import HostFacts
from ops.host.accounts import Account, taken
from ops.host.findings import Facts, Finding, Folder, findings

ALL = frozenset({"podman", "crun", "runc", "netavark", "conmon", "nft", "iptables"})
HEALTHY = Facts(HostFacts(programs=ALL), (5, 4, 2), free_bytes={"/var": 100 << 30}, clock_offset=0.3)


def facts(host: HostFacts | None = None, **changes: object) -> Facts:
    return replace(HEALTHY, host=host or HEALTHY.host, **changes)  # type: ignore[arg-type]


def without_good(of: Facts) -> list[Finding]:
    return [finding for finding in findings(of) if finding.level != "good"]


def test_host_that_has_all_gets_good_findings_only() -> None:
    assert without_good(HEALTHY) == []
    assert [finding.what for finding in findings(HEALTHY)] == ["Podman 5.4.2", "cgroups v2", "100 GB free on /var"]


@pytest.mark.parametrize(
    ("seen", "level", "what"),
    [
        (facts(podman=None), "bad", "Podman is not installed"),
        (facts(podman=(4, 2, 9)), "bad", "Podman 4.2.9 is too old"),
        (facts(HostFacts(programs=ALL - {"netavark"})), "bad", "netavark is not installed"),
        (facts(HostFacts(programs=ALL - {"nft"}), podman=(4, 3, 1)), "bad", "nft is not installed"),
        (facts(HostFacts(programs=ALL - {"iptables"}), podman=(4, 3, 1)), "bad", "iptables is not installed"),
        (facts(HostFacts(programs=ALL - {"conmon"})), "bad", "conmon is not installed"),
        (facts(HostFacts(programs=ALL - {"crun", "runc"})), "bad", "no OCI runtime is installed"),
        (facts(HostFacts(programs=ALL, root=False)), "bad", "not root"),
        (facts(HostFacts(programs=ALL, seccomp=False)), "bad", "the default seccomp profile is not installed"),
        (facts(HostFacts(programs=ALL - {"runc"}, cgroups="hybrid")), "bad", "cgroups hybrid without runc"),
        (facts(HostFacts(programs=ALL - {"runc"}, cgroups="v1")), "bad", "cgroups v1 without runc"),
        (facts(free_bytes={"/var": (1 << 30) - 1}), "bad", "1.0 GB free on /var"),
        (facts(free_bytes={"/var": 7 << 30}, images_missing=1), "bad", "7.0 GB free on /var"),
        (facts(memory_bytes=2 << 30), "warning", "2.0 GB of memory"),
        (facts(ceilings=17 << 30), "warning", "the memory ceilings add up to 17.0 GB"),
        (facts(overcommit=0), "warning", "vm.overcommit_memory is 0"),
        (facts(overcommit=2), "warning", "vm.overcommit_memory is 2"),
        (facts(huge_pages="always"), "warning", "transparent huge pages are on for every program"),
        (facts(backlog=128), "warning", "a container's net.core.somaxconn is 128"),
        (facts(busy_ports={"https": 443}), "bad", "port 443 is taken by another program"),
        (facts(memory_bytes=23 << 30, limits={"postgres": 800 << 30}), "bad", "limits.postgres.memory is 800 GB"),
        (
            facts(busy_ports={"https": 443}, port_owners={443: "shop"}),
            "bad",
            "port 443 is published by the project shop of this host",
        ),
        (facts(receivers={"smtp.example.com": False}), "warning", "the receiver smtp.example.com of alerts has no address"),
        (facts(without_resolver=True), "warning", "no resolver that containers reach"),
        (facts(secrets_closed="locked"), "bad", "secrets cannot be read: locked"),
        (facts(ipv6=("2001:db8::7",)), "warning", "the site's name has an IPv6 address, 2001:db8::7"),
        (facts(clock_offset=11.0), "warning", "the clock is off by 11 s"),
        (facts(clock_offset=-3600.0), "warning", "the clock is off by -3600 s"),
        (facts(registries={"container registry": False}), "warning", "container registry does not answer"),
        (facts(registries={"package mirror": False}), "warning", "package mirror does not answer"),
    ],
)
def test_trouble_is_one_finding_with_its_meaning(seen: Facts, level: str, what: str) -> None:
    (finding,) = without_good(seen)

    assert (finding.level, finding.what) == (level, what)
    assert finding.meaning


def test_warnings_about_the_kernel_have_a_cure_and_stop_no_deploy() -> None:
    found = without_good(facts(overcommit=0, huge_pages="always", backlog=128, ceilings=17 << 30))

    assert [finding.level for finding in found] == ["warning"] * 4
    assert [finding.what for finding in found if not finding.cure] == []


def test_podman_5_needs_no_iptables() -> None:
    assert without_good(facts(HostFacts(programs=ALL - {"iptables"}))) == []


def test_what_makes_a_deploy_impossible_has_a_cure() -> None:
    lacking = facts(
        HostFacts(programs=frozenset(), root=False, cgroups="hybrid"),
        podman=None, free_bytes={"/var": 0}, busy_ports={"http": 80}, memory_bytes=1,
    )  # fmt: skip

    bad = [finding for finding in without_good(lacking) if finding.level == "bad"]
    assert len(bad) == 10
    assert [finding.what for finding in bad if not finding.cure] == []


@pytest.mark.parametrize(
    ("seen", "what"),
    [
        (facts(podman=(4, 3)), "Podman 4.3"),
        (facts(podman=(4, 10, 0)), "Podman 4.10.0"),
        (facts(HostFacts(programs=ALL, cgroups="hybrid")), "cgroups hybrid"),
        (facts(HostFacts(programs=ALL, may_raise_limits=False)), "no CAP_SYS_RESOURCE"),
        (facts(HostFacts(programs=ALL, systemd=False)), "no systemd"),
        (facts(free_bytes={"/var": 7 << 30}), "7 GB free on /var"),
        (facts(registries={"container registry": True}), "container registry answers"),
        (facts(ceilings=16 << 30), "the memory ceilings add up to 16.0 GB"),
        (facts(overcommit=1), "vm.overcommit_memory is 1"),
        (facts(huge_pages="madvise"), "transparent huge pages: madvise"),
        (facts(backlog=4096), "a container's net.core.somaxconn is 4096"),
    ],
)
def test_what_the_stack_can_live_with_is_good(seen: Facts, what: str) -> None:
    assert without_good(seen) == []
    assert what in [finding.what for finding in findings(seen)]


@pytest.mark.parametrize(
    ("account", "what", "cure"),
    [
        (Account("user", "ann", 60711), "the user ann has the id 60711", "usermod -u NUMBER ann"),
        (Account("group", "staff", 60711), "the group staff has the id 60711", "groupmod -g NUMBER staff"),
        (Account("subuid", "ann", 60000, 65536), "the range of subuid ann (60000:65536) holds the id 60711", "/etc/subuid"),
    ],
)
def test_account_with_an_id_of_a_container_keeps_the_stack_from_running(account: Account, what: str, cure: str) -> None:
    (finding,) = without_good(facts(taken=taken({60711: ("backup",)}, [account])))

    assert (finding.level, finding.what) == ("bad", what)
    assert "backup" in finding.meaning
    assert cure in finding.cure


def test_unknown_clock_is_no_finding() -> None:
    assert without_good(facts(clock_offset=None)) == []


def test_busy_port_is_named_with_the_setting_that_moves_it() -> None:
    (finding,) = without_good(facts(busy_ports={"ops": 9443}))

    assert "ports.ops" in finding.cure
    assert "9443" in finding.cure


@pytest.mark.parametrize(
    ("folder", "level", "what", "cure"),
    [
        (Folder("/mnt/d", there=False, taken=False, own_disk=False), "bad", "/mnt/d is not there", "mount it"),
        (Folder("/mnt/d", there=True, taken=False, own_disk=True), "bad", "is not the backup's", "chown -R 60711:60711 /mnt/d"),
        (Folder("/mnt/d", there=True, taken=True, own_disk=False), "warning", "on the disk of the local one", "another disk"),
    ],
)
def test_folder_of_a_repository(folder: Folder, level: str, what: str, cure: str) -> None:
    (found,) = without_good(facts(folders={"disk2": folder}))

    assert (found.level, what in found.what, cure in found.cure) == (level, True, True)
    assert without_good(facts(folders={"disk2": replace(folder, there=True, taken=True, own_disk=True)})) == []
