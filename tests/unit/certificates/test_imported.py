"""Certificates from elsewhere: read from the operator's files, and judged as clients will judge them."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.certificates import imported, pki
from ops.core.errors import OpsError, UsageProblem


@pytest.fixture
def foreign(tmp_path: Path) -> Callable[..., tuple[Path, Path, Path]]:
    """Writes a certificate of another authority, as an operator has it: certificate, key, chain with its root."""
    now = dt.datetime.now(dt.UTC)
    root = pki.make_root("elsewhere", now)
    signer = pki.make_intermediate(root, "elsewhere", now)

    def write(
        names: tuple[str, ...] = ("shop.example.com",), at: dt.datetime = now, mode: int = 0o600
    ) -> tuple[Path, Path, Path]:
        leaf = pki.issue(signer, "shop", names, at)
        paths = (tmp_path / "shop.pem", tmp_path / "shop.key", tmp_path / "chain.pem")
        for path, text in zip(paths, (leaf.certificate, leaf.key, signer.certificate + root.certificate), strict=True):
            path.write_bytes(text)
            os.utime(path, (time.time() - 60, time.time() - 60))
        paths[1].chmod(mode)
        return paths

    return write


Foreign = Callable[..., tuple[Path, Path, Path]]


def test_good_one_from_elsewhere_is_taken_with_what_signed_it_and_without_the_root(foreign: Foreign) -> None:
    given = imported.read(*foreign())

    (root,) = imported.must_be_good(given, ["shop.example.com"])
    assert pki.common_name(root.subject) == "elsewhere root CA"
    sent = pki.certificates_in(given.served())
    assert [pki.common_name(one.subject) for one in sent] == ["shop", "elsewhere intermediate CA"]


def refused(paths: tuple[Path, Path, Path | None], names: tuple[str, ...] = ("shop.example.com",)) -> str:
    with pytest.raises(OpsError) as problem:
        imported.must_be_good(imported.read(*paths), names)
    return f"{problem.value.what}: {problem.value.why}"


def test_what_clients_would_refuse_is_refused(foreign: Foreign) -> None:
    certificate, key, chain = foreign()
    assert "not for other.example.com" in refused((certificate, key, chain), ("other.example.com",))
    assert "chain is not complete" in refused((certificate, key, None))
    key.write_bytes(pki.make_root("x", dt.datetime.now(dt.UTC)).key)
    os.utime(key, (0, 0))
    assert "not that of the certificate" in refused((certificate, key, chain))
    long_ago = dt.datetime.now(dt.UTC) - dt.timedelta(days=40)
    assert "has expired" in refused(foreign(at=long_ago))
    assert "not valid before" in refused(foreign(at=dt.datetime.now(dt.UTC) + dt.timedelta(days=2)))
    assert "mode is 0644" in refused(foreign(mode=0o644))


def test_file_that_is_cut_short_or_still_written_or_missing_is_refused(
    foreign: Foreign, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key, chain = foreign()
    whole = certificate.read_bytes()
    certificate.write_bytes(whole[:-40])
    os.utime(certificate, (0, 0))
    assert "in the middle" in refused((certificate, key, chain))

    certificate, key, chain = foreign()
    monkeypatch.setattr(imported, "QUIET_SECONDS", 0.01)
    monkeypatch.setattr(time, "sleep", lambda _: chain.write_bytes(b""))
    os.utime(chain)
    monkeypatch.setattr(time, "time", lambda: chain.stat().st_mtime)
    assert "still being written" in refused((certificate, key, chain))
    with pytest.raises(UsageProblem, match="there is no file"):
        imported.read(certificate.with_name("none"), key, None)
