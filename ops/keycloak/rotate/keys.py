"""Rotation of a realm's signing keys: which sign, which only verify and until when, and what is to be done next. Pure.

The state of a rotation stands in the names of Keycloak's key providers: `rsa-generated RS256 20260102T030405Z` was made by the
rotation of that moment, and `… until 20260102T130405Z` says that nothing it has signed is valid any longer after that.
"""

from __future__ import annotations

import calendar
import math
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ops.core.plan import STAMP, Plan, Step
from ops.keycloak.rotate.steps import CreateKey, RemoveKey, RetireKey, VerifyKeys

VERB = "keycloak.rotate"
ALGORITHMS = {
    "rsa-generated": "RS256", "ecdsa-generated": "ES256", "eddsa-generated": "EdDSA", "hmac-generated": "HS512",
    "rsa": "RS256", "java-keystore": "RS256",
}  # fmt: skip
"""Kind of key provider -> the algorithm that it signs with where it names none. What encrypts (rsa-enc-generated, rsa-enc,
aes-generated, ecdh-generated) signs nothing."""
CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}
PUBLIC = frozenset({"rsa-generated", "ecdsa-generated", "eddsa-generated"})
"""Kinds whose signatures others check: access and ID tokens."""
IMPORTED = frozenset({"rsa", "java-keystore"})
"""Kinds whose keys somebody has made elsewhere: only he can make others."""
INTERNAL = frozenset({"hmac-generated"})
"""Kinds whose signatures Keycloak alone checks: refresh tokens and cookies. The cookie of a login page that is open just then
is checked with the present key only, so whoever has one open types the password again (seen with 26.7; sessions, codes and
refresh tokens are checked with the key that signed them)."""
_MADE = re.compile(r"(?<!until )\b(\d{8}T\d{6}Z)\b")
_UNTIL = re.compile(r" until (\d{8}T\d{6}Z)$")
LIFESPANS = (
    "accessTokenLifespan", "accessTokenLifespanForImplicitFlow", "ssoSessionMaxLifespan", "ssoSessionMaxLifespanRememberMe",
    "clientSessionMaxLifespan", "accessCodeLifespanLogin", "actionTokenGeneratedByAdminLifespan",
    "actionTokenGeneratedByUserLifespan",
)  # fmt: skip
"""Settings of a realm that bound for how long something signed stays valid, in seconds."""
OWN_LIFESPANS = ("access.token.lifespan", "client.session.max.lifespan", "saml.assertion.lifespan")
"""Attributes of a client that take the place of the realm's."""
MARGIN = 60
"""Seconds for clocks that differ."""


@dataclass(frozen=True)
class Provider:
    """One key of the realm."""

    identity: str
    kind: str
    algorithm: str
    name: str
    priority: int
    enabled: bool = True
    active: bool = True

    @property
    def signs(self) -> bool:
        return self.enabled and self.active

    @property
    def made(self) -> str:
        """Stamp of the rotation that made it; empty: none did."""
        found = _MADE.search(self.name)
        return found[1] if found else ""

    @property
    def until(self) -> float | None:
        """When it can go, in seconds since 1970; None where it was not retired by a rotation."""
        found = _UNTIL.search(self.name)
        return parse(found[1]) if found else None


def stamp(at: float) -> str:
    return time.strftime(STAMP, time.gmtime(at))


def parse(text: str) -> float:
    """Seconds since 1970 of a stamp."""
    return float(calendar.timegm(time.strptime(text, STAMP)))


def providers(components: Iterable[Mapping[str, Any]]) -> tuple[Provider, ...]:
    """Those that sign, or did, among the key providers that the admin API lists."""
    found = []
    for one in components:
        config = {key: values[0] for key, values in (one.get("config") or {}).items() if values}
        if one["providerId"] in ALGORITHMS and config.get("keyUse", "SIG").upper() != "ENC":
            curve = CURVES.get(config.get("ecdsaEllipticCurveKey", ""))
            found.append(Provider(
                one["id"], one["providerId"], config.get("algorithm") or curve or ALGORITHMS[one["providerId"]], one["name"],
                int(config.get("priority", 0)), config.get("enabled", "true") == "true",
                config.get("active", "true") == "true",
            ))  # fmt: skip
    return tuple(found)


def valid_until(
    realm: Mapping[str, Any], now: float, *, offline: bool, clients: Iterable[Mapping[str, Any]] = ()
) -> float:  # fmt: skip
    """When the last thing that a key has signed by now expires, in seconds since 1970.

    realm: its settings. offline: whether there are offline sessions now; their tokens are renewed, with the new key, at
    least once in the time after which an idle one ends. clients: each may have lifespans of its own.
    """
    names, own = [*LIFESPANS], [*OWN_LIFESPANS]
    if offline:
        names.append("offlineSessionIdleTimeout")
        own.append("client.offline.session.idle.timeout")
    spans = [int(realm.get(name) or 0) for name in names]
    for client in clients:
        spans += [int((client.get("attributes") or {}).get(name) or 0) for name in own]
    return math.ceil(now) + max(spans) + MARGIN


