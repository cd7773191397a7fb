"""A PostgreSQL cluster loses members in every way, under clients that count: `nox -s postgresql-cluster`.

The tests are one story, in their order.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from ops.core.process import run
from tests.cluster.patroni_lab import (
    ACCOUNT,
    MEMBERS,
    NAME,
    NAMESPACE,
    QUICK,
    Client,
    Lab,
    Member,
    conninfo,
    lab,
    podman,
    streaming,
    until_true,
)
from tests.cluster.patroni_lab import image as wanted_image
from tests.drill.report import Recovery, table

WRITES_AGAIN, READS_AGAIN = 30.0, 10.0
SETTLED = 5.0
"""Seconds of calm before and after."""
CONFIG = "--config-file=/etc/cc03/current/patroni.yaml"
measured: list[Recovery] = []


def record(what: str, seconds: float, promised: float | None = None, note: str = "") -> None:
    measured.append(Recovery(what, seconds, promised, note))
    print(f"\n{what}: {seconds:.1f} s {measured[-1].verdict} {note}", flush=True)


ids = iter(range(1_000_000, 10**9, 1_000_000))


@pytest.fixture(scope="module")
def made() -> Iterator[Lab]:
    with lab(wanted_image()) as found:
        found.start_backup()
        for member in MEMBERS:
            found.start(member)
        yield found
        Console(width=140).print(table(measured))


@dataclass(frozen=True)
class Clients:
    writer: Client
    reader: Client

    def stop(self) -> None:
        self.writer.stop()
        self.reader.stop()

    def missing(self, leader: Member) -> set[int]:
        """Acknowledged rows that are not there."""
        return {number for _, number in self.writer.done()} - rows(leader)


@pytest.fixture
def clients(made: Lab) -> Iterator[Clients]:
    made.await_quorum()
    found = Clients(
        made.client("write", conninfo(*MEMBERS, wanted="read-write"), next(ids)),
        made.client("read", conninfo(*MEMBERS, wanted="any"), next(ids)),
    )
    until_true(lambda: len(found.writer.done()) > 100 and found.reader.done(), 60, "the clients are answered")
    yield found
    found.stop()


def rows(leader: Member) -> set[int]:
    return set(map(int, leader.psql("SELECT id FROM acknowledged", "app").split()))


def cpu(member: Member) -> float:
    """Seconds of CPU that Patroni itself has used."""
    command = "cut -d' ' -f14,15 /proc/$(s6-svstat -o pid /run/s6/postgres)/stat"
    return sum(map(int, member.exec("bash", "-c", command).stdout.split())) / 100


def test_three_empty_folders_become_a_cluster(made: Lab) -> None:
    begun = time.time()
    leader = made.await_quorum(120)
    until_true(lambda: leader.exec("healthy", ok=None).returncode == 0, 60, "the primary is healthy")
    record("bootstrap: quorum of three", time.time() - begun)

    leader.psql(
        "CREATE TABLE acknowledged (id bigint PRIMARY KEY, at timestamptz DEFAULT now()); GRANT ALL ON acknowledged TO app",
        "app",
    )
    assert leader.psql("SHOW synchronous_standby_names").startswith("ANY 1 (")
    assert leader.psql("SHOW max_connections") == "190"
    for member in MEMBERS:
        until_true(lambda member=member: member.exec("healthy", ok=None).returncode == 0, 30, f"{member.name} is healthy")
        assert member.exec("live", ok=None).returncode == 0


def test_a_member_has_no_other_rights(made: Lab) -> None:
    account = f"--as=system:serviceaccount:{NAMESPACE}:{ACCOUNT}"
    for verb, what in (
        ("get", "secrets"),
        ("delete", "pods"),
        ("patch", "pods/another"),
        ("update", "configmaps/another"),
        ("delete", "configmaps"),
    ):
        answer = made.kubectl("auth", "can-i", verb, what, account, f"--namespace={NAMESPACE}", ok=None)
        assert answer.stdout.strip() == "no", (verb, what)


def test_the_pods_are_labelled(made: Lab) -> None:
    leader = made.await_leader()
    until_true(lambda: labels(made) == labelled(leader), 30, "the pods are labelled")


def labelled(primary: Member) -> dict[str, str]:
    return {member.name: "primary" if member == primary else "replica" for member in MEMBERS}


def labels(made: Lab) -> dict[str, str]:
    found = json.loads(made.kubectl("get", "pods", f"--namespace={NAMESPACE}", "--output=json").stdout)["items"]
    return {pod["metadata"]["name"]: pod["metadata"]["labels"].get("role", "") for pod in found}


def test_the_backup_is_taken_from_a_replica(made: Lab) -> None:
    def pgbackrest(*argv: str) -> str:
        return podman(
            "exec", f"{NAME}-backup", "pgbackrest", "--stanza=main", "--log-level-console=detail", *argv, timeout=180.0
        ).stdout

    pgbackrest("stanza-create")
    assert "wait for replay on the standby" in pgbackrest("--type=full", "backup")
    pgbackrest("check")


@dataclass(frozen=True)
class Fault:
    begin: Callable[[Member], object]
    end: Callable[[Lab, Member], object]
    beside: bool = True
    """Whether a client can stay in the primary's network."""


