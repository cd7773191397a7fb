"""A deploy on an empty host whose data come out of a repository: what is fetched between creating and starting. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ops.backup.restore.plan import ROLE_SECRET
from ops.backup.restore.steps import (
    AgreeSecrets,
    DropSafety,
    FetchCluster,
    FetchFiles,
    FillVolume,
    PutBack,
    RecoverCluster,
    RemoveFetched,
    SetAside,
    VerifyRestored,
)
from ops.backup.steps import RunJob, WriteHostArchive
from ops.backup.target import PARTS
from ops.core.errors import HostLacks
from ops.core.plan import Plan, Step
from ops.deploy.steps import AwaitHealthy, StartContainer
from ops.secrets import verifying as handing
from ops.secrets.steps import HandOver
from ops.stack.model import Stack
from ops.stack.repositories import LOCAL, Repository

STAMP = "19700101T000000Z"
"""Names the safety copies of nothing, which go at once."""
BACKUP = "backup"


@dataclass(frozen=True)
class Found:
    """The newest set of a repository. snapshot: restic's id. release: what ran; images: service -> tag."""

    set: str
    made: datetime
    snapshot: str
    missing: tuple[str, ...]
    project: str
    commit: str
    release: int | None
    images: Mapping[str, str]
    repository: str = LOCAL
    """The one that the data come out of."""
    number: int = 1
    """By which pgBackRest knows it."""
    unopened: int = 0
    """How many newer sets the recovery keys did not open."""


def declared_as(settings: Sequence[Repository], read: Repository) -> tuple[str, int]:
    """(name, pgBackRest's number) of a repository by the settings of then, which may call and reach it otherwise.

    Raises HostLacks where they do not know it: this host could then not be told where the data are.
    """
    for number, one in enumerate(settings, start=2):
        if one.identity == read.identity:
            return one.name, number
    known = ", ".join(f"{one.name} ({one.told})" for one in settings) or "none"
    raise HostLacks(
        f"{read.told} is not among the repositories of that stack", f"its stack.yaml names {known}",
        "give it as it is named there; or copy the repository to this host and give the folder",
    )  # fmt: skip


def with_data(plan: Plan, found: Found, stack: Stack, versions: Mapping[str, int]) -> Plan:
    """The plan of a deploy, with every volume filled after its container was created and before it is started.

    What runs already was filled by a previous bootstrap that was interrupted, and is left alone.

    Parameters
    ----------
    stack: whose secrets are verified. versions: secret -> version.
    """
    starts = {step.slot: step for step in plan.steps if isinstance(step, StartContainer)}
    parts = [part for part in PARTS if part in starts and (part == "postgres" or part not in found.missing)]
    healthy = [step.key for step in plan.steps if isinstance(step, AwaitHealthy) and step.slot == BACKUP]
    before = tuple(dict.fromkeys((*healthy, *(key for part in parts for key in starts[part].after_keys))))
    filled: list[Step] = []
    for part in parts:
        # What a broken-off one has left is removed first.
        filled += [
            PutBack(f"clear {part}", f"clear the volume of {part}", before, part=part, stamp=STAMP),
            SetAside(f"aside {part}", f"check the volume of {part}", (f"clear {part}",), part=part, stamp=STAMP),
        ]
    waits = {part: f"fill {part}" for part in parts}
    if "postgres" in parts:
        newest, waits["postgres"] = ("--type=default", f"--repo={found.number}"), "recover postgres"
        filled += [
            FetchCluster("fetch postgres", "fetch PostgreSQL from the repository", ("aside postgres",), options=newest),
            RecoverCluster("recover postgres", "replay all available WAL and read every page", ("fetch postgres",)),
        ]
    files = tuple(part for part in parts if part != "postgres")
    if files:
        title = f"fetch {', '.join(files)} of {found.set}"
        # After PostgreSQL: both read the same disk, and PostgreSQL is what everybody waits for.
        after = (*(f"aside {part}" for part in files), *(("recover postgres",) if "postgres" in parts else ()))
        filled.append(FetchFiles("fetch files", title, after, set=found.set, repository=found.repository, parts=files))
        filled += [FillVolume(waits[part], f"move {part} into its place", ("fetch files",), part=part) for part in files]
        filled.append(RemoveFetched("tidy", "remove the unpacked files", tuple(waits[part] for part in files)))
    return replace(plan, steps=_woven(plan, filled, waits, stack, versions), destroys=())


def _woven(
    plan: Plan, filled: list[Step], waits: Mapping[str, str], stack: Stack, versions: Mapping[str, int]
) -> tuple[Step, ...]:  # fmt: skip
    agreed, known = "role keycloak", {step.key for step in plan.steps}
    steps: list[Step] = []
    for step in plan.steps:
        more: tuple[str, ...] = ()
        if isinstance(step, StartContainer) and step.slot in waits:
            more = (waits[step.slot],)
        elif isinstance(step, StartContainer) and step.slot == "keycloak":
            more = (agreed,)
        steps.append(replace(step, after=(*step.after, *more)) if more else step)
    title, after = "give Keycloak's role today's password", tuple({"healthy postgres"} & known)
    role = HandOver(agreed, title, after, secret=ROLE_SECRET, version=versions[ROLE_SECRET], to="role keycloak")
    all_of_it = tuple(step.key for step in (*steps, *filled))
    drops = [
        DropSafety(f"drop {part}", f"nothing was in the place of {part}", ("verify",), part=part, stamp=STAMP) for part in waits
    ]
    logins: list[Step] = []
    for login in handing.verified(stack, stack.services, versions, {}):
        # One after the other: Keycloak refuses a login of a user while another login of the same user is in progress.
        logins.append(replace(login, after=(logins[-1].key if logins else "agree",)))
    end = (
        AgreeSecrets("agree", "set the current secrets of Keycloak's clients and users", (*all_of_it, agreed)), *logins,
        VerifyRestored("verify", "verify: a login, a read and a write", (logins[-1].key if logins else "agree",)), *drops,
        WriteHostArchive("archive", "archive settings, secrets and releases for the backup", ("verify",)),
        RunJob("full", "make a full set of the new timeline", ("archive", *(step.key for step in drops)),
               argv=("set", "--kind", "full"), grave=False),
    )  # fmt: skip
    return _in_order((*steps, *filled, role, *end))


def _in_order(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Each step behind all that it waits for; else as they were."""
    ordered: dict[str, Step] = {}
    left = list(steps)
    while left:
        ready = next((step for step in left if ordered.keys() >= set(step.after_keys)), left[0])
        left.remove(ready)
        ordered[ready.key] = ready
    return tuple(ordered.values())
