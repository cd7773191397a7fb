"""nginx is replaced while new connections arrive all the time, and none is refused; who holds its address may die meanwhile."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from ops.core.machine import REPOSITORY
from ops.core.process import run
from ops.core.records import entries
from tests.drill.conftest import Record
from tests.drill.flood import failed, flood
from tests.drill.stack import Drill, inv, kill
from tests.drill.test_bad_input import LEFT_OUT
from tests.smoke.live import Live, eventually

FRESH, KEPT = 320, 200
"""Requests a second. The promise is made for 300 new connections; a busy machine may begin a few of them late."""
LEAST_FRESH = 300
SWAPS = 5
HEALED_WITHIN = 15.0
LONG = 120.0

Swap = Callable[[], float]


@pytest.fixture
def unprobed(tmp_path: Path) -> Mapping[str, str]:
    """Environment of a command without the prober: the flood measures instead. The prober also holds a WebSocket, which an
    nginx that is replaced cuts when its grace is over; that is not what is tried here."""
    path = tmp_path / "stack.yaml"
    path.write_text((REPOSITORY / "config" / "stack.yaml").read_text() + "\nprober: {rate: 0}\n")
    return {"CC03_STACK": str(path)}


@pytest.fixture
def checkout(stack: Drill, tmp_path: Path, unprobed: Mapping[str, str]) -> Iterator[Path]:
    """A copy of the checkout, to deploy something else from. The stack goes back to this checkout's afterwards."""
    root = tmp_path / "checkout"
    shutil.copytree(REPOSITORY, root, ignore=LEFT_OUT, symlinks=True)
    yield root
    stack.deploy(env=unprobed)


@pytest.fixture
def swap(stack: Drill, checkout: Path, unprobed: Mapping[str, str]) -> Swap:
    """Deploys an nginx of another image. Returns the seconds from the order to create the extra one until it has gone."""
    number = 0

    def once() -> float:
        nonlocal number
        number += 1
        (checkout / "compose" / "nginx" / "www" / "variant.txt").write_text(f"{time.time()} {number}\n")
        before, seen = stack.containers(), len(list(entries(stack.project.state.journal)))
        stack.deploy(root=checkout, env=unprobed)
        after = stack.containers()
        assert after["nginx"]["Image"] != before["nginx"]["Image"]
        assert (after["edge"]["Id"], "nginx-surge" in after) == (before["edge"]["Id"], False)
        # The steps of a swap follow each other.
        done = [one for one in list(entries(stack.project.state.journal))[seen:] if one["event"] == "done"]
        return sum(float(one["seconds"]) for one in done if str(one["step"]).split()[-1] in ("nginx", "nginx-surge"))

    return once


def test_no_new_connection_fails_while_nginx_is_replaced(stack: Drill, live: Live, record: Record, swap: Swap) -> None:
    with flood(live.ports["https"], live.ca, "fresh", FRESH) as users:
        took = [swap() for _ in range(SWAPS)]

    told = f"{users['requests']} new TLS connections, {users['per_second']}/s, {failed(users)} failed, p99 {users['p99']} ms"
    record("nginx replaced", sum(took) / SWAPS, note=told)
    assert users["failures"] == {}, users
    assert users["answered"] == users["requests"]
    assert users["per_second"] >= LEAST_FRESH, users


def test_kept_connections_are_closed_only_while_idle(stack: Drill, live: Live, record: Record, swap: Swap) -> None:
    with flood(live.ports["https"], live.ca, "kept", KEPT) as users:
        took = [swap() for _ in range(SWAPS)]

    told = (
        f"{users['requests']} requests on kept connections, {failed(users)} failed, "
        f"{users['closed_while_idle']} met a connection just being closed and were sent again, p99 {users['p99']} ms"
    )
    record("nginx replaced, connections kept", sum(took) / SWAPS, note=told)
    assert users["failures"] == {}, users
    # At most one for each connection that each of the two nginx of a swap closes.
    assert users["closed_while_idle"] < users["requests"] / 100


