"""The operator's commands tell the truth, in words for people and in data for programs."""

from __future__ import annotations

import json

import pytest

from tests.smoke.live import Live

ROW = {
    "service": str, "replica": str, "state": str, "health": str, "restarts": int, "image": str,
    "memory_bytes": int | None, "memory_limit_bytes": int, "cpu_percent": float | int | None, "reason": str, "since": str,
}  # fmt: skip


def test_status_for_programs_is_complete_and_true(live: Live) -> None:
    answer = live.inv("status", "--json")
    assert answer.returncode == 0, answer.stderr
    rows = json.loads(answer.stdout)

    assert [row["replica"] for row in rows] == list(live.project.stack.slots())
    for row in rows:
        assert {name: isinstance(row.get(name), kind) for name, kind in ROW.items()} == dict.fromkeys(ROW, True), row
        if row["replica"] in live.containers:
            seen = live.container(row["replica"])
            assert (row["state"], row["health"], row["reason"]) == ("running", "healthy", "")
            assert row["image"] == seen["ImageName"]
            assert 0 < row["memory_bytes"] < row["memory_limit_bytes"]
        else:
            assert (row["service"], row["health"]) == ("grafana", "absent")
            assert row["reason"]


def test_status_for_people_names_every_container(live: Live) -> None:
    answer = live.inv("status")

    assert answer.returncode == 0
    assert f"{len(live.containers)} of {len(live.containers)} containers healthy" in answer.stdout
    assert "health supervisor running" in answer.stdout
    healthy = {line.split()[0] for line in answer.stdout.splitlines() if line.split()[1:2] == ["healthy"]}
    assert healthy == set(live.containers)


def test_deployed_is_what_the_checkout_says(live: Live) -> None:
    answer = live.inv("deploy", "--plan")

    assert answer.returncode == 0, answer.stderr
    assert "nothing to do" in answer.stdout.lower()


def test_addresses_for_programs(live: Live) -> None:
    urls = json.loads(live.inv("open", "--json").stdout)

    assert (urls["site"], urls["operator's pages"]) == (f"{live.site.base}/", f"{live.ops.base}/")
    assert live.secret("operator-password") not in json.dumps(urls)


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        (("restart", "postgers"), 'did you mean "postgres"?'),
        (("deploy", "--service", "nothing-alike", "--plan"), "known: "),
        (("logs", "redsi"), 'did you mean "redis"?'),
    ],
)
def test_unknown_service_is_a_mistake_of_usage(live: Live, command: tuple[str, ...], hint: str) -> None:
    answer = live.inv(*command)

    assert answer.returncode == 2
    assert hint in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stdout + answer.stderr
