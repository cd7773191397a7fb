"""What mends a finding: the first way that has not been tried in this run, or exact instructions for a person."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from ops.core.plan import Step
from ops.deploy.steps import StopContainer
from ops.keycloak.failures.facts import OPS_CLIENT
from ops.keycloak.failures.failure import NOBODY, RESTART, Diagnosis, Finding
from ops.keycloak.failures.instructions import instructions
from ops.keycloak.repair import containers as container
from ops.keycloak.repair import sql as repair_sql
from ops.keycloak.repair.situation import KEYCLOAK, NGINX, POSTGRES, Instructions, Repair, Situation, grace_of
from ops.keycloak.repair.sql import Sql
from ops.keycloak.steps import DumpDatabase, MendRealm, RecoverAdmin, RescueSecret, RestoreOperations, RunStatements

Tried = frozenset[tuple[str, str]]
"""(finding, kind of repair) that have been carried out in this run."""
Way = Callable[[Situation, Finding], Repair | None]
NOTHING_TO_UNDO = "nothing: it has changed nothing that lasts"
TAKEN_BACK = "the container that was set aside comes back"
RUNS_ON = "what was started is left running"


def _repair(
    finding: Finding, kind: str, title: str, steps: Iterable[Step], undo: str, *, notice: str = "", restarts: bool = False,
    asks: str = "",
) -> Repair | None:  # fmt: skip
    """None where there is nothing to do it with."""
    planned = tuple(steps)
    if not planned:
        return None
    return Repair(finding.id, kind, title, planned, notice or finding.notice, undo, restarts, asks)


# PostgreSQL.


def statements(finding: str, sql: Sql, after: tuple[str, ...] = ()) -> RunStatements:
    return RunStatements(
        f"sql {finding} {repair_sql.name_of(sql)}", sql.title, after, database=sql.database, statements=sql.statements,
        undo_query=sql.undo_query, secrets=sql.secrets, finding=finding,
    )  # fmt: skip


def _sql(situation: Situation, finding: Finding) -> Repair | None:
    """Stop what fails again and again, dump, run the statements, start Keycloak again if it does not run."""
    sql = repair_sql.of(finding.id, situation.facts)
    if sql is None:
        return None
    waits = finding.id in ("changelog-lock", "role-connections-full", "pool-exhausted")
    stopped = [] if waits and not situation.facts.looping else container.stop(situation)
    first: list[Step] = [*stopped, *_dump(situation, finding), statements(finding.id, sql)]
    undo = "the statements that put back what was there are kept first" if sql.undo_query else NOTHING_TO_UNDO
    return _repair(
        finding, "sql", sql.title, container.after_all(first, _up(situation, finding, bool(stopped), first[-1].key)), undo
    )


def _up(situation: Situation, finding: Finding, stopped: bool, after: str) -> list[Step]:
    """Keycloak again: as the release says, where its own copy of the password may be another one; else as it is."""
    facts = situation.facts
    if facts.ready:
        return []
    if container.served(facts):
        return container.revive(situation, (after,))
    if (
        finding.id in ("password-drift", "role-missing")
        and facts.container.status != "paused"
        and (steps := container.put_back(situation, secrets=True))
    ):
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


def _as_released(situation: Situation, finding: Finding) -> Repair | None:
    """Put Keycloak back to what the release says, where it is not."""
    if not situation.drift and not situation.edited and not situation.retag:
        return None
    return _anyway(situation, finding)


def _anyway(situation: Situation, finding: Finding) -> Repair | None:
    if container.migrating(situation.facts):
        return None
    differs = f" ({'; '.join(situation.drift[:3])})" if situation.drift else ""
    secrets = finding.id in ("secret-missing", "secret-stale")
    steps = container.put_back(situation, first=_halted(situation, finding), secrets=secrets)
    if steps and NGINX in situation.edited:
        steps = (*steps, *_behind(container.reload_service(situation, NGINX), steps))
    return _repair(
        finding, "release", f"put Keycloak back to what release {_number(situation)} says{differs}", steps, TAKEN_BACK,
        notice=RESTART, restarts=True,
    )  # fmt: skip


def _halted(situation: Situation, finding: Finding) -> list[Step]:
    """A crash loop is stopped at once; anything else when its place is needed."""
    return [*(container.stop(situation) if situation.facts.looping else []), *_dump(situation, finding)]


def _behind(steps: Iterable[Step], others: tuple[Step, ...]) -> Iterator[Step]:
    keys = {step.key for step in others}
    last = others[-1].key
    for step in steps:
        if step.key not in keys:
            yield replace(step, after=(*step.after, last))


def _number(situation: Situation) -> str:
    return str(situation.wanted.number or "") if situation.wanted else ""


def _earlier(situation: Situation, finding: Finding) -> Repair | None:
    """The newest earlier release whose Keycloak is another one, where this release's own is what is wrong."""
    if situation.older is None or container.migrating(situation.facts):
        return None
    steps = container.put_back(situation, situation.older, first=_halted(situation, finding))
    return _repair(
        finding, "earlier release", f"go back to the Keycloak of release {situation.older_number}", steps,
        f"release {_number(situation)} becomes the current one again", notice=RESTART, restarts=True,
        asks="the Keycloak of the current release is given up; " + RESTART,
    )  # fmt: skip


