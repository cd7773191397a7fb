"""When a new public certificate is asked for, which issuer is asked, and how long one that failed is left alone. Pure.

Times are seconds of the epoch. The limits are those of Let's Encrypt (letsencrypt.org/docs/rate-limits, June 2025), the
strictest that are published; other issuers say by `Retry-After` when they have had enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ops.certificates.plan import ACME, Stored, swapped
from ops.certificates.served.renewal import pause_after, renew_at
from ops.certificates.steps import ObtainCertificate, OpenAccount
from ops.core.plan import Plan, Step

VERB = "certs.acme"
HOUR = 3600.0
REFUSALS_AN_HOUR = 4
"""Failed validations. Let's Encrypt allows 5 for each name, account and hour; the last one is left for an operator."""
BARRED_SECONDS = HOUR
"""Where an issuer says that it was asked too often, and not for how long."""
ASK_SECONDS = (HOUR, 24 * HOUR)
"""The least and the most between two questions when to renew, whatever the issuer says (RFC 9773, 4.3.3, wants bounds)."""
UNTOLD_SECONDS = 6 * HOUR
"""Until the next question where it says nothing, or does not answer (RFC 9773, 4.3.3)."""
LATEST_SHARE = 0.9
"""Of its life: an issuer that suggests a later renewal leaves no time to mend one that fails."""


@dataclass(frozen=True)
class Tries:
    """How one issuer has answered. `failures`: in a row. `barred`: until when it will not be asked, as it says itself.
    `refusals`: when it found that the name is not ours, within the last hour."""

    failures: int = 0
    tried: float = 0.0
    barred: float = 0.0
    refusals: tuple[float, ...] = ()
    why: str = ""

    def ready_at(self, *, patient: bool) -> float:
        """From when it may be asked again. `patient`: by the stack itself, which pauses longer after each failure."""
        pause = self.tried + pause_after(self.failures) if patient and self.failures else 0.0
        budget = self.refusals[-REFUSALS_AN_HOUR] + HOUR if len(self.refusals) >= REFUSALS_AN_HOUR else 0.0
        return max(pause, budget, self.barred)

    def failed(self, why: str, now: float, *, barred_for: float = 0.0, refused: bool = False) -> Tries:
        recent = tuple(at for at in self.refusals if at > now - HOUR)
        return Tries(
            self.failures + 1, now, now + barred_for if barred_for else 0.0, (*recent, now) if refused else recent, why
        )  # fmt: skip

    def issued(self) -> Tries:
        """Refusals stay: they count against the issuer's limit all the same."""
        return Tries(refusals=self.refusals)


@dataclass(frozen=True)
class Issued:
    """A certificate that an issuer gave us. `fingerprint`: SHA-256, hexadecimal. `renew_at`: when it is to be replaced, as its
    issuer suggests or by its age. `ask_at`: when the issuer is asked next about that."""

    issuer: str
    fingerprint: str
    at: float
    renew_at: float
    ask_at: float


@dataclass(frozen=True)
class Situation:
    """What is known before a decision. `accounts`: names of issuers that we have one with. `issued`: what is known of the
    certificate in place; None where it is not by ACME. `prepared`: whether another one is checked and not yet in place."""

    issuers: tuple[str, ...]
    accounts: frozenset[str] = frozenset()
    tries: Mapping[str, Tries] | None = None
    issued: Issued | None = None
    prepared: bool = False

    def ready_at(self, name: str, *, patient: bool) -> float:
        return (self.tries or {}).get(name, Tries()).ready_at(patient=patient)


def renewal(begins: float, expires: float, serial: int, window: tuple[float, float] | None) -> float:
    """When to renew: within the window that the issuer suggests (RFC 9773), else by its age. The serial number, which is
    random, says where in the window: the same at each look, another for each certificate."""
    if window is None:
        return renew_at(begins, expires, serial)
    start, end = window
    chosen = start + max(0.0, end - start) * (serial % 1000) / 1000
    return min(chosen, begins + (expires - begins) * LATEST_SHARE)


