"""What it takes to put other certificates in place, or to get to another root. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ops.certificates.pki import Facts
from ops.certificates.steps import (
    DropOldRoot,
    MakeNextAuthority,
    PrepareCertificate,
    PrepareImported,
    PrepareOwn,
    PromoteAuthority,
    RestartForRoots,
    SwapCertificate,
    TakeUpCertificate,
    TrustBothRoots,
    VerifyRoot,
    VerifyServed,
)
from ops.core.errors import UsageProblem, did_you_mean
from ops.core.plan import Plan, Step
from ops.stack.certificates import Leaf

VERB = "certs.rotate"
IMPORT = "certs.import"
ROLLOVER = "certs.ca"
INTERNAL, IMPORTED, SHARED, ACME = "internal", "imported", "shared", "acme"
"""Where a certificate is from. SHARED: a link to the service's own. ACME: from an issuer of stack.yaml, and renewed."""


@dataclass(frozen=True)
class Stored:
    """A certificate as it lies on the disk. `facts`: None where there is none that can be read, and `problems` says why."""

    leaf: Leaf
    source: str
    facts: Facts | None
    problems: tuple[str, ...]
    mode: int
    owner: int
    renew_after: dt.datetime | None
    begun: bool = False
    """Whether another one was being put in its place when a command was killed."""
    ready: bool = False
    """Whether that other one is checked and not yet in place."""

    def due(self, now: dt.datetime) -> bool:
        """Whether it has to be replaced by this stack itself."""
        if self.source != INTERNAL:
            return False
        return self.facts is None or bool(self.problems) or self.renew_after is None or self.renew_after <= now


def chosen(all_leaves: Iterable[Leaf], wanted: Iterable[str]) -> tuple[Leaf, ...]:
    """Those of the given names, or all. Raises UsageProblem, with a suggestion, for a name that there is not."""
    known = {leaf.name: leaf for leaf in all_leaves}
    asked = tuple(dict.fromkeys(wanted))
    for name in asked:
        if name not in known:
            raise UsageProblem(f'there is no certificate "{name}"', did_you_mean(name, known), "inv certs")
    return tuple(known[name] for name in asked) if asked else tuple(known.values())


def plan_rotate(stored: Iterable[Stored], before: Mapping[str, str], now: dt.datetime, *, due: bool = False) -> Plan:
    """New certificates for those that have not had one yet; what a killed command has begun is brought to its end.

    Parameters
    ----------
    before: certificate -> serial when the command began; one that has another serial since is done.
    due: only those that have to be renewed by now.
    """
    begun = [step for one in stored if one.begun for step in swapped(one.leaf, (), placed=not one.ready)]
    fresh = [
        one.leaf for one in stored
        if not one.begun and one.source == INTERNAL and _waits(one, before) and (not due or one.due(now))
    ]  # fmt: skip
    return Plan(VERB, (*begun, *renewed(fresh)))


def _waits(one: Stored, before: Mapping[str, str]) -> bool:
    name = one.leaf.name
    return name in before and (one.facts.serial if one.facts else "") == before[name]


def renewed(leaves: Sequence[Leaf], after: tuple[str, ...] = ()) -> list[Step]:
    """Issue, check, swap, take up, verify. None is swapped before all have been found good and written whole."""
    prepared: list[Step] = [
        PrepareCertificate(
            f"issue {leaf.name}", f"issue a certificate for {leaf.name} and verify it", after, name=leaf.name, names=leaf.names
        )
        for leaf in leaves
    ]  # fmt: skip
    gates = tuple(step.key for step in prepared)
    return [*prepared, *(step for leaf in leaves for step in swapped(leaf, gates))]


def swapped(leaf: Leaf, after: tuple[str, ...], *, placed: bool = False) -> list[Step]:
    """From a certificate that is checked to one that is seen on the wire. `placed`: it is in place already."""
    steps: list[Step] = []
    if not placed:
        title = f"install the new certificate of {leaf.name}"
        steps.append(SwapCertificate(f"swap {leaf.name}", title, after, name=leaf.name))
        after = (steps[-1].key,)
    if leaf.takes_up:
        steps.append(take_up(leaf, f"take up {leaf.name}", after, leaf.takes_up))
        after = (steps[-1].key,)
    title = f"verify it on the wire: {_where(leaf)}"
    return [*steps, VerifyServed(f"verify {leaf.name}", title, after, name=leaf.name)]


def take_up(leaf: Leaf, key: str, after: tuple[str, ...], argv: tuple[str, ...]) -> TakeUpCertificate:
    return TakeUpCertificate(key, f"make {leaf.service} load it", after, service=leaf.service, slots=leaf.slots, argv=argv)