def _start(situation: Situation, finding: Finding) -> Repair | None:
    """A container that somebody stopped or paused, as it is."""
    if situation.facts.container.status == "paused":
        return _repair(finding, "start", "let Keycloak go on", container.resumed(), RUNS_ON)
    if situation.facts.container.status not in container.STOPPED:
        return None
    return _repair(finding, "start", "start Keycloak", container.start_again(()), RUNS_ON)


def _postgres(situation: Situation, finding: Finding) -> Repair | None:
    return _repair(finding, "start", "start PostgreSQL, then Keycloak", container.postgres_up(situation), RUNS_ON)


def _nginx(situation: Situation, finding: Finding) -> Repair | None:
    return _repair(finding, "start", "start nginx", container.neighbour(situation, NGINX), RUNS_ON)


def _reload(situation: Situation, finding: Finding) -> Repair | None:
    steps = container.reload_service(situation, NGINX)
    return _repair(finding, "reload", "reload nginx on its sealed configuration", steps, "the edited folder comes back")


def _restart_nginx(situation: Situation, finding: Finding) -> Repair | None:
    return _repair(finding, "restart nginx", "restart nginx", container.restart_nginx(situation), RUNS_ON,
                   notice="the site is away for about 2 s", restarts=True)  # fmt: skip


def _rescue(situation: Situation, finding: Finding) -> Repair | None:
    """A secret that the state folder has lost, while a container still holds it. A new one would not fit the database."""
    names, wanted = situation.facts.container.empty_secrets, situation.wanted
    if not names or wanted is None:
        return None
    steps: list[Step] = [
        RescueSecret(f"rescue {name}", f"take the secret {name} back from a container that holds it", name=name,
                     version=wanted.versions.get(name, 1)) for name in names
    ]  # fmt: skip
    title = "put the lost value back into the state folder"
    return _repair(finding, "rescue", title, container.after_all(steps, ()), NOTHING_TO_UNDO, notice=NOBODY)


def _certificate(situation: Situation, finding: Finding) -> Repair | None:
    if situation.facts.edge.certificate_elsewhere:
        # Another one of the internal authority would not be shown.
        return None
    steps = container.reload_service(situation, NGINX, certificate=True)
    return _repair(
        finding, "certificate", "issue the certificate of the site again", steps, "the certificate before comes back"
    )


def _postgres_certificate(situation: Situation, finding: Finding) -> Repair | None:
    """PostgreSQL's certificate from the internal authority again; Keycloak is started where it does not run."""
    if situation.wanted is None or POSTGRES not in situation.wanted.certificate_names:
        return None
    stopped = container.stop(situation)
    first = [*stopped, *container.reload_service(situation, POSTGRES, certificate=True)]
    steps = container.after_all(first, _up(situation, finding, bool(stopped), first[-1].key))
    return _repair(finding, "certificate", "issue PostgreSQL's certificate again", steps, "the certificate before comes back")


