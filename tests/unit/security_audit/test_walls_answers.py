"""What other programs and bursts of requests answer to an audit, read as facts."""

from __future__ import annotations

import pytest

from ops.security_audit.controls.http import BURSTS
from ops.security_audit.facts import Advisory, BurstSeen, Unread
from ops.security_audit.probe.advisories import read_debsecan, read_npm_audit, read_pip_audit


def test_packages_that_nobody_could_be_asked_about_are_unread() -> None:
    """pip-audit says so in a field and exits with 0."""
    report = {"dependencies": [
        {"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "Dependency not found on PyPI"}
    ]}  # fmt: skip

    assert read_pip_audit(report) == Unread("pip-audit could not ask about 1 of 2 packages (b …)")


def test_answers_of_pip_audit_npm_and_debsecan_are_read() -> None:
    vulnerable = {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
    assert read_pip_audit({"dependencies": [vulnerable]}) == (Advisory("a 1", "PYSEC-1", "2"),)
    assert read_npm_audit({"message": "405 Method Not Allowed"}) == Unread("npm: 405 Method Not Allowed")
    assert read_npm_audit({"vulnerabilities": {"b": {"via": [{"title": "Bad"}, "c"]}}}) == (
        Advisory("b", "Bad"),
        Advisory("b", "c"),
    )
    assert read_debsecan("CVE-2026-1 openssl\nCVE-2026-2 zlib1g (low urgency)\n") == (
        Advisory("openssl", "CVE-2026-1"), Advisory("zlib1g", "CVE-2026-2")
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seen", "proves"),
    [
        (BurstSeen(300, 1.0, False), False),
        (BurstSeen(380, 1.0, False), True),
        (BurstSeen(900, 9.0, False), False),
        (BurstSeen(5, 1.0, True), True),
    ],
)
def test_a_burst_proves_something_when_more_was_asked_than_is_let_through(seen: BurstSeen, proves: bool) -> None:
    assert BURSTS["API"].proves(seen) is proves