def cut(member: Member) -> None:
    """Take its interface off the bridge: packets are lost, as with a broken cable."""
    wire = member.wire()
    bridges[member] = wire, Path(f"/sys/class/net/{wire}/master").resolve().name
    run(("ip", "link", "set", wire, "nomaster"), timeout=QUICK)


def join(lab: Lab, member: Member) -> None:
    wire, bridge = bridges.pop(member)
    run(("ip", "link", "set", wire, "master", bridge), timeout=QUICK)


bridges: dict[Member, tuple[str, str]] = {}
FAULTS = {
    "killed": Fault(
        lambda one: podman("kill", "--signal=KILL", one.container),
        lambda lab, one: podman("start", one.container),
        beside=False,
    ),
    "frozen": Fault(lambda one: podman("pause", one.container), lambda lab, one: podman("unpause", one.container)),
    "cut off": Fault(cut, join),
}  # fmt: skip


@pytest.mark.parametrize("kind", FAULTS)
def test_nothing_is_lost_with_the_primary(made: Lab, clients: Clients, kind: str) -> None:
    fault, old = FAULTS[kind], made.await_leader()
    # Quorum commit must refuse whoever still writes to the old primary, from beside it and later on from everywhere.
    beside = made.client("write", conninfo(old, wanted="any"), next(ids), old if fault.beside else None)
    time.sleep(SETTLED)
    fault.begin(old)
    begun = time.time()
    until_true(lambda: clients.writer.done_after(begun + 2), 90, "rows are written again")
    new = made.await_leader(30)
    time.sleep(SETTLED)
    writes, reads = clients.writer.pause_after(begun), clients.reader.pause_after(begun)
    # The old one cannot do so itself, and would stay in the Service of the primary.
    until_true(lambda: labels(made) == labelled(new), 15, "the new primary has labelled the pods")

    ended = time.time()
    fault.end(made, old)
    assert made.await_quorum(120) == new
    record(f"primary {kind}: writes", writes, WRITES_AGAIN)
    record(f"primary {kind}: reads", reads, READS_AGAIN)
    record(f"primary {kind}: it is a replica again", time.time() - ended)
    time.sleep(SETTLED)

    assert new != old
    assert clients.missing(new) == set()
    late = [(when - begun, number) for when, number in beside.done() if when > begun + 1]
    assert late == [], "the old primary acknowledged rows"
    assert beside.failures(ended), "the old primary was not watched"
    assert {number for _, number in beside.done()} <= rows(new)
    beside.stop()
    assert writes <= WRITES_AGAIN
    assert reads <= READS_AGAIN


def process(command: str) -> Callable[[Member], object]:
    return lambda member: member.exec("bash", "-c", f"kill -KILL $({command})")


def api_down(member: Member) -> None:
    podman("pause", f"{NAME}-kube-apiserver")
    time.sleep(45)
    podman("unpause", f"{NAME}-kube-apiserver")


LESSER = {
    "Patroni killed": (process("s6-svstat -o pid /run/s6/postgres"), 3.0),
    "PostgreSQL killed": (process('head -n 1 "$PGDATA/postmaster.pid"'), WRITES_AGAIN),
    "API server away for 45 s": (api_down, 3.0),
    "switchover": (lambda one: one.exec("patronictl", CONFIG, "switchover", "--leader", one.name, "--force"), 10.0),
    "primary stopped": (lambda one: (podman("stop", "--time=60", one.container), podman("start", one.container)), 10.0),
}  # fmt: skip
MOVES = ("switchover", "primary stopped")
"""After which another member is the primary."""


