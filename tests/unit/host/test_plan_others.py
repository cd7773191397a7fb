"""Smaller plans: what a build's last words mean, the systemd unit, queries of the logs."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

import pytest

from ops.engines.podman.images import diagnose_build
from ops.host.unit import unit, unit_name


@pytest.mark.parametrize(
    ("log", "why"),
    [
        ("Err:1 Temporary failure resolving 'deb.example'", "names do not resolve"),
        ("npm error code EAI_AGAIN", "names do not resolve"),
        ("dial tcp 10.0.0.1:443: i/o timeout", "no connection"),
        ("write /layer: no space left on device", "the disk is full"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE", "pinned checksum"),
        ("sha256sum: WARNING: 1 computed checksum did NOT match", "pinned checksum"),
        ("verifying module: checksum mismatch", "pinned checksum"),
        ("SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed", "does not trust"),
    ],
)
def test_build_failure_is_explained_with_what_to_do_and_where_to_read(log: str, why: str) -> None:
    found, next_step = diagnose_build(log, "/state/builds/nginx.log")

    assert why in found
    assert "/state/builds/nginx.log" in next_step


def test_unknown_build_failure_shows_its_last_two_lines() -> None:
    assert diagnose_build("one\n\n two \nthree\n\n", "log")[0] == "two / three"
    assert diagnose_build("", "log")[0] == "it printed nothing"


def test_build_trouble_that_was_overcome_long_ago_is_no_cause() -> None:
    log = "Temporary failure resolving 'a'\n" + "fine\n" * 100 + "compile error\n"

    assert diagnose_build(log, "log")[0] == "fine / compile error"


def test_unit_quotes_paths_as_systemd_reads_them() -> None:
    lines = unit("cc03", Path('/srv/my "stack" 50%/$HOME'), {"CONTAINERS_CONF": "/srv/a b.conf"}).splitlines()

    assert 'Environment="CONTAINERS_CONF=/srv/a b.conf"' in lines
    assert r'RequiresMountsFor="/srv/my \"stack\" 50%%/$HOME" /var/lib/containers' in lines
    assert r'ExecStart=/usr/bin/python3 -P -m ops.supervisor "/srv/my \"stack\" 50%%/$$HOME" --boot' in lines


def test_unit_is_one_that_systemd_can_read_and_needs_no_checkout() -> None:
    parsed = ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    text = unit("cc03-test", Path("/var/lib/cc03/cc03-test"), {"CONTAINERS_CONF": "/c.conf"})
    parsed.read_string(text)

    assert unit_name("cc03-test") == "cc03-cc03-test.service"
    assert set(parsed.sections()) == {"Unit", "Service", "Install"}
    assert 'Environment="CONTAINERS_CONF=/c.conf"' in text.splitlines()
    assert 'Environment="PYTHONPATH=/var/lib/cc03/cc03-test/ticker/code"' in text.splitlines()
    assert parsed["Service"]["ExecStart"].endswith('-m ops.supervisor "/var/lib/cc03/cc03-test" --boot')
    assert parsed["Service"]["KillMode"] == "process", "containers must survive the ticker"
