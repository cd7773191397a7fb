"""What repairs a finding: the first way that has not been tried in this run, or exact instructions for a person."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ops.core.plan import Step
from ops.deploy.steps import StopContainer
from ops.keycloak.failures.failure import NOBODY, RESTART, Diagnosis, Finding, Way
from ops.keycloak.failures.table import BY_ID
from ops.keycloak.repair import containers as container
from ops.keycloak.repair.situation import KEYCLOAK, NGINX, POSTGRES, Instructions, Repair, Situation, grace_of
from ops.keycloak.repair.steps import RecoverAdmin, RepairRealm, RescueSecret, RestoreOperations, RunStatements
from ops.keycloak.schema.steps import DumpDatabase
from ops.stack.render import digest

Tried = frozenset[tuple[str, str]]
"""(finding, kind of repair) that have been carried out in this run."""
Does = Callable[[Situation, Finding], Repair | None]
NOTHING_TO_UNDO = "nothing: it has changed nothing that lasts"
TAKEN_BACK = "the container that was set aside is restored"
RUNS_ON = "what was started is left running"


def _repair(
    finding: Finding, kind: str, title: str, steps: Iterable[Step], undo: str, *, notice: str = "", restarts: bool = False,
    asks: str = "",
) -> Repair | None:  # fmt: skip
    """None where there is nothing to do it with."""
    planned = tuple(steps)
    return Repair(finding.id, kind, title, planned, notice or finding.notice, undo, restarts, asks) if planned else None


# PostgreSQL.


def _sql(situation: Situation, finding: Finding) -> Repair | None:
    """Stop a restart loop, dump, run the statements, start Keycloak again if it does not run."""
    remedy = BY_ID[finding.id].remedy
    sql = remedy.sql(situation.facts) if callable(remedy.sql) else remedy.sql
    if sql is None:
        return None
    # Where only sessions are ended, Keycloak waits for them and goes on by itself.
    stopped = container.stop(situation) if sql.undo_query or situation.facts.looping else []
    run = RunStatements(
        f"sql {finding.id} {digest([sql.statements])[:6]}", sql.title, database=sql.database, statements=sql.statements,
        undo_query=sql.undo_query, secrets=sql.secrets, finding=finding.id,
    )  # fmt: skip
    first: list[Step] = [*stopped, *_dump(situation, finding), run]
    undo = "the statements that revert it are kept first" if sql.undo_query else NOTHING_TO_UNDO
    up = _up(situation, bool(stopped), first[-1], secrets=bool(sql.secrets))
    return _repair(finding, "sql", sql.title, container.after_all(first, up), undo)


def _up(situation: Situation, stopped: bool, after: Step, *, secrets: bool = False) -> list[Step]:
    """Keycloak again: as the release says, where its own copy of a secret may be outdated; else as it is."""
    facts = situation.facts
    if facts.ready:
        return []
    if container.served(facts):
        return container.revive(situation, (after,))
    if secrets and facts.container.status != "paused" and (steps := container.as_released(situation, secrets=True)):
        return list(steps)
    if stopped or facts.container.status in container.STOPPED:
        return container.start_again((after,))
    if not facts.running:
        # Missing, lost or paused: a finding of its own.
        return []
    return [container.await_keycloak((after,), once=False)]


def _dump(situation: Situation, finding: Finding) -> list[Step]:
    database = situation.facts.postgres.database
    if not finding.dump_first or not situation.facts.postgres.answers or database is None or not database.connectable:
        return []
    return [DumpDatabase("dump keycloak", "dump the database keycloak", database="keycloak")]


# Containers, images, configuration.


def _drift(situation: Situation, finding: Finding) -> Repair | None:
    """Restore Keycloak as the release has it, where it differs."""
    return _recreate(situation, finding) if situation.drift or situation.edited or situation.retag else None


def _recreate(situation: Situation, finding: Finding, *, secrets: bool = False) -> Repair | None:
    if container.migrating(situation.facts):
        return None
    differs = f" ({'; '.join(situation.drift[:3])})" if situation.drift else ""
    steps = container.as_released(situation, first=_halted(situation, finding), secrets=secrets)
    if steps and NGINX in situation.edited:
        known = {step.key for step in steps}
        others = (step for step in container.reload_service(situation, NGINX) if step.key not in known)
        steps = (*steps, *(replace(step, after=(*step.after, steps[-1])) for step in others))
    return _repair(
        finding, "release", f"restore Keycloak as release {_number(situation)} has it{differs}", steps, TAKEN_BACK,
        notice=RESTART, restarts=True,
    )  # fmt: skip


def _halted(situation: Situation, finding: Finding) -> list[Step]:
    """A crash loop is stopped at once; anything else when its place is needed."""
    return [*(container.stop(situation) if situation.facts.looping else []), *_dump(situation, finding)]


def _number(situation: Situation) -> str:
    return str(situation.wanted.number or "") if situation.wanted else ""


def _earlier(situation: Situation, finding: Finding) -> Repair | None:
    """The newest earlier release whose Keycloak is another one, where this release's own is what is wrong."""
    if situation.older is None or container.migrating(situation.facts):
        return None
    steps = container.as_released(situation, situation.older, first=_halted(situation, finding))
    return _repair(
        finding, "earlier release", f"go back to the Keycloak of release {situation.older_number}", steps,
        f"release {_number(situation)} becomes the current one again", notice=RESTART, restarts=True,
        asks="the Keycloak of the current release is given up; " + RESTART,
    )  # fmt: skip