def _own_certificate(situation: Situation, finding: Finding) -> Repair | None:
    """Keycloak's own certificate and key from the internal authority again."""
    wanted = situation.wanted
    if wanted is None or KEYCLOAK not in wanted.certificate_names or situation.facts.ready:
        return None
    stopped = container.stop(situation)
    first = [*stopped, *container.reissue(wanted, KEYCLOAK)]
    steps = container.after_all(first, _up(situation, finding, bool(stopped), first[-1].key))
    return _repair(
        finding, "certificate", "issue Keycloak's certificate again", steps, "the certificate before comes back", notice=RESTART
    )


def _stranger(situation: Situation, finding: Finding) -> Repair | None:
    steps = container.stop_strangers(situation)
    if steps and not situation.facts.ready:
        steps = container.after_all(steps, [container.await_keycloak((), once=False)])
    names = ", ".join(sorted(situation.facts.other_keycloaks))
    asks = f"{names} is not this project's: whoever uses it will miss it; it is kept, and can be started again"
    return _repair(finding, "stranger", "stop the second Keycloak", steps, "it is started again", asks=asks)


# Realm and accounts, through the admin API.


BY_API: Mapping[str, str] = {
    "realm-disabled": "switch the realm on", "realm-keys": "switch the realm's key providers on",
    "users-locked": "clear the lock of these users", "admin-refused": f"give {OPS_CLIENT} the secret of the state folder",
    "client-missing": "make the client as declared", "redirect-uri": "give the client its exact redirect address",
    "web-origin": "give the client its exact origin", "security-loosened": "put what was loosened back",
}  # fmt: skip
"""Finding -> what its repair through the admin API is called."""


def _realm(situation: Situation, finding: Finding) -> Repair | None:
    """What the finding names, and nothing else."""
    if not situation.facts.ready:
        return None
    details = situation.facts.edge.locked if finding.id == "users-locked" else ()
    mend = MendRealm(f"realm {finding.id}", BY_API[finding.id], finding=finding.id, named=details)
    asks = _attack(situation) if finding.id == "users-locked" else ""
    return _repair(finding, "admin API", mend.title, container.after_all([*_dump(situation, finding)], [mend]),
                   "what the admin API said before is sent back", asks=asks)  # fmt: skip


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
    halt = StopContainer(f"stop {KEYCLOAK}", f"stop {KEYCLOAK}", slot=KEYCLOAK,
                                   grace=grace_of(wanted, KEYCLOAK))  # fmt: skip
    first = [
        *_dump(situation, finding), *([halt] if situation.facts.running else []),
        RecoverAdmin("bootstrap-admin", "make a temporary service account (bootstrap-admin)",
                     service=wanted.compose["services"][KEYCLOAK]),
        *container.start_again(()),
        RestoreOperations("operations", "make the operations client good again, then remove the temporary account"),
    ]  # fmt: skip
    return _repair(finding, "bootstrap-admin", "recover the administration by bootstrap-admin", container.after_all(first, ()),
                   "the temporary account is removed", restarts=True)  # fmt: skip


