"""Issuers that are away, refuse, or have had enough: nothing is swapped, the one before is served on, the next one is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.drill.acme.conftest import Acme, refused_by_nginx
from tests.drill.acme.front import RETRY_AFTER, before
from tests.drill.acme.servers import Pebble
from tests.drill.backup.servers import free_port
from tests.drill.certs.strict import shown, strict_clients
from tests.drill.conftest import Record
from tests.drill.stack import inv
from tests.drill.test_killed_deploy import break_off

MOMENTS = ("obtain", "swap public", "verify public")


@pytest.fixture
def within() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def third(acme: Acme, within: ExitStack, answers_at: int = 0) -> Pebble:
    made = Pebble(acme.drill, "third", acme.folder / "third", acme.names, answers_at=answers_at)
    within.callback(made.remove)
    made.start()
    return made


def known(acme: Acme, within: ExitStack) -> Pebble:
    """A third issuer that has issued already."""
    made = third(acme, within)
    acme.declare(made.entry())
    acme.certify()
    return made


def away(acme: Acme, within: ExitStack) -> Pebble:
    made = known(acme, within)
    made.remove()
    return made


def silent(acme: Acme, within: ExitStack) -> Pebble:
    made = known(acme, within)
    made.pause()
    within.callback(made.resume)
    return made


def rejecting(acme: Acme, within: ExitStack) -> Pebble:
    """It looks for answers where nobody is: as behind a firewall that lets nobody in."""
    made = third(acme, within, answers_at=free_port())
    acme.declare(acme.first.entry())
    acme.certify()
    acme.declare(made.entry())
    return made


def untrusted(acme: Acme, within: ExitStack) -> Pebble:
    made = third(acme, within)
    acme.declare(made.entry(trusted=False))
    return made


WAYS: dict[str, tuple[Callable[[Acme, ExitStack], Pebble], str]] = {
    "away": (away, "it cannot be reached"),
    "silent": (silent, "it cannot be reached"),
    "rejects the name": (rejecting, "it did not find our answer"),
    "of an untrusted root": (untrusted, "would be refused by clients: the chain is not complete"),
}


@pytest.mark.parametrize("way", WAYS)
def test_issuer_that_fails_changes_nothing_that_is_served(acme: Acme, within: ExitStack, record: Record, way: str) -> None:
    spoil, said = WAYS[way]
    spoil(acme, within)
    served = shown(acme.drill)
    with strict_clients(acme.drill) as met:
        began = time.monotonic()
        answer = acme.ask("--again", "--accept-terms")
        record(f"an issuer {way}: until it is told", time.monotonic() - began)
    assert answer.returncode == 1 and said in answer.stderr, answer.stdout + answer.stderr
    assert not refused_by_nginx(met) and shown(acme.drill) == served
    assert acme.known()["issuers"]["third"]["failures"] == 1
    assert not list(acme.drill.project.state.certs.glob("*/.*.next"))


def test_issuer_that_has_had_enough_is_left_alone_for_as_long_as_it_says(acme: Acme, within: ExitStack) -> None:
    front = within.enter_context(before(acme.first.port, acme.first.folder))
    acme.declare(acme.first.entry(port=front.port))
    served = acme.certify()
    front.limited = True
    answer = acme.ask("--again")
    assert answer.returncode == 1 and "too many certificates already issued (rateLimited)" in answer.stderr, answer.stderr
    barred = acme.known()["issuers"]["first"]["barred"] - time.time()
    assert RETRY_AFTER - 120 < barred <= RETRY_AFTER

    asked = len(front.asked)
    answer = acme.ask("--again")
    assert answer.returncode == 1 and "no issuer may be asked now" in answer.stderr, answer.stdout + answer.stderr
    assert not any(path.startswith("/order") for path in front.asked[asked:])
    assert acme.serial() == served


def test_after_four_refusals_within_an_hour_not_even_a_person_asks_again(acme: Acme, within: ExitStack) -> None:
    made = third(acme, within, answers_at=free_port())
    acme.declare(made.entry())
    for _ in range(4):
        assert "it did not find our answer" in acme.ask("--accept-terms").stderr
    answer = acme.ask()
    assert answer.returncode == 1 and "third is left alone for" in answer.stderr, answer.stdout + answer.stderr
    assert len(acme.known()["issuers"]["third"]["refusals"]) == 4


def test_next_issuer_is_asked_where_the_first_is_away(acme: Acme, within: ExitStack, record: Record) -> None:
    made = third(acme, within)
    acme.declare(made.entry(), acme.second.entry())
    served = acme.certify()
    made.remove()
    began = time.monotonic()
    answer = acme.ask("--again")
    record("certs.acme by the second issuer", time.monotonic() - began)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert acme.serial() != served
    assert {one["issuer"] for one in acme.known()["issued"].values()} == {"third", "second"}
    assert acme.known()["issuers"]["third"]["failures"] == 1
    assert inv("certs").returncode == 0


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_command_is_completed_by_the_next(acme: Acme, tmp_path: Path, moment: str) -> None:
    acme.declare(acme.first.entry())
    served = acme.certify()
    with strict_clients(acme.drill) as met:
        break_off(acme.drill, moment, tmp_path / "log", command=("certs.acme", "--again", "--yes"))
        answer = acme.ask("--again")
        assert answer.returncode == 0, answer.stdout + answer.stderr
    assert not refused_by_nginx(met) and acme.serial() != served
    assert not list(acme.drill.project.state.certs.glob("*/.*.previous"))
    assert inv("certs").returncode == 0
