"""Every certificate is served as it is stored, accepted by strict clients, renewed in time, and watched."""

from __future__ import annotations

import datetime as dt
import json
import re

import pytest

from tests.smoke.live import Live, eventually


@pytest.fixture(scope="module")
def declared(live: Live) -> set[tuple[str, str]]:
    """(certificate, where) of everything that runs."""
    of = live.project.stack.services
    own = {
        (name, f"{slot}:{port}")
        for name, service in of.items() for slot in service.slots() if slot in live.containers for port in service.listens
    }  # fmt: skip
    return {*own, ("public", "nginx:8443")}


@pytest.fixture(scope="module")
def told(live: Live) -> dict[str, dict[str, object]]:
    answer = live.inv("certs", "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    content = json.loads(answer.stdout)
    assert content["findings"] == []
    return {one["name"]: one for one in content["certificates"]}


def test_every_listener_shows_what_is_stored(told: dict[str, dict[str, object]], declared: set[tuple[str, str]]) -> None:
    found = {(name, at["at"]): at for name, one in told.items() for at in one["served"]}  # type: ignore[attr-defined]

    assert set(found) == declared
    assert all(at["as_it_should_be"] and at["serial"] == told[name]["serial"] for (name, _), at in found.items())


def test_each_is_read_by_its_service_alone_and_renewed_before_its_end(told: dict[str, dict[str, object]]) -> None:
    for one in told.values():
        assert (one["mode"], one["chain_complete"], one["key"]) == ("0600", True, "EC P-256"), one
        if one["renewal"]:
            renewal, end = (dt.datetime.fromisoformat(str(one[key])) for key in ("renewal", "expires"))
            assert dt.datetime.now(dt.UTC) < renewal < end - dt.timedelta(days=9), one


KNOWN_SECONDS = 90.0
"""The health ticker looks at certificates as it starts, and Prometheus asks for what it has written each 30 s."""


def test_prometheus_knows_the_end_of_each(live: Live, declared: set[tuple[str, str]]) -> None:
    def differing() -> str:
        found = live.query("cc03_certificate_served == 1")
        served = {(one["metric"]["certificate"], one["metric"]["listener"]) for one in found}
        return str(served ^ declared) if served != declared else ""

    # Right after a first deploy they have not been looked at yet, or not been asked for.
    eventually(differing, KNOWN_SECONDS)
    ends = live.query("cc03_certificate_expires_timestamp_seconds - time() > 9 * 86400")
    assert len(ends) == len(declared)
    assert {one["metric"]["authority"] for one in live.query("cc03_authority_expires_timestamp_seconds")} == {
        "root", "intermediate",
    }  # fmt: skip


def test_key_of_the_root_opens_with_its_passphrase_only(live: Live) -> None:
    key = live.project.state.ca / "root.key"
    assert not key.exists() or re.search("ENCRYPTED", key.read_text())
