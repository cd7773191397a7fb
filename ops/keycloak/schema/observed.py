"""Reads what an image's Keycloak would migrate, and what the database holds. Nothing is started, nothing changed."""

from __future__ import annotations

import json
import zipfile
from calendar import timegm
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import strptime

from ops.core.errors import HostLacks, OpsError
from ops.core.plan import STAMP, Plan
from ops.deploy.containers import NEVER_STARTED
from ops.deploy.participant import Rules
from ops.engines.engine import Engine
from ops.keycloak.probe.container import HOME, Files
from ops.keycloak.schema.dump import ask, known_dumps
from ops.keycloak.schema.jars import MIGRATIONS, MODEL, jar
from ops.keycloak.schema.plan import (
    Dump,
    Schema,
    Server,
    changesets_of,
    described,
    judge,
    migrations_of,
    version_pinned,
    version_said,
)
from ops.keycloak.schema.upgrade import DATABASE, SLOT, Found, fits, never_back, starts_keycloak, with_database
from ops.project import Project
from ops.stack.images import WantedImage
from ops.stack.model import Seen
from ops.stack.wanted import Wanted

OWN = "cc03-%"
"""Users and clients of the stack itself: what they do is done again."""
_HERE = Path(__file__).parent


def with_schema(project: Project, plan: Plan, wanted: Wanted, seen: Seen, rules: Rules, release: int) -> Plan:
    """The plan with what Keycloak's database needs, where it starts a Keycloak that may be another than the last.

    Raises OpsError where that would be a downgrade that was not agreed to.
    """
    image, there = wanted.images.get(SLOT), seen.containers.get(SLOT)
    known = there is not None and image is not None and there.image == image.tag and there.state not in NEVER_STARTED
    made = seen.release is not None and "postgres" in seen.containers
    if image is None or known or not made or not starts_keycloak(plan):
        return plan
    return with_database(plan, inspect(project, image, built=image.tag in seen.images), rules, release)


def inspect(project: Project, image: WantedImage, *, built: bool) -> Found:
    """The image, the schema, the dumps, and what has come since the one that this image could run on."""
    engine = project.engine
    server = server_of(engine, image.tag) if built else Server(_pinned(image), built=False)
    try:
        schema = schema_of(engine)
    except OpsError:
        return Found(server, None, image.tag)
    if schema is None:
        return Found(server, None, image.tag, empty=True)
    dumps = tuple(known_dumps(project.state))
    fitting = [dump for dump in dumps if fits(dump, server)]
    return Found(server, schema, image.tag, dumps, since_of(engine, fitting[-1:]))


def server_of(engine: Engine, tag: str) -> Server:
    """What an image holds, read from its layers.

    Raises HostLacks where they hold no Keycloak that can be understood.
    """
    layers = Files.of({"State": {}, "GraphDriver": (engine.inspect_image(tag) or {}).get("GraphDriver", {})})
    version = version_said(layers.text(f"{HOME}/version.txt"))
    try:
        with zipfile.ZipFile(jar(layers, MODEL)) as model, zipfile.ZipFile(jar(layers, MIGRATIONS)) as migrations:
            return Server(version, True, changesets_of(model.read), migrations_of(migrations.namelist()))
    except (OSError, KeyError, zipfile.BadZipFile) as problem:
        raise HostLacks(
            f"cannot read which schema Keycloak {version or '?'} in {tag} needs", str(problem),
            "inv build, which makes the image anew where it is gone; else the version is not one that is known here",
        ) from problem  # fmt: skip


def _pinned(image: WantedImage) -> str:
    """The version that a build would make, by its Containerfile."""
    path = Path(image.context) / "Containerfile"
    return version_pinned(path.read_text(encoding="utf-8")) if image.context and path.is_file() else ""


def schema_of(engine: Engine, database: str = DATABASE) -> Schema | None:
    """What the database holds; None where no Keycloak has made its tables yet. Raises OpsError where it cannot be asked."""
    answer = ask(engine, database, (_HERE / "schema.sql").read_text(encoding="utf-8"))
    if not answer:
        return None
    found = json.loads(answer)
    return Schema(found["version"], frozenset(found["changesets"]), found["counts"])


def about(engine: Engine, why: str) -> dict[str, object]:
    """What is noted beside a dump of Keycloak's database. One that is broken is dumped all the same."""
    try:
        schema = schema_of(engine)
    except OpsError:
        schema = None
    if schema is None:
        return {"why": why}
    applied = sorted(schema.changesets)
    return {"why": why, "version": schema.version, "changesets": len(applied), "applied": applied, **schema.counts}


def since_of(engine: Engine, dumps: Iterable[Dump]) -> Mapping[str, Mapping[str, int]]:
    """Name of a dump -> what has come since. What cannot be asked is left out: a schema half way may lack a column."""
    found: dict[str, Mapping[str, int]] = {}
    for dump in dumps:
        at = str(timegm(strptime(dump.at, STAMP)))
        try:
            script = (_HERE / "since.sql").read_text(encoding="utf-8")
            found[dump.name] = json.loads(ask(engine, DATABASE, script, at=at, own=OWN))
        except OpsError:
            continue
    return found


def review(project: Project, tag: str) -> str:
    """What the image will migrate, in words; for the moment when it has been built and PostgreSQL answers.

    Raises OpsError where it would be a downgrade, or PostgreSQL does not answer.
    """
    server, schema = server_of(project.engine, tag), schema_of(project.engine)
    if schema is None:
        return "the database is empty: every table will be made"
    verdict = judge(server, schema)
    if verdict.downgrade:
        raise never_back(server, schema)
    return described(server, schema, verdict) if verdict.upgrade else "the database is as this Keycloak needs it"
