"""inv certs.acme: the certificate for the public name from an authority that everybody trusts."""

from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING

from invoke import Context

from ops.cli.command import verb
from ops.cli.execute import Operation, execute, planned
from ops.core.errors import OpsError, UsageProblem

if TYPE_CHECKING:
    from ops.core.plan import Plan
    from ops.project import Project
    from ops.stack.certificates import Leaf
    from ops.stack.issuers import Issuer


@verb(help={
    "accept-terms": "open accounts with issuers under their terms of service, which you have read",
    "staging": "rehearse at the issuers' test stages: everything but the swap, and none of their limits is touched",
    "again": "have another one issued, though the present one is good",
    "due": "only where it has to be renewed by now: what the stack itself runs",
    "plan": "show what would be done; do nothing",
    "yes": "do not ask for confirmation",
})  # fmt: skip
def acme(
    c: Context, accept_terms: bool = False, staging: bool = False, again: bool = False, due: bool = False, plan: bool = False,
    yes: bool = False,
) -> None:  # fmt: skip
    """Get the public certificate from an ACME issuer.

    Tries the issuers of stack.yaml in turn; where all fail, the present certificate stays.
    """
    from ops.certificates import facts
    from ops.certificates.acme import issuing
    from ops.certificates.plan import chosen
    from ops.project import must_exist, open_project
    from ops.stack.certificates import PUBLIC

    if [staging, again, due].count(True) > 1:
        raise UsageProblem("certs.acme does one thing at a time", "two of --staging, --due, --again", "inv --help certs.acme")
    project = must_exist(open_project())
    issuers = issuing.issuers_of(project)
    leaves = facts.leaves_of(project)
    (leaf,) = chosen(leaves, [PUBLIC])
    if not plan:
        project.host.prepare()
    if staging:
        _rehearse(project, leaf, [one.rehearsal() for one in issuers if one.staging], accept_terms, plan, yes)
        return
    opening = () if due else _opening(project, issuers, accept_terms)
    _certify(project, leaves, leaf, opening, again=again, due=due, plan=plan, yes=yes)


def _certify(
    project: Project, leaves: tuple[Leaf, ...], leaf: Leaf, opening: tuple[str, ...], *, again: bool, due: bool, plan: bool,
    yes: bool,
) -> None:  # fmt: skip
    from ops.certificates import facts
    from ops.certificates.acme import issuing
    from ops.certificates.acme import plan as planned
    from ops.certificates.acme.store import Book
    from ops.certificates.commands import replace_certificates
    from ops.certificates.plan import ACME

    if not plan:
        Book(project.state).forget_others([one.name for one in issuing.issuers_of(project)])
        issuing.ask_when(project, leaf, now=time.time())
    at_first = facts.stored(project.state, leaf)
    before = at_first.serial
    # What a killed command has begun is completed, and not begun again.
    anew = not at_first.begun and (again or (at_first.source != ACME and not due))

    def decide() -> Plan:
        one, known = facts.stored(project.state, leaf), issuing.situation(project, leaf)
        now = time.time()
        same = one.serial == before
        wanted = (anew and same) or planned.due(one, known.issued, now)
        return planned.plan_acme(one, known, now, wanted=wanted, patient=due, opening=opening)

    try:
        steps = replace_certificates(project, planned.VERB, decide, leaves, plan, yes, "the public site shows its certificate")
        if not steps and not due and not plan:
            _say_why_nothing(project, leaf, anew=anew)
    finally:
        if not plan:
            one = facts.stored(project.state, leaf)
            Book(project.state).look_at(planned.look_at(one, issuing.situation(project, leaf), time.time()))


def _say_why_nothing(project: Project, leaf: Leaf, *, anew: bool) -> None:
    """Raises OpsError where a certificate is wanted, and no issuer may be asked for now."""
    from ops.certificates.acme import issuing
    from ops.certificates.acme import plan as planned
    from ops.cli import show

    known = issuing.situation(project, leaf)
    if anew and not planned.ready(known, time.time(), patient=False):
        raise OpsError(
            "no issuer may be asked now", "; ".join(planned.waiting(known, time.time(), patient=False)),
            "the certificate in place is served as before; inv certs.acme again when the time is over",
        )  # fmt: skip
    if known.issued:
        at = dt.datetime.fromtimestamp(known.issued.renew_at, dt.UTC)
        show.out.print(f"[dim]{known.issued.issuer} issued it; it is renewed about {at:%Y-%m-%d %H:%M} UTC[/dim]")


def _opening(project: Project, issuers: tuple[Issuer, ...], accepted: bool) -> tuple[str, ...]:
    """Names of those with which an account is to be opened.

    Raises UsageProblem, naming the terms, where they were not accepted; OpsError where no issuer answers.
    """
    from ops.certificates.acme import issuing
    from ops.certificates.acme.client import IssuerFailed
    from ops.certificates.acme.store import Book
    from ops.cli import show

    book = Book(project.state)
    missing = [one for one in issuers if book.account(one) is None]
    terms, failed = {}, {}
    for one in missing:
        try:
            terms[one.name] = issuing.terms_of(project, one)
        except IssuerFailed as problem:
            failed[one.name] = problem.why
            show.err.print(f"[yellow]note:[/yellow] no account with {one.name} yet: {problem.why}")
    if missing and len(failed) == len(issuers):
        raise OpsError(
            "no issuer answers", "; ".join(f"{name}: {why}" for name, why in failed.items()), "the same command tries again"
        )  # fmt: skip
    if terms and not accepted:
        told = "; ".join(f"{name}: {url or 'it publishes none'}" for name, url in terms.items())
        raise UsageProblem(
            f"an account with {', '.join(terms)} is opened only under its terms", told,
            "read them; where you accept them, the same command with --accept-terms",
        )  # fmt: skip
    return tuple(terms)


def _rehearse(project: Project, leaf: Leaf, stages: list[Issuer], accepted: bool, plan: bool, yes: bool) -> None:
    from ops.certificates import facts
    from ops.certificates.acme.plan import VERB, plan_rehearsal
    from ops.certificates.acme.store import Book
    from ops.cli import show

    if not stages:
        raise UsageProblem(
            "no issuer of stack.yaml has a stage to rehearse at", "certificates.acme.issuers: none has `staging`",
            "give one the URL of its test stage as staging",
        )  # fmt: skip
    opening, began = _opening(project, tuple(stages), accepted), time.time()

    def decide() -> Plan:
        one, done = facts.stored(project.state, leaf), Book(project.state).rehearsed() >= began
        return plan_rehearsal(one, [stage.name for stage in stages], opening, done=done)

    if execute(Operation(project, VERB, planned(project, decide), plan_only=plan, yes=yes)):
        show.out.print(
            f"[bold green]rehearsed[/bold green] in {time.time() - began:.1f} s: an issuer would certify {leaf.names[0]}"
        )