def ask_again(now: float, retry_after: float | None) -> float:
    """When to ask the issuer next when to renew. `retry_after`: seconds, as it says."""
    least, most = ASK_SECONDS
    return now + (UNTOLD_SECONDS if retry_after is None else min(max(retry_after, least), most))


def due(one: Stored, issued: Issued | None, now: float) -> bool:
    """Whether the certificate in place is one of ours by ACME, and has to be replaced."""
    if one.source != ACME:
        return False
    return one.facts is None or bool(one.problems) or issued is None or now >= issued.renew_at


def ready(situation: Situation, now: float, *, patient: bool) -> tuple[str, ...]:
    """Issuers with an account that may be asked now, in their order."""
    return tuple(
        name for name in situation.issuers
        if name in situation.accounts and situation.ready_at(name, patient=patient) <= now
    )  # fmt: skip


def look_at(one: Stored, situation: Situation, now: float) -> float:
    """When the stack itself has something to do about it: ask its issuer when to renew, or ask one for another certificate."""
    if situation.issued is None:
        return now + UNTOLD_SECONDS
    if not due(one, situation.issued, now):
        return min(situation.issued.renew_at, situation.issued.ask_at)
    known = [situation.ready_at(name, patient=True) for name in situation.issuers if name in situation.accounts]
    return max(now, min(known, default=now))


def plan_acme(
    one: Stored, situation: Situation, now: float, *, wanted: bool, patient: bool, opening: Iterable[str] = ()
) -> Plan:  # fmt: skip
    """Accounts where they are missing, then a certificate, checked, swapped in, and seen on the wire.

    wanted: whether another certificate is wanted. patient: asked by the stack itself, which leaves issuers alone for a while.
    opening: issuers with which an account is to be opened, under terms that the operator has accepted.
    """
    if one.begun:
        return Plan(VERB, tuple(swapped(one.leaf, placed=not one.ready)))
    missing = [name for name in opening if name not in situation.accounts]
    steps: list[Step] = [
        OpenAccount(f"account {name}", f"open an account with {name}, under its terms", issuer=name) for name in missing
    ]
    if not wanted:
        return Plan(VERB, tuple(steps))
    if situation.prepared:
        return Plan(VERB, tuple(swapped(one.leaf)))
    with_these = replace(situation, accounts=situation.accounts.union(missing))
    asked = ready(with_these, now, patient=patient)
    if not asked:
        return Plan(VERB, tuple(steps), notes=waiting(with_these, now, patient=patient))
    title = f"have {', else '.join(asked)} issue a certificate for {', '.join(one.leaf.names)}, and verify it"
    obtain = ObtainCertificate("obtain", title, tuple(steps), leaf=one.leaf, issuers=asked)
    return Plan(VERB, (*steps, obtain, *swapped(one.leaf, (obtain,))))


def waiting(situation: Situation, now: float, *, patient: bool) -> tuple[str, ...]:
    """Why no issuer is asked now, one by one."""
    tries = situation.tries or {}
    pauses = {name: situation.ready_at(name, patient=patient) - now for name in situation.issuers}
    return tuple(
        f"{name} is left alone for {max(1, round(pauses[name] / 60))} min: {tries[name].why}"
        for name in situation.issuers if name in situation.accounts and name in tries
    )  # fmt: skip


def plan_rehearsal(one: Stored, issuers: Sequence[str], opening: Iterable[str], *, done: bool) -> Plan:
    """The same at the issuers' rehearsal stages: what they issue is checked and thrown away."""
    if done:
        return Plan(VERB)
    steps: list[Step] = [
        OpenAccount(f"account {name}", f"open an account with {name}, under its terms", issuer=name) for name in opening
    ]
    title = f"have {', then '.join(issuers)} issue a certificate for {', '.join(one.leaf.names)}, verify it, discard it"
    last = ObtainCertificate(
        "rehearse", title, tuple(steps), leaf=one.leaf, issuers=tuple(issuers), rehearsal=True
    )  # fmt: skip
    return Plan(VERB, (*steps, last))
