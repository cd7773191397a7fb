"""compose/compose.yaml + settings -> Stack. Pure: text in, data out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ops.core.errors import UsageProblem
from ops.stack.applied_settings import filled, interruption, with_listener, with_repositories, with_way_out
from ops.stack.compose_keys import ServiceKeys
from ops.stack.contract import PARTS, smoke_path
from ops.stack.model import Limits, Service, Stack
from ops.stack.settings import Settings
from ops.stack.value_types import age_days, disk_bytes, memory_bytes
from ops.stack.yaml_model import load_yaml, misfits

_PLACEHOLDER = re.compile(r"\$\{(CC03_[A-Z_]+)(?::-([^}]*))?\}")


def url(domain: str, port: int) -> str:
    """https URL of a listener, without the port where it is the default."""
    return f"https://{domain}" + ("" if port == 443 else f":{port}")


def placeholders(settings: Settings, ports: Mapping[str, int]) -> dict[str, str]:
    """The names that compose.yaml and mounted configuration may use, and what they stand for on this host."""
    public, ops = url(settings.domain, ports["https"]), url("localhost", ports["ops"])
    return {
        "CC03_PROJECT": settings.project,
        "CC03_DOMAIN": settings.domain,
        "CC03_HTTP_PORT": str(ports["http"]),
        "CC03_HTTPS_PORT": str(ports["https"]),
        "CC03_OPS_PORT": str(ports["ops"]),
        "CC03_PUBLIC_URL": public,
        "CC03_OPS_URL": ops,
        "CC03_PAGES_URL": f"{public}/ops" if settings.pages.public else ops,
        "CC03_PAGES_OFF": "" if settings.pages.public else "# ",
        # Pods of one stack have addresses in many subnets; who may connect is for NetworkPolicies to say.
        "CC03_NEIGHBOURS": "all" if settings.engine.kubernetes else "samenet",
        "CC03_LOAD_BALANCERS": " ".join(f"set_real_ip_from {one};" for one in settings.load_balancer.addresses),
        **filled(ports),
        "CC03_METRICS_RETENTION": settings.retention.metrics,
        "CC03_METRICS_BYTES": str(disk_bytes(settings.retention.metrics_size)),
        "CC03_LOGS_RETENTION": settings.retention.logs,
        "CC03_LOGS_BYTES": str(disk_bytes(settings.retention.logs_size)),
        "CC03_LOGS_DAYS": str(age_days(settings.retention.logs)),
        # nginx refuses a share of 0 %.
        "CC03_TRACES_OFF": "" if settings.traces.sample else "# ",
        "CC03_TRACES_PERCENT": str(settings.traces.sample),
    }


def fill(text: str, values: Mapping[str, str], where: str) -> str:
    """Replace `${CC03_NAME}` and `${CC03_NAME:-default}`; anything else that starts with `$` is left alone.

    Raises UsageProblem for a name that does not exist and has no default.
    """

    def value_of(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        if name in values:
            return values[name]
        if default is not None:
            return default
        raise UsageProblem(
            f"{where} uses ${{{name}}}", f"known are {', '.join(sorted(values))}", f"correct the name in {where}"
        )

    return _PLACEHOLDER.sub(value_of, text)


_SLOT_LINE = re.compile(r"\$\{CC03_SLOT_([A-Z]+)\}")


def fill_config(text: str, values: Mapping[str, str], slots: Mapping[str, tuple[str, ...]], where: str) -> str:
    """`fill`, after repeating each line with `${CC03_SLOT_BACKEND}` once for every container of that service."""
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        match = _SLOT_LINE.search(line)
        if not match:
            lines.append(line)
            continue
        service = match[1].lower()
        if service not in slots:
            raise UsageProblem(f"{where} uses {match[0]}", f'there is no service "{service}"', f"correct the name in {where}")
        lines.extend(line.replace(match[0], slot) for slot in slots[service])
    return fill("".join(lines), values, where)


def _fill_tree(node: Any, values: Mapping[str, str]) -> Any:
    if isinstance(node, str):
        return fill(node, values, "compose/compose.yaml")
    if isinstance(node, list):
        return [_fill_tree(item, values) for item in node]
    if isinstance(node, dict):
        return {key: _fill_tree(item, values) for key, item in node.items()}
    return node


def parse_stack(
    text: str, settings: Settings, ports: Mapping[str, int], repository: Path, state: Path,
    scaled: Mapping[str, int] | None = None,
) -> Stack:  # fmt: skip
    """What is wanted, as compose.yaml and stack.yaml say it together.

    text: content of compose.yaml. ports: published ports by their key in stack.yaml.
    repository: the checkout, for build contexts. state: the project's state folder.
    scaled: service -> containers, as `inv scale` has said; it wins over stack.yaml.
    Raises UsageProblem where a build context that the settings name is not there.
    """
    raw = load_yaml(text)
    values = {**placeholders(settings, ports), "CC03_STATE": str(state), "CC03_SERVICES": "|".join(raw["services"])}
    document = _fill_tree(raw, values)
    if "backup" in document["services"]:
        with_repositories(document, settings)
        backup = document["services"]["backup"]
        backup["x-cc03"] = {**backup.get("x-cc03", {}), **interruption(settings)}
    destinations = with_way_out(document, settings)
    with_listener(document, ports)
    services = {name: _service(name, document["services"], settings, repository, scaled or {}) for name in document["services"]}
    return Stack(
        project=settings.project,
        services=services,
        networks={name: bool((spec or {}).get("internal")) for name, spec in document["networks"].items()},
        volumes=tuple(document.get("volumes", {})),
        secrets=tuple(document.get("secrets", {})),
        destinations=destinations,
    )


def _replicas(name: str, definition: Mapping[str, Any], settings: Settings, scaled: Mapping[str, int]) -> int:
    declared, chosen = definition["deploy"].get("replicas"), settings.replicas_of(name)
    if declared is None:
        if chosen is not None or name in scaled:
            raise UsageProblem(
                f"{name} cannot have several containers", "compose.yaml gives it no replicas: it is not made to share its work",
                f"remove replicas.{name} from {settings.source}",
            )  # fmt: skip
        return 1
    return int(scaled.get(name) or chosen or declared)


def _shared(definition: Mapping[str, Any]) -> str | None:
    """The service in whose network another one stands."""
    return str(definition.get("network_mode", "")).partition("service:")[2] or None


def _service(
    name: str, definitions: Mapping[str, dict[str, Any]], settings: Settings, repository: Path, scaled: Mapping[str, int]
) -> Service:  # fmt: skip
    definition = definitions[name]
    own = keys_of(name, definition)
    tls = own.tls
    reload_certificate = tls.reload or () if tls else ()
    shares = _shared(definition)
    limits = definition["deploy"]["resources"]["limits"]
    memory = settings.limit(name).memory
    cpus = settings.limit(name).cpus
    mounts = [str(volume) for volume in definition.get("volumes", [])]
    return Service(
        name=name,
        definition=definition,
        networks=tuple((definitions[shares] if shares else definition)["networks"]),
        secrets=tuple(definition.get("secrets", [])),
        volumes=tuple(mount.split(":")[0] for mount in mounts if not mount.startswith((".", "/"))),
        limits=Limits(
            memory if memory is not None else memory_bytes(limits["memory"]),
            cpus if cpus is not None else float(limits["cpus"]),
        ),
        replicas=_replicas(name, definition, settings, scaled),
        build=_context(name, definition, settings, repository),
        owner=int(str(definition.get("user", "0")).split(":")[0]),
        probe=own.health.ready,
        live=own.health.live,
        socket=own.health.socket,
        shares=shares,
        holds=next((other for other in definitions if _shared(definitions[other]) == name), None),
        reload=own.reload,
        check=own.check,
        smoke=_smoke(name, settings, repository) if name in PARTS else None,
        interrupts=own.downtime.effect if own.downtime else "",
        gap_seconds=own.downtime.seconds if own.downtime else 0.0,
        stops_requests=bool(own.downtime and own.downtime.stops_requests),
        needs=own.needs,
        api_secrets=own.api_secrets,
        stop_after=own.stop_after,
        migrate=own.migration.command if own.migration else None,
        migrates_as={name: one.model_dump() for name, one in own.migration.accounts.items()} if own.migration else {},
        late_secrets=own.late_secrets,
        credentials={secret: one.account for secret, one in own.credentials.items()},
        logins={secret: one.variable for secret, one in own.credentials.items() if one.variable},
        login_check=own.login_check or (),
        reconnect=own.reconnect,
        queue_requests=own.queue_requests,
        backup=own.backup_before_migration,
        optional=own.optional,
        start_seconds=settings.start_seconds(name) or own.start_seconds,
        has_config=any(mount.startswith("../config/") for mount in mounts),
        has_tls=any(mount.endswith(":/etc/tls:ro") for mount in mounts),
        listens=dict(tls.ports) if tls else {},
        reload_certificate=reload_certificate,
        reload_roots=() if not tls or tls.roots_at_start else tls.reload_roots or reload_certificate,
        roots_at_start=bool(tls and tls.roots_at_start),
        key_owner=tls.key_owner if tls else None,
        public=tls.public_port if tls else None,
        listen_network=own.listen_network or "",
    )


def keys_of(name: str, definition: Mapping[str, Any]) -> ServiceKeys:
    """What a service says below x-cc03. Raises UsageProblem where that is no such thing."""
    try:
        return ServiceKeys.model_validate(definition.get("x-cc03") or {})
    except ValidationError as problem:
        key, what, cure = next(misfits(ServiceKeys, problem))
        raise UsageProblem(
            f"compose/compose.yaml: x-cc03.{key} of {name} {what}", cure, "docs/reference/compose-keys.md lists the keys"
        ) from problem


def _smoke(name: str, settings: Settings, repository: Path) -> str:
    return smoke_path(name, repository / str(getattr(settings.build, name)) == repository / "compose" / name, settings)


def _context(name: str, definition: Mapping[str, Any], settings: Settings, repository: Path) -> Path | None:
    if "build" not in definition:
        return None
    if name in PARTS:
        context = repository / str(getattr(settings.build, name))
        if not (context / "Containerfile").is_file():
            raise UsageProblem(
                f"{settings.source}: build.{name} is {getattr(settings.build, name)!r}",
                f"there is no Containerfile in {context}",
                f"set build.{name} to the folder that holds the {name}'s Containerfile",
            )
        return context
    return repository / "compose" / str(definition["build"])
