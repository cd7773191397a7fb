"""The systemd unit."""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

from ops.host.unit import unit, unit_name


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