@pytest.mark.parametrize("kind", LESSER)
def test_lesser_faults_and_planned_changes(made: Lab, clients: Clients, kind: str) -> None:
    fault, promised = LESSER[kind]
    old, begun = made.await_leader(), time.time()
    fault(old)
    until_true(lambda: clients.writer.done_after(time.time() - 1), 60, "rows are written again")
    time.sleep(SETTLED)
    leader = made.await_quorum()
    time.sleep(SETTLED)
    writes = clients.writer.pause_after(begun)
    record(f"{kind}: writes", writes, promised, f"{len(clients.writer.failures(begun))} failed attempts")

    assert clients.missing(leader) == set()
    assert (leader != old) == (kind in MOVES)
    assert writes <= promised


def test_certificates_and_passwords_change_without_an_interruption(made: Lab, clients: Clients) -> None:
    leader = made.await_leader()
    connected = "SELECT application_name, backend_start FROM pg_stat_replication ORDER BY 1"
    before, served = leader.psql(connected), {port: serial(leader, port) for port in (5432, 8008)}
    begun = time.time()
    made.certify()
    leader.psql("ALTER ROLE postgres PASSWORD 'another'")
    for member in MEMBERS:
        member.exec("reload")
    until_true(lambda: all(serial(leader, port) != old for port, old in served.items()), 30, "the new certificate is served")
    time.sleep(SETTLED)

    assert leader.psql(connected) == before
    assert clients.writer.failures(begun) == clients.reader.failures(begun) == []
    assert (
        leader.psql("SELECT count(*) FROM pg_authid WHERE rolname IN ('replicator', 'rewind') AND rolpassword IS NULL") == "2"
    )
    # A replica that connects anew is let in by its new certificate.
    replica = next(member for member in MEMBERS if member != leader)
    replica.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_wal_receiver")
    until_true(lambda: streaming(leader) == ["streaming quorum"] * 2, 30, "the replica is connected again")
    assert made.await_leader() == leader


def serial(member: Member, port: int) -> str:
    start = "-starttls postgres" if port == 5432 else ""
    command = f"openssl s_client -connect localhost:{port} {start} </dev/null 2>/dev/null | openssl x509 -noout -serial"
    return str(member.exec("bash", "-c", command, ok=None).stdout)


def test_patroni_costs_little(made: Lab) -> None:
    leader = made.await_quorum()
    time.sleep(SETTLED)
    before = {member: cpu(member) for member in MEMBERS}
    time.sleep(30)
    for member in MEMBERS:
        seconds = cpu(member) - before[member]
        memory = member.exec("bash", "-c", "grep ^Pss: /proc/$(s6-svstat -o pid /run/s6/postgres)/smaps_rollup").stdout.split()[
            1
        ]
        role = "primary" if member == leader else "replica"
        measured.append(
            Recovery(f"Patroni of a {role}: CPU seconds in 30 s", seconds, note=f"{int(memory) // 1024} MB of memory")
        )
        assert int(memory) < 100 * 1024


def test_a_folder_of_one_host_moves_in_and_out(made: Lab) -> None:
    for member in MEMBERS:
        podman("rm", "--force", "--time=30", member.container)
        podman("volume", "rm", member.container)
    made.kubectl("delete", "configmaps", f"--namespace={NAMESPACE}", "--selector=cluster-name=postgres")
    first, second, _ = MEMBERS
    about = (
        "SELECT system_identifier, datcollate, datcollversion, (SELECT count(*) FROM kept) "
        "FROM pg_control_system(), pg_database WHERE datname = 'app'"
    )

    made.start(first, alone=True)
    until_true(lambda: first.exec("healthy", ok=None).returncode == 0, 60, "PostgreSQL alone is healthy")
    first.psql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS id", "app")
    # As the synchronous receiver of one host leaves it.
    first.psql("ALTER SYSTEM SET synchronous_standby_names = 'receiver'")
    alone = first.psql(about, "app")
    podman("stop", "--time=60", first.container)
    for member in MEMBERS:
        made.start(member)
    leader = made.await_quorum(120)
    assert leader == first
    assert leader.psql(about, "app") == alone
    assert leader.psql("SHOW max_connections") == "190"
    leader.psql("INSERT INTO kept SELECT generate_series(1001, 2000)", "app")
    together = leader.psql(about, "app")

    for member in reversed(MEMBERS):
        podman("stop", "--time=60", member.container)
    made.start(first, alone=True)
    until_true(lambda: first.exec("healthy", ok=None).returncode == 0, 60, "PostgreSQL is alone again")
    assert first.psql(about, "app") == together
    first.psql("INSERT INTO kept VALUES (0)", "app")
    made.start(second, alone=True)
    until_true(lambda: "replica's data" in podman("logs", second.container).stdout, 30, "a replica's folder is refused")
