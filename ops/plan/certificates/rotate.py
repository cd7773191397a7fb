"""What it takes to put other certificates in place, or to get to another root. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ops.certificate_steps import (
    DropOldRoot,
    MakeNextAuthority,
    PrepareCertificate,
    PromoteAuthority,
    SwapCertificate,
    TakeUpCertificate,
    TrustBothRoots,
    VerifyRoot,
    VerifyServed,
)
from ops.model import Plan, Step
from ops.plan.certificates.leaves import INTERNAL, Leaf, Stored

VERB = "certs.rotate"
ROLLOVER = "certs.ca"


def plan_rotate(stored: Iterable[Stored], before: Mapping[str, str], now: dt.datetime, *, due: bool = False) -> Plan:
    """New certificates for those that have not had one yet; what a killed command has begun is brought to its end.

    Parameters
    ----------
    before: certificate -> serial when the command began; one that has another serial since is done.
    due: only those that have to be renewed by now.
    """
    steps: list[Step] = []
    for one in stored:
        if one.begun:
            steps += swapped(one.leaf, (), placed=not one.ready)
        elif one.source == INTERNAL and _waits(one, before) and (not due or one.due(now)):
            steps += renewed(one.leaf)
    return Plan(VERB, tuple(steps))


def _waits(one: Stored, before: Mapping[str, str]) -> bool:
    name = one.leaf.name
    return name in before and (one.facts.serial if one.facts else "") == before[name]


def renewed(leaf: Leaf, after: tuple[str, ...] = ()) -> list[Step]:
    """Issue, check, swap, take up, verify."""
    title = f"issue a certificate for {leaf.name} and check it"
    prepare = PrepareCertificate(f"issue {leaf.name}", title, after, name=leaf.name, names=leaf.names)
    return [prepare, *swapped(leaf, (prepare.key,))]


def swapped(leaf: Leaf, after: tuple[str, ...], *, placed: bool = False) -> list[Step]:
    """From a certificate that is checked to one that is seen on the wire. `placed`: it is in place already."""
    steps: list[Step] = []
    if not placed:
        steps.append(SwapCertificate(f"swap {leaf.name}", f"put the new certificate of {leaf.name} in place", after, name=leaf.name))
        after = (steps[-1].key,)
    if leaf.takes_up:
        steps.append(take_up(leaf, f"take up {leaf.name}", after))
        after = (steps[-1].key,)
    title = f"see it on the wire: {_where(leaf)}"
    return [*steps, VerifyServed(f"verify {leaf.name}", title, after, name=leaf.name)]


def take_up(leaf: Leaf, key: str, after: tuple[str, ...]) -> TakeUpCertificate:
    return TakeUpCertificate(
        key, f"have {leaf.service} read it", after, service=leaf.service, slots=leaf.slots, argv=leaf.takes_up
    )  # fmt: skip


def _where(leaf: Leaf) -> str:
    return ", ".join(f"{leaf.service}:{port}" for port in leaf.ports) or leaf.name


@dataclass(frozen=True)
class Authority:
    """How far a change of the root has come: `prepared` (the next one is made), `promoting`, `trusted` (both roots are trusted by
    all), `signs` (the new root signs, the old one is still trusted). All False: no change is under way."""

    prepared: bool = False
    trusted: bool = False
    promoting: bool = False
    signs: bool = False
    ends: Mapping[str, dt.datetime] | None = None
    """`root`, `intermediate` -> when it ends."""
    key: bool = True
    """Whether the root's key is on this host."""

    @property
    def under_way(self) -> bool:
        return self.prepared or self.signs


def plan_rollover(
    authority: Authority, stored: Sequence[Stored], current: Iterable[str], *, finish: bool, bridged: bool
) -> Plan:  # fmt: skip
    """The next part of the way to another root. It may be broken off anywhere, for days.

    Parameters
    ----------
    current: certificates that the newest root has signed already, and that are served so.
    finish: drop the old root; without it, stop where both are trusted and the new one has signed everything.
    bridged: have the old root vouch for the new one.
    """
    done = set(current)
    leaves = [one for one in stored if one.source == INTERNAL]
    steps: list[Step] = []
    if not authority.under_way:
        if finish:
            return Plan(ROLLOVER)
        steps.append(MakeNextAuthority("next", "make a new root and a new intermediate", bridged=bridged))
    if not authority.signs:
        steps += _trust(leaves, trusted=authority.trusted, after=tuple(step.key for step in steps))
        last = tuple(step.key for step in steps)
        steps.append(PromoteAuthority("promote", "have the new root sign", last))
    after = tuple(step.key for step in steps)
    for one in leaves:
        if one.begun:
            steps += _after(swapped(one.leaf, (), placed=not one.ready), after)
        elif not authority.signs or one.leaf.name not in done:
            steps += renewed(one.leaf, after)
    if finish:
        steps += _drop(leaves, tuple(step.key for step in steps))
    return Plan(ROLLOVER, tuple(steps))


def _after(steps: list[Step], keys: tuple[str, ...]) -> list[Step]:
    return [replace(steps[0], after=(*steps[0].after, *keys)), *steps[1:]]


def _trust(leaves: Sequence[Stored], *, trusted: bool, after: tuple[str, ...]) -> list[Step]:
    if trusted:
        return []
    steps: list[Step] = [TrustBothRoots("trust", "have every service trust the old and the new root", after)]
    for one in leaves:
        if one.leaf.takes_up:
            steps.append(take_up(one.leaf, f"trust {one.leaf.name}", ("trust",)))
    read = tuple(step.key for step in steps)
    return [*steps, *(VerifyServed(f"still {one.leaf.name}", f"{one.leaf.name} is served as before", read, name=one.leaf.name)
                      for one in leaves)]  # fmt: skip


def _drop(leaves: Sequence[Stored], after: tuple[str, ...]) -> list[Step]:
    steps: list[Step] = [
        VerifyRoot("new root", "every listener satisfies who trusts the new root alone", after),
        DropOldRoot("drop", "trust the new root alone", ("new root",)),
    ]
    for one in leaves:
        if one.leaf.takes_up:
            steps.append(take_up(one.leaf, f"forget {one.leaf.name}", ("drop",)))
    read = tuple(step.key for step in steps)
    return [*steps, VerifyRoot("new root still", "every listener is served as before", read)]
