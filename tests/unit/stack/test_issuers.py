"""Issuers in stack.yaml: what may be said of them, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from ops.core.errors import UsageProblem
from ops.stack.issuers import Issuer
from ops.stack.settings import Settings
from tests.unit.builders import settings

CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
OWN = {"name": "own", "directory": "https://ca.example.com:9000/acme/directory", "ca": CA}
EAB = {"key_id": "kid-1", "key_file": "/root/zerossl.key"}


def said(*entries: Any, **more: str) -> Settings:
    return settings(yaml.safe_dump({"certificates": {"acme": {"issuers": list(entries), **more}}}))


def issuers(*entries: Any) -> tuple[Issuer, ...]:
    return said(*entries).issuers


def test_there_are_none_until_somebody_names_one() -> None:
    assert settings("").issuers == ()
    assert settings("").certificates.acme.challenge == "http-01"


def test_known_ones_need_no_more_than_their_name_and_stay_in_order() -> None:
    first, second, third = issuers("letsencrypt", {"name": "zerossl", "eab": EAB}, OWN)

    assert first.directory.startswith("https://acme-v02.") and first.staging.startswith("https://acme-staging-v02.")
    assert (second.name, second.eab, second.staging) == ("zerossl", EAB, "")
    assert third == Issuer("own", OWN["directory"], "", {}, CA)


def test_rehearsal_is_an_issuer_with_an_account_of_its_own() -> None:
    (one,) = issuers("letsencrypt")
    assert (one.rehearsal().name, one.rehearsal().directory) == ("letsencrypt-staging", one.staging)


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        (["letsencrypt", "letsencrypt"], "names that differ"),
        (["unknown"], "directory: a URL"),
        ([{"name": "own", "directory": "http://ca.example.com/"}], "a URL such as"),
        ([{"name": "a-staging", "directory": "https://a.example.com/"}], "not ending in -staging"),
        ([{"name": "letsencrypt", "eab": {"key_id": "x"}}], "key_id, key_file must be there"),
        ([{"name": "letsencrypt", "eab": {"key_id": "x", "key_file": "here"}}], "an absolute path"),
        ([{"name": "letsencrypt", "hmac": "x"}], "known: ca, directory, eab, name, staging"),
        ([{**OWN, "ca": "MIIB"}], "in PEM form"),
        ([7], "found 7"),
    ],
)
def test_what_cannot_be_meant_is_refused(entries: list[Any], why: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        said(*entries)
    assert why in caught.value.why


def test_record_in_the_dns_needs_somebody_who_sets_it() -> None:
    with pytest.raises(UsageProblem, match="there is no hook"):
        said("letsencrypt", challenge="dns-01")
    assert said("letsencrypt", challenge="dns-01", hook="/usr/local/sbin/dns").certificates.acme.hook
