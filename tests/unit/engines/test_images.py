"""What a build's last words mean."""

from __future__ import annotations

import pytest

from ops.engines.podman.images import diagnose_build


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
