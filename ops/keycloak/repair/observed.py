"""Everything that a repair is decided from: the diagnosis' facts, and the sealed releases beside what runs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

from ops.core.errors import HostLacks, OpsError
from ops.keycloak.failures.facts import Facts
from ops.keycloak.probe.container import addresses, inspected, strangers
from ops.keycloak.probe.gather import look
from ops.keycloak.repair.situation import KEYCLOAK, NGINX, POSTGRES, Situation, drift_of, is_keycloak, with_older_keycloak
from ops.keycloak.schema.observed import schema_of, server_of
from ops.keycloak.schema.plan import judge
from ops.observed import observe
from ops.project import Project, targets_of
from ops.stack.model import Seen
from ops.stack.release import good_releases
from ops.stack.wanted import Wanted
from ops.store.releases import activations, current_number, next_number

OLDEST = 8
"""Earlier releases that are looked at."""


def situation(project: Project) -> Situation:
    """Look at everything. Raises HostLacks or OpsError where Podman cannot be asked."""
    wanted = _current(project)
    with ThreadPoolExecutor(max_workers=2) as pool:
        looking = pool.submit(look, project)
        seen = _observed(project, wanted)
        facts = looking.result()
    item = inspected(project).get(KEYCLOAK)
    neighbours, keycloaks = _neighbours(project, facts)
    facts = replace(facts, neighbours=neighbours, other_keycloaks=keycloaks)
    found = Situation(facts, seen, wanted, next_number=next_number(project.state))
    if wanted is None or KEYCLOAK not in wanted.compose["services"]:
        return found
    sealed = str((seen.release or {}).get("image_ids", {}).get(KEYCLOAK, "")).removeprefix("sha256:")
    tag = wanted.images[KEYCLOAK].tag
    named, kept = project.engine.inspect_image(tag), project.engine.inspect_image(sealed) if sealed else None
    retag = sealed if kept and (named is None or named["Id"] != kept["Id"]) else ""
    drift = tuple(drift_of(item, wanted.compose["services"][KEYCLOAK], kept or named)) if item else ()
    edited = tuple(name for name in (KEYCLOAK, NGINX) if _edited(project, wanted, seen, name))
    told = (*drift, *(f"its tag names another image than release {wanted.number} was sealed with" for _ in (1,) if retag),
            *(f"configuration of {name} was edited" for name in edited))  # fmt: skip
    older = next(_older(project, wanted, seen), None)
    return replace(
        found, drift=told, edited=edited, retag=retag, older=older[0] if older else None,
        older_number=older[1] if older else 0,
    )  # fmt: skip


def _current(project: Project) -> Wanted | None:
    number = current_number(project.state)
    with suppress(HostLacks):
        return project.wanted_again(number) if number is not None else None
    return None


def _observed(project: Project, wanted: Wanted | None) -> Seen:
    """What a plan needs. Only those are asked for their health that a repair may touch."""
    if wanted is None:
        return observe(project, (), None, with_health=False)
    targets = targets_of(project.state, wanted.stack, wanted.allocation)
    asked = [one for one in targets if one.service in (POSTGRES, NGINX, wanted.stack.services[NGINX].shares)]
    return observe(project, asked, None)


def _edited(project: Project, wanted: Wanted, seen: Seen, service: str) -> bool:
    """Whether the folder that the service's containers see holds something else than the release."""
    version = wanted.config.get(service)
    if version is None:
        return False
    folder = project.state.config / service / version
    held = {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8", errors="replace")
        for path in (sorted(folder.rglob("*")) if folder.is_dir() else ()) if path.is_file()
    }  # fmt: skip
    return seen.config_current.get(service) != version or held != dict(wanted.config_files[service])


def _older(project: Project, wanted: Wanted, seen: Seen) -> Iterator[tuple[Wanted, int]]:
    """Earlier releases that have served, newest first, with another Keycloak whose image is still here."""
    good = sorted(good_releases(activations(project.state)), reverse=True)
    for number in [one for one in good if wanted.number is None or one < wanted.number][:OLDEST]:
        with suppress(HostLacks):
            earlier = project.wanted_again(number)
            mixed = with_older_keycloak(wanted, earlier)
            if mixed is not None and mixed.images[KEYCLOAK].tag in seen.images and _fits(project, wanted, mixed):
                yield mixed, number


def _fits(project: Project, wanted: Wanted, earlier: Wanted) -> bool:
    """Whether the earlier release's Keycloak runs on the present schema: a repair never goes back past a migration."""
    tag = earlier.images[KEYCLOAK].tag
    if tag == wanted.images[KEYCLOAK].tag:
        return True
    server = server_of(project.engine, tag)
    try:
        there = schema_of(project.engine)
    except OpsError:
        # A database that cannot be asked may be what is broken: then only a Keycloak with the very same change sets will do.
        return server.changesets == server_of(project.engine, wanted.images[KEYCLOAK].tag).changesets
    return there is None or not judge(server, there).downgrade


def _neighbours(project: Project, facts: Facts) -> tuple[dict[str, str], frozenset[str]]:
    """Address -> running container on this project's networks that is not this project's, and which of them are a Keycloak.
    Asked only where a session comes from an address that is not Keycloak's."""
    if not any(one.address and one.address not in facts.container.addresses for one in facts.postgres.sessions):
        return {}, frozenset()
    found: dict[str, str] = {}
    keycloaks = set()
    for item in strangers(project, ("data", "app")):
        if is_keycloak(item):
            keycloaks.add(str(item["Name"]))
        found |= {address: str(item["Name"]) for address in addresses(item)}
    return found, frozenset(keycloaks)
