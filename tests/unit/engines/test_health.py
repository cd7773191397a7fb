"""Why a container is not healthy, from what Podman says of it and what its own check answers."""

from __future__ import annotations

import json
import os
import ssl
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ops.certificates import pki
from ops.core.process import Result
from ops.engines.podman.supervisor.health import (
    LOST,
    NamedConnection,
    Target,
    assess,
    failure_of,
    is_live,
    not_ok,
    probe,
    recover,
    state_of,
    stranded,
)

TARGET = Target("redis", "redis", "cc03-redis", "10.64.2.11", None, "/ca.pem", start_seconds=60, grace=30)


def inspected(status: str, **more: Any) -> dict[str, Any]:
    return {"State": {"Status": status, **more}}


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        (None, "there is no such container"),
        (inspected("exited", ExitCode=3), "it is exited (exit code 3)"),
        (inspected("exited", ExitCode=137, OOMKilled=True), "it is exited (exit code 137, killed for lack of memory)"),
        (inspected("created"), "it is created (exit code ?)"),
    ],
)
def test_container_that_does_not_run_is_not_asked(container: dict[str, Any] | None, reason: str) -> None:
    assert assess(TARGET, container, lambda name: pytest.fail(f"{name} was asked")) == reason


GONE, HERE = 2**22 + 1, os.getpid()
"""A process number beyond the kernel's highest, and one that exists."""


@pytest.mark.parametrize(
    ("container", "state"),
    [
        (inspected("running", Pid=HERE, ConmonPid=HERE), "running"),
        pytest.param(inspected("running", Pid=GONE, ConmonPid=HERE), "running", id="its monitor is about to tell"),
        pytest.param(inspected("running", Pid=GONE, ConmonPid=GONE), LOST, id="nobody will tell"),
        pytest.param(inspected("stopping", Pid=GONE, ConmonPid=GONE), LOST, id="somebody tried to stop what was gone"),
        (inspected("exited", Pid=0, ConmonPid=0), "exited"),
    ],
)
def test_container_that_ended_unseen_is_lost(container: dict[str, Any], state: str) -> None:
    assert state_of(container) == state
    assert assess(TARGET, container, lambda name: "asked") == {
        "running": "asked", LOST: "its process is gone, but Podman lists it as running (a power cut?)"
    }.get(state, "it is exited (exit code ?)")  # fmt: skip


@pytest.mark.parametrize("answer", ["", "its health check fails: LOADING"])
def test_running_container_without_a_probe_is_judged_by_its_own_check(answer: str) -> None:
    asked: list[str] = []

    def check(name: str) -> str:
        asked.append(name)
        return answer

    assert assess(TARGET, inspected("running"), check) == answer
    assert asked == ["cc03-redis"]


HELD = replace(TARGET, holder="cc03-edge")


@pytest.mark.parametrize(
    ("holder", "lost"),
    [
        pytest.param(inspected("running", Pid=HERE), False, id="the same network"),
        pytest.param(inspected("running", Pid=GONE), True, id="its process is gone"),
        pytest.param(inspected("exited", Pid=0), True, id="it does not run"),
        pytest.param(None, True, id="there is none"),
    ],
)
def test_container_that_shares_a_network_is_judged_by_whether_its_holder_has_it(
    holder: dict[str, Any] | None, lost: bool
) -> None:
    container = inspected("running", Pid=HERE, ConmonPid=HERE)

    assert stranded(container, holder) is lost
    answer = assess(HELD, container, lambda name: "asked", holder)
    assert answer == ("it has lost its network: cc03-edge has been stopped or started meanwhile" if lost else "asked")


def test_container_with_a_network_of_its_own_needs_no_holder() -> None:
    assert assess(TARGET, inspected("running", Pid=HERE, ConmonPid=HERE), lambda name: "asked", None) == "asked"


def test_probe_of_a_target_that_declares_none_is_a_defect() -> None:
    with pytest.raises(ValueError, match="redis declares no probe"):
        probe(TARGET, pid=1)


def test_target_survives_the_list_that_the_ticker_reads() -> None:
    needy = replace(TARGET, needs=("postgres", "edge"))

    assert [Target.from_json(json.loads(json.dumps(asdict(one)))) for one in (TARGET, needy)] == [TARGET, needy]