def test_nginx_that_does_not_start_costs_no_connection_and_goes_again(
    stack: Drill, live: Live, record: Record, checkout: Path
) -> None:
    before = stack.containers()
    start = checkout / "compose" / "nginx" / "entrypoint.sh"
    # Only when it serves: its configuration is validated with arguments, before.
    start.write_text(start.read_text().replace("write_peers\n((", "write_peers\n(($#)) || exit 3\n(("))
    began = time.monotonic()
    with flood(live.ports["https"], live.ca, "fresh", 50) as users:
        answer = inv("deploy", "--yes", root=checkout)

    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert "nginx-surge did not stay up" in answer.stderr
    record(
        "nginx that does not start", time.monotonic() - began, note=f"{users['requests']} connections, {failed(users)} failed"
    )
    assert users["failures"] == {}
    assert {slot: one["Id"] for slot, one in stack.containers().items()} == {slot: one["Id"] for slot, one in before.items()}


def test_configuration_that_only_a_running_nginx_refuses_fails_the_deploy(stack: Drill, checkout: Path, record: Record) -> None:
    """`nginx -t` knows nothing of the shared memory of the nginx that runs, and `nginx -s reload` succeeds whatever it does."""
    limits = checkout / "config" / "nginx" / "limits.conf"
    text = limits.read_text()
    limits.write_text(text.replace("$login_key zone=forms:4m;", "$token_key zone=forms:4m;"))
    before = stack.containers()["nginx"]["Id"]
    began = time.monotonic()
    answer = inv("deploy", "--yes", root=checkout)
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert "give the zone a new name" in answer.stderr
    record("nginx that refuses its new configuration", time.monotonic() - began)
    assert "nothing to do" in inv("deploy", "--plan").stdout

    limits.write_text(text.replace("$login_key zone=forms:4m;", "$token_key zone=logins:4m;"))
    public = checkout / "config" / "nginx" / "public.conf"
    public.write_text(public.read_text().replace("limit_conn forms 5;", "limit_conn logins 5;"))
    stack.deploy(root=checkout)
    assert stack.containers()["nginx"]["Id"] == before, "a new name needs no new container"


def network(stack: Drill, slot: str) -> Path:
    return Path(f"/proc/{stack.pid(slot)}/ns/net").readlink()


def test_nginx_serves_on_while_the_holder_of_its_address_dies(stack: Drill, live: Live, record: Record) -> None:
    before, serving = network(stack, "edge"), stack.pid("nginx")
    with flood(live.ports["https"], live.ca, "fresh", 50) as users:
        for _ in range(3):
            dead = stack.pid("edge")
            kill(dead)
            eventually(lambda dead=dead: "" if stack.pid("edge") not in (0, dead) else "edge is down", HEALED_WITHIN)  # type: ignore[misc]

    record("kill -9 edge, three times", 0.0, 0.0, f"{users['requests']} new connections, {failed(users)} failed")
    assert users["failures"] == {}
    assert (network(stack, "edge"), stack.pid("nginx")) == (before, serving), "Podman keeps the network of one that is killed"
    stack.await_healthy("edge", "nginx")


def test_nginx_follows_a_holder_that_was_restarted_into_its_new_network(stack: Drill, record: Record) -> None:
    before = network(stack, "edge")
    began = time.monotonic()
    run(("podman", "restart", stack.containers()["edge"]["Name"]), timeout=60, env=stack.project.host.environment)
    assert network(stack, "edge") != before

    stack.await_healthy("edge", "nginx", patience=LONG)
    record("podman restart edge", time.monotonic() - began, HEALED_WITHIN)
    assert network(stack, "nginx") == network(stack, "edge")


def test_both_come_back_after_the_holder_was_stopped_by_hand(stack: Drill, record: Record) -> None:
    began = time.monotonic()
    run(("podman", "stop", stack.containers()["edge"]["Name"]), timeout=60, env=stack.project.host.environment)

    stack.await_healthy("edge", "nginx", patience=LONG)
    record("podman stop edge", time.monotonic() - began, note="noticed and started by the health ticker")
    assert network(stack, "nginx") == network(stack, "edge")
