"""A certificate from elsewhere: served when it is good, refused before anything changes when it is not."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ops.certificates import pki
from ops.core.process import Result
from tests.drill.certs.strict import shown, strict_clients
from tests.drill.conftest import Record
from tests.drill.stack import Drill, inv

PUBLIC = "public at nginx:8443"
LONG_AGO = time.time() - 60


@dataclass(frozen=True)
class Files:
    """What an operator has from another authority. `chain` None: not given."""

    certificate: Path
    key: Path
    chain: Path | None

    def bring(self, *more: str) -> Result:
        chain = ("--chain", str(self.chain)) if self.chain else ()
        return inv("certs.import", str(self.certificate), str(self.key), *chain, "--yes", *more)


@pytest.fixture
def elsewhere(tmp_path: Path, drill: Drill) -> Callable[..., Files]:
    now = dt.datetime.now(dt.UTC)
    root = pki.make_root("elsewhere", now)
    signer = pki.make_intermediate(root, "elsewhere", now)

    def make(name: str = "", at: dt.datetime = now) -> Files:
        leaf = pki.issue(signer, "shop", [name or drill.project.settings.domain], at)
        files = Files(tmp_path / "shop.pem", tmp_path / "shop.key", tmp_path / "chain.pem")
        texts = {"shop.pem": leaf.certificate, "shop.key": leaf.key, "chain.pem": signer.certificate + root.certificate}
        for file, text in texts.items():
            path = tmp_path / file
            path.write_bytes(text)
            path.chmod(0o600)
            os.utime(path, (LONG_AGO, LONG_AGO))
        return files

    return make


@pytest.fixture
def own_again(stack: Drill) -> Iterator[None]:
    yield
    answer = inv("certs.import", "--remove", "--yes")
    assert answer.returncode == 0, answer.stdout + answer.stderr


def wrong_key(files: Files) -> Files:
    files.key.write_bytes(pki.make_root("another", dt.datetime.now(dt.UTC)).key)
    return files


def no_chain(files: Files) -> Files:
    return replace(files, chain=None)


def bad_mode(files: Files) -> Files:
    files.key.chmod(0o644)
    return files


def half_written(files: Files) -> Files:
    files.certificate.write_bytes(files.certificate.read_bytes()[:-40])
    return files


BAD: dict[str, tuple[Callable[[Files], Files], str]] = {
    "wrong key": (wrong_key, "the key is not that of the certificate"),
    "missing intermediate": (no_chain, "the chain is not complete"),
    "bad mode": (bad_mode, "can be read by others"),
    "half written": (half_written, "in the middle of a certificate"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_one_is_refused_and_the_old_one_still_served(
    stack: Drill, untouched: Drill, elsewhere: Callable[..., Files], case: str
) -> None:
    spoil, said = BAD[case]
    before = shown(stack)
    answer = spoil(elsewhere()).bring()
    assert answer.returncode == 1 and said in answer.stderr, answer.stdout + answer.stderr
    assert shown(stack) == before


@pytest.mark.parametrize(("days", "said"), [(-40, "has expired"), (2, "is not valid before")], ids=["expired", "not yet valid"])
def test_one_outside_of_its_life_is_refused(
    stack: Drill, untouched: Drill, elsewhere: Callable[..., Files], days: int, said: str
) -> None:
    before = shown(stack)
    answer = elsewhere(at=dt.datetime.now(dt.UTC) + dt.timedelta(days=days)).bring()
    assert answer.returncode == 1 and said in answer.stderr, answer.stdout + answer.stderr
    assert shown(stack) == before


def test_one_for_another_name_is_refused(stack: Drill, untouched: Drill, elsewhere: Callable[..., Files]) -> None:
    answer = elsewhere("another.example.com").bring()
    assert answer.returncode == 1 and "it is not for" in answer.stderr, answer.stdout + answer.stderr


def test_good_one_is_served_under_the_public_name_alone_and_goes_again(
    stack: Drill, own_again: None, elsewhere: Callable[..., Files], record: Record
) -> None:
    before = shown(stack)
    files = elsewhere()
    with strict_clients(stack) as met:
        began = time.monotonic()
        answer = files.bring()
        took = time.monotonic() - began
        assert answer.returncode == 0, answer.stdout + answer.stderr
        time.sleep(2)
    record("certs.import", took, note=f"{met.made} handshakes, {met.refused.total()} failed")

    now = shown(stack)
    assert {at for at in now if now[at] != before[at]} == {PUBLIC}
    assert not met.refused
    assert inv("certs").returncode == 0
    # It is not replaced by a deploy or a rotation, and everything that asks the site trusts it.
    assert inv("certs.rotate", "--yes").returncode == 0
    assert shown(stack)[PUBLIC] == now[PUBLIC]
    stack.assert_as_wanted()
    assert files.bring().returncode == 0, "a second time there is nothing to do"