@pytest.mark.parametrize("name", ["Health", "Healthcheck"])
def test_last_output_of_a_failed_check_is_told_in_one_line(name: str) -> None:
    state = {name: {"Log": [{"Output": "old"}, {"Output": "no\n answer\n"}]}}

    assert failure_of({"State": state}) == "no answer"


@pytest.mark.parametrize("state", [{}, {"Health": None}, {"Health": {"Log": None}}, {"Health": {"Log": []}}])
def test_check_that_never_ran_has_no_output(state: dict[str, Any]) -> None:
    assert failure_of({"State": state}) == ""


@pytest.mark.parametrize("status", ["exited", "running"])
def test_container_that_has_no_liveness_probe_or_does_not_run_is_not_live(status: str) -> None:
    """Neither is asked: nobody answers at that address."""
    target = replace(TARGET, live="https://redis:1/live" if status == "exited" else "")

    assert not is_live(target, inspected(status, Pid=HERE, ConmonPid=HERE), lambda *_: True)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"status": "degraded", "checks": {"redis": "down", "postgres": "ok", "realm_keys": "ok"}}', "redis: down"),
        ('{"checks": {"redis": "down", "queue": "full"}}', "queue: full, redis: down"),
        ('{"status": "ok", "checks": {"redis": "ok"}}', ""),
        ('{"status": "UP", "checks": [{"name": "Keycloak database connections", "status": "UP"}]}', ""),
        ('{"database": "ok"}', ""),
        ("[]", ""),
        ("healthy", ""),
        ("", ""),
    ],
)
def test_dependencies_that_a_healthy_service_lacks_are_read_from_its_answer(body: str, said: str) -> None:
    assert not_ok(body) == said


@pytest.mark.parametrize(("shown", "accepted"), [("redis.pem", True), ("none.pem", False), ("", False)])
def test_probe_shows_the_certificate_of_the_service_where_the_server_wants_one(
    tmp_path: Path, shown: str, accepted: bool
) -> None:  # fmt: skip
    now = datetime.now(UTC)
    root = pki.make_root("project", now)
    intermediate = pki.make_intermediate(root, "project", now)
    leaf = pki.issue(intermediate, "redis", ("redis",), now)
    ca, own = tmp_path / "ca.pem", tmp_path / "redis.pem"
    ca.write_bytes(root.certificate)
    own.write_bytes(leaf.key + leaf.certificate + intermediate.certificate)
    wanting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    wanting.load_cert_chain(own)
    wanting.load_verify_locations(ca)
    wanting.verify_mode = ssl.CERT_REQUIRED
    connection = NamedConnection(
        "10.64.2.11", 6379, "redis", str(ca), timeout=1.0, certificate=str(tmp_path / shown) if shown else ""
    )

    assert handshake(connection._context, wanting) is accepted  # type: ignore[attr-defined]


def handshake(client: ssl.SSLContext, server: ssl.SSLContext) -> bool:
    """Whether both agree, without a network. With TLS 1.3 the client ends before the server has seen its certificate."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname="redis")
    far = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (near, far, near, far):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError:
            return False
    return True


@pytest.mark.parametrize("succeeds", [True, False])
def test_program_in_the_container_tells_whether_it_is_live(succeeds: bool) -> None:
    asked: list[tuple[str, str]] = []

    def run(container: str, program: str) -> bool:
        asked.append((container, program))
        return succeeds

    target = replace(TARGET, live="/usr/local/bin/live")

    assert is_live(target, inspected("running", Pid=HERE, ConmonPid=HERE), run) is succeeds
    assert asked == [(TARGET.container, "/usr/local/bin/live")]


def test_paused_container_is_named_as_such() -> None:
    assert assess(TARGET, inspected("paused", Pid=HERE, ConmonPid=HERE), lambda _: "") == "it is paused"


@pytest.mark.parametrize(
    ("status", "did"),
    [
        ("paused", ["container", "unpause"]),
        ("stopping", ["container", "stop"]),
        ("running", ["container"]),
        ("exited", ["container"]),
    ],
)
def test_paused_container_goes_on_before_it_is_started_stopped_or_removed(status: str, did: list[str]) -> None:
    asked: list[str] = []

    def podman(*arguments: str) -> Result:
        asked.append(arguments[0])
        return Result(arguments, 0, json.dumps([inspected(status, Pid=HERE, ConmonPid=HERE)]), "", 0.0)

    assert recover("cc03-redis", podman) is (status in ("paused", "stopping"))
    assert asked == did
