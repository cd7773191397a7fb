"""Plans that replace certificates, or the root. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ops.certificates.pki import Facts
from ops.certificates.steps import (
    ChangeRoots,
    LoadCertificate,
    MakeNextAuthority,
    PrepareCertificate,
    PrepareImported,
    PrepareOwn,
    RestartForRoots,
    RestoreCertificate,
    SwapCertificate,
    VerifyRoot,
    VerifyServed,
)
from ops.core.errors import UsageProblem, did_you_mean
from ops.core.plan import Plan, Step
from ops.stack.certificates import Leaf

VERB = "certs.rotate"
IMPORT = "certs.import"
ROLLOVER = "certs.ca"
Steps = tuple[Step, ...]
INTERNAL, IMPORTED, SHARED, ACME = "internal", "imported", "shared", "acme"
"""Where a certificate is from. SHARED: a link to the service's own. ACME: from an issuer of stack.yaml, and renewed."""


@dataclass(frozen=True)
class Stored:
    """A certificate as it is stored. `facts`: None where there is none that can be read, and `problems` says why."""

    leaf: Leaf
    source: str
    facts: Facts | None
    problems: tuple[str, ...]
    mode: int
    owner: int
    renew_after: dt.datetime | None
    begun: bool = False
    """Whether a new one was being installed when a command was killed."""
    ready: bool = False
    """Whether that other one is checked and not yet in place."""

    @property
    def serial(self) -> str:
        """Hexadecimal; empty where there is none that can be read."""
        return self.facts.serial if self.facts else ""

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
    """New certificates for those that have not had one yet; what a killed command has begun is completed.

    before: certificate -> serial when the command began; one that has another serial since is done. due: only those that have
    to be renewed by now.
    """
    begun = [step for one in stored if one.begun for step in swapped(one.leaf, placed=not one.ready)]
    fresh = [
        one.leaf for one in stored
        if not one.begun and one.source == INTERNAL and before.get(one.leaf.name) == one.serial and (not due or one.due(now))
    ]  # fmt: skip
    return Plan(VERB, (*begun, *renewed(fresh)))


def renewed(leaves: Sequence[Leaf], after: Steps = ()) -> list[Step]:
    """Issue, check, swap, load, verify. None is swapped before all have been found good and written whole."""
    prepared: list[Step] = [
        PrepareCertificate(f"issue {leaf.name}", f"issue a certificate for {leaf.name} and verify it", after, leaf=leaf)
        for leaf in leaves
    ]
    return [*prepared, *(step for leaf in leaves for step in swapped(leaf, tuple(prepared)))]


def swapped(leaf: Leaf, after: Steps = (), *, placed: bool = False) -> list[Step]:
    """From a certificate that is checked to one that is seen on the wire. `placed`: it is in place already."""
    steps: list[Step] = []
    if not placed:
        steps.append(SwapCertificate(f"swap {leaf.name}", f"install the new certificate of {leaf.name}", after, leaf=leaf))
    if leaf.takes_up:
        steps.append(_load(leaf, f"take up {leaf.name}", tuple(steps) or after, leaf.takes_up))
    where = ", ".join(f"{leaf.service}:{port}" for port in leaf.ports) or leaf.name
    last = tuple(steps[-1:]) or after
    return [*steps, VerifyServed(f"verify {leaf.name}", f"verify it on the wire: {where}", last, leaf=leaf)]


def _load(leaf: Leaf, key: str, after: Steps, argv: tuple[str, ...]) -> LoadCertificate:
    return LoadCertificate(key, f"make {leaf.service} load it", after, leaf=leaf, argv=argv)


def plan_revert(leaves: Iterable[Leaf]) -> Plan:
    """The previous certificates in place of those that were not seen on the wire."""
    return Plan(VERB, tuple(
        RestoreCertificate(f"restore {leaf.name}", f"restore the previous certificate of {leaf.name}", leaf=leaf)
        for leaf in leaves
    ))  # fmt: skip


def plan_import(now: Stored, files: tuple[str, ...], serial: str) -> Plan:
    """Another certificate for the public name. `files`: the operator's, which hold certificate, key and chain. `serial`: of
    that certificate; empty: back to nginx' own."""
    leaf = now.leaf
    if now.serial == serial if serial else now.source == SHARED:
        return Plan(IMPORT, tuple(swapped(leaf, placed=True)) if now.begun else ())
    certificate, key, chain = files
    first: Step = PrepareOwn("own", "serve nginx's own certificate on the public site", leaf=leaf)
    if serial:
        title = "check the certificate and its key"
        first = PrepareImported("import", title, leaf=leaf, certificate=certificate, private=key, chain=chain)
    return Plan(IMPORT, (first, *swapped(leaf, (first,))))


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
    """The next part of the way to another root. It may be interrupted anywhere, for days.

    current: certificates that the newest root has signed already, and that are served so. start: begin, where no change is
    under way. finish: drop the old root; without it, stop where both are trusted and the new one has signed everything.
    bridged: have the old root cross-sign the new one.
    """
    done = set(current)
    leaves = [one for one in stored if one.source == INTERNAL]
    steps: list[Step] = []
    if not authority.under_way:
        if not start:
            return Plan(ROLLOVER)
        steps.append(MakeNextAuthority("next", "make a new root and a new intermediate", bridged=bridged))
    if not authority.signs:
        steps += _trust(leaves, tuple(steps))
        steps.append(ChangeRoots("promote", "let the new root sign", tuple(steps), to="next"))
    after = tuple(steps)
    fresh = [one for one in leaves if not authority.signs or one.leaf.name not in done or one.ready]
    for one in leaves:
        if one.begun and one not in fresh:
            steps += swapped(one.leaf, after, placed=True)
    steps += renewed([one.leaf for one in fresh], after)
    if finish:
        steps += _drop(leaves, tuple(steps))
    return Plan(ROLLOVER, tuple(steps))


def _trust(leaves: Sequence[Stored], after: Steps) -> list[Step]:
    first = ChangeRoots("trust", "make every service trust the old and the new root", after, to="both")
    steps = [first, *_roots_read(leaves, "trust", first)]
    return [*steps, *(
        VerifyServed(f"still {one.leaf.name}", f"verify {one.leaf.name} again", tuple(steps), leaf=one.leaf, settles=False)
        for one in leaves
    )]  # fmt: skip


def _roots_read(leaves: Sequence[Stored], word: str, after: Step) -> Iterator[Step]:
    """Services that do not read the roots at each handshake load them, or are restarted."""
    for leaf in (one.leaf for one in leaves):
        if leaf.restarts:
            yield RestartForRoots(f"{word} {leaf.name}", f"restart {leaf.service}, which reads them then", (after,), leaf=leaf)
        elif leaf.trusts:
            yield _load(leaf, f"{word} {leaf.name}", (after,), leaf.trusts)


def _drop(leaves: Sequence[Stored], after: Steps) -> list[Step]:
    first = VerifyRoot("new root", "verify that the new root alone is enough on every listener", after)
    drop = ChangeRoots("drop", "trust only the new root", (first,), to="newest")
    steps = [first, drop, *_roots_read(leaves, "forget", drop)]
    return [*steps, VerifyRoot("new root still", "verify every listener again", tuple(steps))]
