"""The way from a certificate to a root that is trusted, built by cryptography's verifier."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from contextlib import suppress

from cryptography import x509
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

# As browsers and OpenSSL have it for authorities of one's own: what is not there is not asked for. Signatures, names, path
# lengths and name constraints count in any case.
OF_CA = ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
OF_LEAF = ExtensionPolicy.permit_all().require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)


def path_of(
    leaf: x509.Certificate, others: Sequence[x509.Certificate], roots: Iterable[x509.Certificate], now: dt.datetime
) -> list[x509.Certificate]:  # fmt: skip
    """From the leaf to one of the roots, both included.

    Where no path is valid now, one that was valid when its certificates began, so that `problems` can tell what has expired.
    Raises VerificationError where there is none.
    """
    if not (trusted := list(roots)):
        raise VerificationError("no root is trusted")
    began = {one.not_valid_before_utc for one in (leaf, *others)}
    *earlier, last = (now, *sorted(began, reverse=True))
    for at in earlier:
        with suppress(VerificationError):
            return _verified(leaf, others, trusted, at)
    return _verified(leaf, others, trusted, last)


def _verified(
    leaf: x509.Certificate, others: Sequence[x509.Certificate], roots: list[x509.Certificate], at: dt.datetime
) -> list[x509.Certificate]:
    policies = PolicyBuilder().store(Store(roots)).time(at).extension_policies(ca_policy=OF_CA, ee_policy=OF_LEAF)
    # Of a client, since that asks for no name; names and purpose are compared apart, to be told in words.
    return policies.build_client_verifier().verify(leaf, list(others)).chain
