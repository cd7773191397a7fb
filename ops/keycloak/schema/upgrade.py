"""A plan that starts another Keycloak on a database: the dump before, the way back, what would be lost on it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from ops.core.errors import OpsError
from ops.core.plan import Plan, Step, linked
from ops.deploy.participant import Rules
from ops.deploy.steps import (
    AwaitHealthy,
    CreateContainers,
    PromoteContainer,
    RemoveContainer,
    RestartContainer,
    StartContainer,
    Supervise,
)
from ops.images.steps import BuildImage, FetchImage
from ops.keycloak.realm.steps import ApplyRealm
from ops.keycloak.repair.steps import VerifyLogins
from ops.keycloak.schema.plan import Dump, Schema, Server, described, judge, newest_first, numbers, when
from ops.keycloak.schema.steps import DropBeside, DumpDatabase, RestoreDatabase, ReviewMigrations

SLOT = "keycloak"
DATABASE = "keycloak"
DUMP, RESTORE, REVIEW, VERIFY = "dump keycloak", "restore keycloak", "review keycloak", "verify logins"


@dataclass(frozen=True)
class Found:
    """What was read: the wanted image, the present schema (None where it cannot be asked), the dumps on this host."""

    server: Server
    schema: Schema | None
    tag: str = ""
    dumps: tuple[Dump, ...] = ()
    since: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Name of a dump -> what has come since, by kind, without what the stack does itself; absent: unknown."""
    empty: bool = False
    """Whether the database answers and no Keycloak has made its tables yet."""


def starts_keycloak(plan: Plan) -> bool:
    return any(isinstance(step, StartContainer | RestartContainer) and step.slot == SLOT for step in plan.steps)


def with_database(plan: Plan, found: Found, rules: Rules, release: int = 0) -> Plan:
    """The plan, with what the database needs before this Keycloak may start on it.

    release: number of the release that is brought about, for messages.
    Raises OpsError where it would be a downgrade that was not agreed to, or for which there is no dump.
    """
    schema = found.schema
    if found.empty:
        return plan
    if schema is None:
        return _unseen(plan, found)
    verdict = judge(found.server, schema)
    own = own_dump(found, rules)
    if own and changed_since(own, schema) and fits(own, found.server):
        return _with_restore(plan, found.server, own, dump_first=False)
    if verdict.downgrade:
        return _way_back(plan, found, schema, rules, release)
    if not verdict.upgrade:
        return plan
    noted = replace(plan, notes=(*plan.notes, described(found.server, schema, verdict)))
    return _with_dump(noted, found, review=not found.server.built)


def _unseen(plan: Plan, found: Found) -> Plan:
    note = (
        f"the database cannot be asked now which Keycloak it was migrated by; that is done before Keycloak "
        f"{found.server.version} starts, and a dump taken"
    )
    return _with_dump(replace(plan, notes=(*plan.notes, note)), found, review=True)


def own_dump(found: Found, rules: Rules) -> Dump | None:
    """The dump that this very command has taken, the newest one."""
    if not rules.own_since:
        return None
    return next((dump for dump in newest_first(found.dumps, DATABASE) if dump.at >= rules.own_since), None)


def fits(dump: Dump, server: Server) -> bool:
    """Whether a dump is of a schema that this Keycloak may run on as it is: with the change sets that it knows, and no others.

    Dumps of earlier releases of this repository say only how many they are. Within a minor version they only become more.
    """
    if not dump.version or not server.built:
        return bool(dump.version) and numbers(dump.version)[:2] == numbers(server.version)[:2]
    if "applied" not in dump.about:
        same = numbers(dump.version)[:2] == numbers(server.version)[:2]
        return same and int(dump.about.get("changesets", 0)) <= len(server.changesets)
    verdict = judge(server, Schema(dump.version, frozenset(dump.about["applied"])))
    return not (verdict.downgrade or verdict.changesets or verdict.migrations)


def changed_since(dump: Dump, schema: Schema) -> bool:
    """Whether the schema is another one than at the time of the dump."""
    return (dump.about.get("version"), dump.about.get("changesets")) != (schema.version, len(schema.changesets))


def words(counts: Mapping[str, int]) -> str:
    """`3 users, 1 login`, leaving out what there is none of."""
    said = [f"{number} {kind if number != 1 else kind.removesuffix('s')}" for kind, number in counts.items() if number]
    return ", ".join(said) or "nothing"


def _way_back(plan: Plan, found: Found, schema: Schema, rules: Rules, release: int) -> Plan:
    """An older Keycloak than the one that has changed the database: only on a dump of its own time."""
    older = _older(found.server, schema)
    dump = next((dump for dump in newest_first(found.dumps, DATABASE) if fits(dump, found.server)), None)
    if dump is None:
        raise OpsError(
            older, f"it cannot run on that schema, and no dump of its time is kept ({_known(found)})",
            f"go on with Keycloak {schema.version} or later: correct KEYCLOAK_VERSION in compose/keycloak/Containerfile",
        )  # fmt: skip
    since = found.since.get(dump.name)
    if rules.with_database or (since is not None and not any(since.values()) and plan.verb == "rollback"):
        lost = words(since) if since is not None else "an unknown number of users, logins and changes"
        destroys = (f"what has come into Keycloak since {when(dump.at)}: {lost} (a dump of it is taken first)",)
        changed = replace(plan, destroys=(*plan.destroys, *(destroys if since is None or any(since.values()) else ())))
        return _with_restore(changed, found.server, dump, dump_first=True)
    if plan.verb != "rollback":
        raise never_back(found.server, schema)
    lost = words(since) if since is not None else "what has come since, which cannot be counted now"
    number = f" --to {release}" if release else ""
    raise OpsError(
        older, f"going back means the dump of {when(dump.at)} ({words(_counts(dump))}), and loses {lost}",
        f"inv rollback{number} --with-database, if that may go; else correct forward: inv deploy",
    )  # fmt: skip