def _start(situation: Situation, finding: Finding) -> Repair | None:
    """A container that somebody stopped or paused, as it is."""
    if situation.facts.container.status == "paused":
        return _repair(finding, "start", "resume Keycloak", container.resumed(), RUNS_ON)
    if situation.facts.container.status not in container.STOPPED:
        return None
    return _repair(finding, "start", "start Keycloak", container.start_again(()), RUNS_ON)


def _simply(kind: str, title: str, steps: Callable[[Situation], Iterable[Step]], undo: str = RUNS_ON, **more: Any) -> Does:
    return lambda situation, finding: _repair(finding, kind, title, steps(situation), undo, **more)


def _rescue(situation: Situation, finding: Finding) -> Repair | None:
    """A secret that the state folder has lost, while a container still holds it. A new one would not fit the database."""
    names, wanted = situation.facts.container.empty_secrets, situation.wanted
    if not names or wanted is None:
        return None
    steps: list[Step] = [
        RescueSecret(f"rescue {name}", f"restore the secret {name} from a container that holds it", name=name,
                     version=wanted.versions.get(name, 1)) for name in names
    ]  # fmt: skip
    title = "restore the lost value in the state folder"
    return _repair(finding, "rescue", title, container.after_all(steps, ()), NOTHING_TO_UNDO, notice=NOBODY)


def _site_certificate(situation: Situation, finding: Finding) -> Repair | None:
    if situation.facts.edge.certificate_elsewhere:
        # Another one of the internal authority would not be shown.
        return None
    return _certificate(finding, "the certificate of the site", container.reload_service(situation, NGINX, certificate=True))


def _certificate_of(service: str, situation: Situation, finding: Finding) -> Repair | None:
    """That of PostgreSQL or of Keycloak, from the internal authority again; Keycloak is started where it does not run."""
    wanted = situation.wanted
    if wanted is None or service not in wanted.certificate_names or (service == KEYCLOAK and situation.facts.ready):
        return None
    stopped, own = container.stop(situation), service == KEYCLOAK
    issued = container.reissue(wanted, service) if own else container.reload_service(situation, service, certificate=True)
    first = [*stopped, *issued]
    steps = container.after_all(first, _up(situation, bool(stopped), first[-1]))
    return _certificate(finding, f"{'Keycloak' if own else 'PostgreSQL'}'s certificate", steps, RESTART if own else "")


def _certificate(finding: Finding, what: str, steps: Iterable[Step], notice: str = "") -> Repair | None:
    return _repair(finding, "certificate", f"issue {what} again", steps, "the previous certificate is restored", notice=notice)


def _stranger(situation: Situation, finding: Finding) -> Repair | None:
    steps = container.stop_strangers(situation)
    if steps and not situation.facts.ready:
        steps = container.after_all(steps, [container.await_keycloak((), once=False)])
    names = ", ".join(sorted(situation.facts.other_keycloaks))
    asks = f"{names} is not this project's: whoever uses it will miss it; it is kept, and can be started again"
    return _repair(finding, "stranger", "stop the second Keycloak", steps, "it is started again", asks=asks)


# Realm and accounts, through the admin API.


def _realm(situation: Situation, finding: Finding) -> Repair | None:
    """What the finding names, and nothing else."""
    if not situation.facts.ready:
        return None
    details = situation.facts.edge.locked if finding.id == "users-locked" else ()
    step = RepairRealm(f"realm {finding.id}", BY_ID[finding.id].remedy.api, finding=finding.id, named=details)
    asks = _attack(situation) if finding.id == "users-locked" else ""
    return _repair(finding, "admin API", step.title, container.after_all([*_dump(situation, finding)], [step]),
                   "the previous values are restored through the admin API", asks=asks)  # fmt: skip


ATTACK_ERRORS, ATTACK_USERS = 50, 3
"""Failed logins in an hour, or users locked at once, from which on somebody may be guessing passwords."""


def _attack(situation: Situation) -> str:
    """Why locks are not cleared unasked; empty: one user or two have forgotten a password."""
    locked, content = situation.facts.edge.locked, situation.facts.postgres.content
    errors = content.login_errors if content else 0
    if errors < ATTACK_ERRORS and len(locked) < ATTACK_USERS:
        return ""
    users = f"{len(locked)} user{'s are' if len(locked) > 1 else ' is'} locked"
    return (
        f"{errors} logins failed in the last hour and {users}: somebody may be guessing passwords, and the locks "
        "end by themselves within 15 minutes (inv keycloak.user unlock NAME clears one)"
    )