def not_rotated(found: Iterable[Provider]) -> tuple[Provider, ...]:
    """Keys that sign and that were made elsewhere."""
    return tuple(one for one in found if one.signs and one.kind in IMPORTED)


def _groups(found: Iterable[Provider]) -> dict[tuple[str, str], list[Provider]]:
    groups: dict[tuple[str, str], list[Provider]] = {}
    for one in found:
        groups.setdefault((one.kind, one.algorithm), []).append(one)
    return {group: members for group, members in groups.items() if any(member.signs for member in members)}


def unfinished(found: Iterable[Provider]) -> str:
    """Stamp of a rotation that was broken off; empty where there is none. As long as one is under way, two keys of a kind sign:
    all new ones are created before the first old one is retired."""
    signers = [[one.made for one in members if one.signs] for members in _groups(found).values()]
    return max((made for stamps in signers if len(stamps) > 1 for made in stamps), default="")


def _chosen(found: Iterable[Provider], kinds: frozenset[str]) -> dict[tuple[str, str], list[Provider]]:
    """Keys of these kinds, and of those with which a rotation was interrupted, so that two sign."""
    groups = {group: members for group, members in _groups(found).items() if group[0] not in IMPORTED}
    return {
        group: members for group, members in groups.items() if group[0] in kinds or sum(one.signs for one in members) > 1
    }  # fmt: skip


def plan_keys(found: Iterable[Provider], now: float, rotation: str, until: float, kinds: frozenset[str] = PUBLIC) -> Plan:
    """What is left of a rotation.

    rotation: its stamp; empty: only what has expired is removed. until: when what the old keys have signed has expired.
    kinds: kinds of keys that are replaced.
    """
    found = tuple(found)
    create: list[Step] = []
    old: list[Provider] = []
    names: list[str] = []
    for (kind, algorithm), members in _chosen(found, kinds).items() if rotation else ():
        name = f"{kind} {algorithm} {rotation}"
        signers = sorted((one for one in members if one.signs), key=lambda one: -one.priority)
        names.append(name)
        old += [one for one in signers if one.name != name]
        if all(one.name != name for one in signers):
            create.append(CreateKey(
                f"create {algorithm}", f"sign with a new {algorithm} key", provider=kind, name=name,
                priority=max(one.priority for one in found) + 1, like=signers[0].identity,
            ))  # fmt: skip
    verify = VerifyKeys("verify keys", "verify that the new keys sign and that all are published", tuple(create),
                        names=tuple(names))  # fmt: skip
    retire = [
        RetireKey(f"retire {one.identity}", f"let the previous {one.algorithm} key verify only, until {local_time(until)}",
                  (verify,), identity=one.identity, name=f"{one.name} until {stamp(until)}")
        for one in old
    ]  # fmt: skip
    expired = [
        RemoveKey(f"remove {one.identity}", f"remove the {one.algorithm} key that was needed until {local_time(one.until)}",
                  identity=one.identity)
        for one in found if not one.signs and one.until is not None and one.until < now
    ]  # fmt: skip
    steps = (*create, *((verify,) if create or retire else ()), *retire, *expired)
    notes: tuple[str, ...] = (f"what the old keys have signed stays valid until {local_time(until)}; no user is logged out",)
    if any(isinstance(step, CreateKey) and step.provider in INTERNAL for step in create):
        notes = (*notes, "users with the login page open at that moment type the password again")
    if left := not_rotated(found):
        names_left = ", ".join(f"{one.name} ({one.kind})" for one in left)
        notes = (*notes, f"not rotated: {names_left}, whose key was made elsewhere: add a new one in the admin console")
    return Plan(VERB, steps, notes if create or retire or left else ())


def plan_back(found: Iterable[Provider], rotation: str, until: float) -> Plan:
    """The previous keys sign again where they still may; what the new ones have signed meanwhile stays valid.

    rotation: stamp of the one that failed; empty: it created no key. until: when what its keys have signed has expired.
    """
    found = tuple(found)
    previous = {(one.kind, one.algorithm) for one in found if one.signs and one.made != rotation}
    return Plan(VERB, tuple(
        RetireKey(f"retire {one.identity}", f"let the new {one.algorithm} key verify only", identity=one.identity,
                  name=f"{one.name} until {stamp(until)}")
        for one in found if rotation and one.signs and one.made == rotation and (one.kind, one.algorithm) in previous
    ))  # fmt: skip


def local_time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