def never_back(server: Server, schema: Schema) -> OpsError:
    return OpsError(
        _older(server, schema), "Keycloak never goes back in place; the dump from before the upgrade does",
        f"keep KEYCLOAK_VERSION={schema.version} in compose/keycloak/Containerfile; or, to a release of that time: "
        "inv rollback --to N --with-database",
    )  # fmt: skip


def _older(server: Server, schema: Schema) -> str:
    foreign = judge(server, schema).foreign
    half = foreign and numbers(schema.version)[:2] == numbers(server.version)[:2]
    by = f"a later version has begun to migrate ({len(foreign)} change sets)" if half else f"{schema.version} has migrated"
    return f"Keycloak {server.version} is older than the database, which {by}"


def _known(found: Found) -> str:
    kept = [f"{when(dump.at)} of {dump.version or '?'}" for dump in newest_first(found.dumps, DATABASE)]
    return f"kept: {', '.join(kept)}" if kept else "none is kept at all"


def _counts(dump: Dump) -> Mapping[str, int]:
    return {kind: int(dump.about.get(kind, 0)) for kind in ("users", "clients", "realms")}


def _with_dump(plan: Plan, found: Found, *, review: bool) -> Plan:
    """A dump once the old Keycloak has stopped, so that no write is missing from it, and before the new one starts."""
    steps, first = list(plan.steps), _gates(plan.steps)
    if review:
        images = tuple(step for step in steps if isinstance(step, BuildImage | FetchImage) and step.name == SLOT)
        title = f"list what Keycloak {found.server.version} will migrate".replace("  ", " ")
        reviewed = ReviewMigrations(REVIEW, title, (*images, *_postgres(steps)), tag=found.tag)
        steps = _with(steps, reviewed, lambda step: _ends(step) or _takes_place(step), waits=_ends)
        first = (*first, reviewed)
    dump = DumpDatabase(DUMP, "dump Keycloak's database", first, database=DATABASE)
    steps = _with([_once(step) for step in steps], dump, _takes_place, waits=_takes_place)
    return replace(plan, steps=_after_health(steps, VerifyLogins(VERIFY, "try logins")))


def _with_restore(plan: Plan, server: Server, dump: Dump, *, dump_first: bool) -> Plan:
    """The dump is restored once nothing writes any more, and before its own Keycloak starts."""
    steps, first = list(plan.steps), _gates(plan.steps)
    if dump_first:
        now = DumpDatabase(DUMP, "dump Keycloak's database as it is now", first, database=DATABASE)
        steps, first = _with(steps, now, _takes_place), (*first, now)
    title = f"restore Keycloak's database as of {when(dump.at)}"
    restore = RestoreDatabase(RESTORE, title, first, database=DATABASE, path=f"dumps/{dump.name}")
    # A container in its place has been preceded by this, so that it may be started whatever was killed meanwhile.
    steps = _with(steps, restore, _takes_place, waits=_takes_place)
    note = f"Keycloak {server.version} gets its database of {when(dump.at)} back: {words(_counts(dump))}"
    drop = DropBeside("drop former keycloak", "drop the replaced database", database=DATABASE)
    return replace(plan, notes=(*plan.notes, note), steps=_after_health(steps, drop))


def _with(
    steps: list[Step], more: Step, where: Callable[[Step], bool], waits: Callable[[Step], bool] = lambda step: False
) -> list[Step]:
    """The steps with one more, in an order in which they could run.

    where: of which steps it is listed before the first. waits: which steps wait for it.
    """
    first = next(number for number, step in enumerate(steps) if where(step))
    waiting = [replace(step, after=(*step.after, more)) if waits(step) else step for step in steps]
    return [*waiting[:first], more, *waiting[first:]]


def _takes_place(step: Step) -> bool:
    return _is_start(step) or (isinstance(step, PromoteContainer) and step.slot == SLOT)


def _ends(step: Step) -> bool:
    return isinstance(step, RemoveContainer) and step.slot == SLOT


def _is_start(step: Step) -> bool:
    return isinstance(step, StartContainer | RestartContainer) and step.slot == SLOT


def _once(step: Step) -> Step:
    """A migration that fails ends the process: waiting for ten minutes would only repeat it."""
    return replace(step, proof=replace(step.proof, once=True)) if isinstance(step, AwaitHealthy) and step.slot == SLOT else step


def _postgres(steps: Iterable[Step]) -> tuple[Step, ...]:
    return tuple(step for step in steps if isinstance(step, AwaitHealthy) and step.slot == "postgres")


def _gates(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Steps after which nothing writes to the database any more and PostgreSQL answers."""
    planned = list(steps)
    start = next(step for step in planned if _is_start(step))
    before = [step for step in start.after if not isinstance(step, PromoteContainer | CreateContainers)]
    gates = [*filter(_ends, planned), *before, *_postgres(planned)]
    return tuple({step.key: step for step in gates}.values())


def _after_health(steps: list[Step], more: Step) -> tuple[Step, ...]:
    healthy = [step for step in steps if isinstance(step, AwaitHealthy) and step.slot == SLOT]
    added = replace(more, after=(*healthy, *(step for step in steps if isinstance(step, ApplyRealm))))
    last = [replace(step, after=(*step.after, added)) for step in steps if isinstance(step, Supervise)]
    return linked((*(step for step in steps if not isinstance(step, Supervise)), added, *last))