def _bootstrap(situation: Situation, finding: Finding) -> Repair | None:
    """`bootstrap-admin service` with Keycloak stopped; the account that it makes lives until the operations client is good."""
    wanted = situation.wanted
    if wanted is None or KEYCLOAK not in wanted.compose["services"] or not situation.facts.postgres.answers:
        return None
    halt = StopContainer(f"stop {KEYCLOAK}", f"stop {KEYCLOAK}", slot=KEYCLOAK, grace=grace_of(wanted, KEYCLOAK))
    first = [
        *_dump(situation, finding), *([halt] if situation.facts.running else []),
        RecoverAdmin("bootstrap-admin", "make a temporary service account (bootstrap-admin)",
                     service=wanted.compose["services"][KEYCLOAK]),
        *container.start_again(()),
        RestoreOperations("operations", "repair the operations client, then remove the temporary account"),
    ]  # fmt: skip
    return _repair(finding, "bootstrap-admin", "recover the administration by bootstrap-admin", container.after_all(first, ()),
                   "the temporary account is removed", restarts=True)  # fmt: skip


DOES: Mapping[Way, Does] = {
    Way.DRIFT: _drift, Way.RECREATE: _recreate, Way.RECREATE_WITH_SECRETS: partial(_recreate, secrets=True),
    Way.EARLIER: _earlier, Way.START: _start,
    Way.START_POSTGRES: _simply("start", "start PostgreSQL, then Keycloak", container.postgres_up),
    Way.START_NGINX: _simply("start", "start nginx", partial(container.neighbour, service=NGINX)),
    Way.RELOAD_NGINX: _simply("reload", "reload nginx on its sealed configuration",
                              partial(container.reload_service, name=NGINX), "the edited folder is restored"),
    Way.RESTART_NGINX: _simply("restart nginx", "restart nginx", container.restart_nginx,
                               notice="the site is down for about 2 s", restarts=True),
    Way.SITE_CERTIFICATE: _site_certificate,
    Way.POSTGRES_CERTIFICATE: partial(_certificate_of, POSTGRES), Way.OWN_CERTIFICATE: partial(_certificate_of, KEYCLOAK),
    Way.RESCUE_SECRET: _rescue, Way.SQL: _sql, Way.STRANGER: _stranger, Way.ADMIN_API: _realm,
    Way.BOOTSTRAP_ADMIN: _bootstrap,
}  # fmt: skip


def unsettled(findings: Iterable[Finding]) -> set[str]:
    """Ids of the findings that are worth a second look before they are believed: those, and what the log alone tells."""
    return {finding.id for finding in findings if BY_ID[finding.id].momentary or not finding.certain}


def next_way(situation: Situation, finding: Finding, tried: Tried = frozenset()) -> Repair | None:
    """The first way that this situation offers and that has not been tried."""
    for way in BY_ID[finding.id].remedy.ways:
        found = DOES[way](situation, finding)
        if found is not None and found.way not in tried:
            return found
    return None


_CERTIFICATE = (
    "inv certs: from whom the site's certificate is, until when it is good, and why its renewal failed",
    "inv certs.acme has the issuer make another one; one of your own: inv certs.import CERT KEY",
    "until then inv certs.import --remove shows the project's own, which browsers trust where its authority is installed",
)
_OF_THE_SITE = ("certificate-untrusted", "certificate-expires")


def instructions(situation: Situation, finding: Finding) -> Instructions:
    """What a person does about a finding that is not repaired: commands to type, in order."""
    lines = BY_ID[finding.id].remedy.advice
    if situation.wanted is None:
        lines = (
            "there is no intact current release to go back to: inv releases shows which are",
            "inv rollback to one that is intact, or inv deploy, which seals a new one",
        )
    elif container.migrating(situation.facts):
        lines = ("a migration of its own is under way: wait for its end (inv logs keycloak --follow), then inv keycloak.fix",)
    elif situation.facts.edge.certificate_elsewhere and finding.id in _OF_THE_SITE:
        lines = _CERTIFICATE
    return Instructions(finding.id, lines)


STOPS_ALL = "disk-full"
"""Finding beside which nothing is repaired: whatever is recreated, dumped or issued would need the space that is lacking."""


def decide(situation: Situation, finding: Finding, tried: Tried = frozenset(), *, full: bool = False) -> Repair | Instructions:
    """What to do about one finding. full: no space is left on a disk, so that nothing may be made."""
    way = None if full else next_way(situation, finding, tried)
    return way or instructions(situation, finding)


def nothing_may_be_made(diagnosis: Diagnosis) -> bool:
    return any(finding.id == STOPS_ALL for finding in diagnosis.findings)


def first_repair(situation: Situation, diagnosis: Diagnosis, tried: Tried = frozenset()) -> Repair | None:
    """The repair of the gravest cause that can be repaired and has not been tried in this run."""
    if nothing_may_be_made(diagnosis):
        return None
    offered = (next_way(situation, finding, tried) for finding in diagnosis.findings)
    return next((repair for repair in offered if repair is not None), None)