_RELEASE: tuple[Way, ...] = (_as_released, _earlier)
_ANY_RELEASE: tuple[Way, ...] = (_anyway, _earlier)
DECLARED = ("client-missing", "redirect-uri", "web-origin", "security-loosened")
"""What the realm's declaration says otherwise."""
WAYS: Mapping[str, tuple[Way, ...]] = {
    **dict.fromkeys(repair_sql.FIXED, (_sql,)),
    "postgres-down": (_postgres,),
    "changelog-lock": (_sql, _stranger), "role-connections-full": (_sql, _stranger), "second-keycloak": (_stranger,),
    "pool-exhausted": (_sql, _as_released, _earlier),
    "container-missing": (_anyway,), "container-lost": (_anyway,), "stopped": (_start, _anyway), "exited": _ANY_RELEASE,
    **dict.fromkeys(("not-ready", "crash-loop", "out-of-memory", "heap-exhausted", "healthcheck-wrong"), _ANY_RELEASE),
    **dict.fromkeys(("secret-stale", "proxy-name-unknown", "database-unreachable"), _ANY_RELEASE),
    "secret-missing": (_rescue, *_ANY_RELEASE),
    **dict.fromkeys(("heap-too-large", "management-plain", "image-not-built", "build-options-differ"), _RELEASE),
    **dict.fromkeys(("provider-updated", "rebuilds-at-start", "dev-mode", "option-removed", "option-unknown"), _RELEASE),
    **dict.fromkeys(("provider-option-old-name", "sessions-not-persistent", "h2-in-use", "h2-locked", "h2-version"), _RELEASE),
    **dict.fromkeys(("hostname-unset", "hostname-wrong", "https-key-missing", "cluster-timeouts"), _RELEASE),
    **dict.fromkeys(("truststore-missing", "realm-file-name", "config-edited"), _RELEASE),
    **dict.fromkeys(("option-disabled", "jvm-option", "provider-incompatible", "hostname-invalid", "port-taken"), _RELEASE),
    **dict.fromkeys(("cluster-transport", "realm-import-failed", "pooler"), _RELEASE),
    "postgres-certificate-expired": (_postgres_certificate,),
    **dict.fromkeys(("postgres-certificate-name", "postgres-certificate-untrusted"), (_postgres_certificate, *_RELEASE)),
    **dict.fromkeys(("https-file", "https-key-store"), (_as_released, _own_certificate, _earlier)),
    "proxy-headers": (_as_released, _reload, _earlier), "h2-leftovers": (_anyway,), "schema-newer": (_as_released,),
    "nginx-down": (_nginx,), "edge-fails": (_reload, _restart_nginx),
    "certificate-untrusted": (_certificate,), "certificate-expires": (_certificate,),
    "certificate-stale": (_reload, _certificate, _restart_nginx),
    **dict.fromkeys(("realm-disabled", "realm-keys", "users-locked", *DECLARED), (_realm,)),
    "admin-lost": (_bootstrap,), "admin-refused": (_realm, _bootstrap),
}  # fmt: skip
"""Finding -> the ways to mend it, in the order in which they are tried."""


MOMENTARY = frozenset({
    "edge-fails", "healthcheck-wrong", "pool-exhausted", "cpu-throttled", "not-ready", "admin-refused", "changelog-lock",
    "second-keycloak", "role-connections-full", "certificate-untrusted", "certificate-stale", "certificate-expires",
    "database-unreachable", "nginx-down",
})  # fmt: skip
"""What may be seen for a moment after a restart or a reload, and be gone by itself."""


def unsettled(findings: Iterable[Finding]) -> set[str]:
    """Ids of the findings that are worth a second look before they are believed: those, and what the log alone tells."""
    return {finding.id for finding in findings if finding.id in MOMENTARY or not finding.certain}


def next_way(situation: Situation, finding: Finding, tried: Tried = frozenset()) -> Repair | None:
    """The first way that this situation offers and that has not been tried."""
    for way in WAYS.get(finding.id, ()):
        found = way(situation, finding)
        if found is not None and (finding.id, found.kind) not in tried:
            return found
    return None


STOPS_ALL = "disk-full"
"""Finding beside which nothing is mended: whatever is made anew, dumped or issued would need the space that is lacking."""


def decide(situation: Situation, finding: Finding, tried: Tried = frozenset(), *, full: bool = False) -> Repair | Instructions:
    """What to do about one finding. full: no space is left on a disk, so that nothing may be made."""
    way = None if full else next_way(situation, finding, tried)
    return way or instructions(situation, finding)


def nothing_may_be_made(diagnosis: Diagnosis) -> bool:
    return any(finding.id == STOPS_ALL for finding in diagnosis.findings)


def first_repair(situation: Situation, diagnosis: Diagnosis, tried: Tried = frozenset()) -> Repair | None:
    """The repair of the gravest cause that can be mended and has not been tried in this run."""
    if nothing_may_be_made(diagnosis):
        return None
    offered = (next_way(situation, finding, tried) for finding in diagnosis.findings)
    return next((repair for repair in offered if repair is not None), None)