def _where(leaf: Leaf) -> str:
    return ", ".join(f"{leaf.service}:{port}" for port in leaf.ports) or leaf.name


def plan_import(now: Stored, files: tuple[str, ...], serial: str) -> Plan:
    """Another certificate for the public name.

    Parameters
    ----------
    files: the operator's, which hold certificate, key and chain. serial: of that certificate; empty: back to nginx' own.
    """
    leaf = now.leaf
    there = (now.facts.serial if now.facts else "") == serial if serial else now.source == SHARED
    if now.begun and there:
        return Plan(IMPORT, tuple(swapped(leaf, (), placed=True)))
    if there:
        return Plan(IMPORT)
    if serial:
        title, (certificate, key, chain) = "check the certificate and its key", files
        first: Step = PrepareImported(
            "import", title, name=leaf.name, certificate=certificate, private=key, chain=chain
        )  # fmt: skip
    else:
        first = PrepareOwn("own", "serve nginx's own certificate on the public site", name=leaf.name)
    return Plan(IMPORT, (first, *swapped(leaf, (first.key,))))


@dataclass(frozen=True)
class Authority:
    """How far a change of the root has come: `prepared` (the next one is made), `signs` (it signs, and the old one is still
    trusted). Both False: no change is under way. `root`: serial of the newest one."""

    root: str = ""
    prepared: bool = False
    signs: bool = False

    @property
    def under_way(self) -> bool:
        return self.prepared or self.signs


def plan_rollover(
    authority: Authority, stored: Sequence[Stored], current: Iterable[str], *, start: bool, finish: bool, bridged: bool
) -> Plan:  # fmt: skip
    """The next part of the way to another root. It may be broken off anywhere, for days.

    Parameters
    ----------
    current: certificates that the newest root has signed already, and that are served so.
    start: begin, where no change is under way. finish: drop the old root; without it, stop where both are trusted and the new
    one has signed everything.
    bridged: have the old root vouch for the new one.
    """
    done = set(current)
    leaves = [one for one in stored if one.source == INTERNAL]
    steps: list[Step] = []
    if not authority.under_way:
        if not start:
            return Plan(ROLLOVER)
        steps.append(MakeNextAuthority("next", "make a new root and a new intermediate", bridged=bridged))
    if not authority.signs:
        steps += _trust(leaves, tuple(step.key for step in steps))
        last = tuple(step.key for step in steps)
        steps.append(PromoteAuthority("promote", "let the new root sign", last))
    after = tuple(step.key for step in steps)
    fresh = [one for one in leaves if not authority.signs or one.leaf.name not in done or one.ready]
    for one in leaves:
        if one.begun and one not in fresh:
            steps += swapped(one.leaf, after, placed=True)
    steps += renewed([one.leaf for one in fresh], after)
    if finish:
        steps += _drop(leaves, tuple(step.key for step in steps))
    return Plan(ROLLOVER, tuple(steps))


def _trust(leaves: Sequence[Stored], after: tuple[str, ...]) -> list[Step]:
    steps: list[Step] = [TrustBothRoots("trust", "make every service trust the old and the new root", after)]
    steps += _roots_read(leaves, "trust", ("trust",))
    read = tuple(step.key for step in steps)
    steps += [
        VerifyServed(f"still {one.leaf.name}", f"verify {one.leaf.name} again", read, name=one.leaf.name, settles=False)
        for one in leaves
    ]
    return steps


def _roots_read(leaves: Sequence[Stored], word: str, after: tuple[str, ...]) -> Iterator[Step]:
    """Whoever does not read the roots at each handshake is told to, or starts anew."""
    for leaf in (one.leaf for one in leaves):
        if leaf.restarts:
            title = f"restart {leaf.service}, which reads them then"
            yield RestartForRoots(f"{word} {leaf.name}", title, after, slots=leaf.slots)
        elif leaf.trusts:
            yield take_up(leaf, f"{word} {leaf.name}", after, leaf.trusts)


def _drop(leaves: Sequence[Stored], after: tuple[str, ...]) -> list[Step]:
    steps: list[Step] = [
        VerifyRoot("new root", "verify that the new root alone is enough on every listener", after),
        DropOldRoot("drop", "trust only the new root", ("new root",)),
    ]
    steps += _roots_read(leaves, "forget", ("drop",))
    read = tuple(step.key for step in steps)
    return [*steps, VerifyRoot("new root still", "verify every listener again", read)]
