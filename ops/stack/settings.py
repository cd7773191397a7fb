"""config/stack.yaml -> Settings. Unknown keys, wrong types and impossible combinations are refused with file and line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import yaml

from ops.core.errors import UsageProblem, did_you_mean
from ops.stack import issuers
from ops.stack.model import MAX_REPLICAS
from ops.stack.repositories import parse as parse_repositories

SERVICES = (
    "postgres", "redis", "keycloak", "backend", "frontend", "nginx",
    "prometheus", "alertmanager", "cadvisor", "logs", "backup", "grafana",
)  # fmt: skip
PARTS = ("edge",)
"""What compose.yaml has besides: a container that is a part of one of these services, with limits of its own."""


def _text(pattern: str, meaning: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(meaning)
        return value

    return parse


_DESTINATION = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9.-]{0,251}[a-zA-Z0-9])?:([1-9]\d{0,4})")


def _destinations(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise ValueError("a list such as [smtp.example.com:587]")
    for entry in value:
        found = _DESTINATION.fullmatch(str(entry))
        if not found or int(found[2]) > 65535:
            raise ValueError("a list of hosts with a port, such as [smtp.example.com:587, 192.0.2.7:443]")
    return list(dict.fromkeys(map(str, value)))


_EVERY = _text(r"\d{1,6}[smhd]", "a duration such as 90s, 15m, 6h or 1d; 0s turns it off")


def _clock(value: Any) -> str:
    """YAML 1.1 takes 10:30 for a number to the base of 60."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1440:
        value = f"{value // 60:02}:{value % 60:02}"
    if not isinstance(value, str) or not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value):
        raise ValueError("a time of day (UTC) such as 02:30")
    return value


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _networks(value: Any) -> list[str]:
    """Addresses and networks. One of all addresses is refused: whoever it was, would be believed."""
    try:
        if not isinstance(value, list) or not all(isinstance(one, str) and ip_network(one).prefixlen for one in value):
            raise ValueError
    except ValueError:
        raise ValueError("a list of addresses and networks such as [192.0.2.7, 198.51.100.0/24]") from None
    return value


_AGE = _text(r"\d+[dwy]", "an age such as 15d, 8w or 1y")


def age_days(age: str) -> int:
    """`14d`, `8w`, `1y` -> days."""
    return int(age[:-1]) * {"d": 1, "w": 7, "y": 365}[age[-1]]


_PATH_OF_PROGRAM = _text(r"(/[\x21-\x7e]+)?", "the absolute path of a program, or empty")
_PATH = _text(r"(/[\x21-\x7e]*)?", "a path such as /api/v1/probe, or empty")


def _number(low: int, high: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return value

    return parse


def _cpus(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.05 <= value <= 64:
        raise ValueError("a number of cores from 0.05 to 64")
    return float(value)


LEAST_MEMORY = 16 << 20
"""No service starts with less; and 0 would mean no limit at all."""
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def memory_bytes(value: Any) -> int:
    """`512m`, `2g` -> bytes. Raises ValueError for anything else."""
    match = re.fullmatch(r"(\d+)([kmg]?)b?", str(value).lower())
    if not match or isinstance(value, bool):
        raise ValueError("an amount of memory such as 512m or 2g")
    return int(match[1]) * UNITS[match[2]]


LEAST_DISK = 100 << 20


def disk_bytes(value: Any) -> int:
    """`500m`, `20g`, `1t` -> bytes. Raises ValueError for anything else, and for less than 100 MB."""
    match = re.fullmatch(r"(\d{1,6})([mgt])", str(value))
    amount = int(match[1]) << {"m": 20, "g": 30, "t": 40}[match[2]] if match else 0
    if amount < LEAST_DISK:
        raise ValueError("an amount of disk space such as 500m, 20g or 1t, at least 100m")
    return amount


def _disk_size(value: Any) -> str:
    disk_bytes(value)
    return str(value)


def _memory_limit(value: Any) -> int:
    if (amount := memory_bytes(value)) < LEAST_MEMORY:
        raise ValueError("16m at the least")
    return amount


@dataclass(frozen=True)
class Setting:
    """One key of stack.yaml: where it stands, how it is read, its default and what it means (for the reference)."""

    path: tuple[str, ...]
    parse: Callable[[Any], Any]
    default: Any
    meaning: str


SETTINGS = (
    Setting(("project",), _text(r"[a-z][a-z0-9-]{0,19}", "lower-case letters, digits and dashes, at most 20"), "cc03",
            "Name that keeps two stacks on one host apart. The variable CC03_PROJECT overrides it."),
    Setting(("domain",), _text(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", "a host name such as shop.example.com"), "localhost",
            "Host name of the public site; certificates, redirects and logins are made for it."),
    Setting(("ports", "http"), _number(1, 65535), 80, "Published port that redirects to HTTPS."),
    Setting(("ports", "https"), _number(1, 65535), 443, "Published port of the site."),
    Setting(("ports", "ops"), _number(1, 65535), 9443,
            "Port of the monitoring and administration pages, on 127.0.0.1 only."),
    Setting(("ports", "proxy_protocol"), _number(0, 65535), 0,
            "Published port of the site for load balancers that pass on TCP with the PROXY protocol; 0: none."),
    Setting(("load_balancer", "addresses"), _networks, [],
            "Load balancers in front of this host, whose `X-Forwarded-For` or PROXY protocol names the client "
            "(docs/how-to/load-balancer.md). Without them every client behind one counts as the same address."),
    Setting(("replicas", "*"), _number(1, MAX_REPLICAS), None,
            "Containers of that service behind nginx, for services to which compose.yaml gives replicas (backend: 2, "
            "frontend: 1). What `inv scale` said since this file was last changed wins."),
    Setting(("releases", "keep"), _number(5, 1000), 10,
            "Releases that are kept, with every image that they need; what a rollback needs is never removed."),
    Setting(("deploy", "settle"), _number(0, 300), 5,
            "Seconds that the first container of a new release must have run without fault before an old one is touched."),
    Setting(("build", "backend"), _text(r"\S+", "a folder"), "compose/backend",
            "Build context of the backend, relative to the repository or absolute."),
    Setting(("build", "frontend"), _text(r"\S+", "a folder"), "compose/frontend",
            "Build context of the frontend, relative to the repository or absolute."),
    Setting(("limits", "*", "memory"), _memory_limit, None, "Memory ceiling of each container of that service."),
    Setting(("limits", "*", "cpus"), _cpus, None, "CPU ceiling, in cores, of each container of that service."),
    Setting(("deadlines", "build"), _number(60, 7200), 1200, "Seconds that one image may take to build."),
    Setting(("deadlines", "start", "*"), _number(5, 3600), None,
            "Seconds that a container of that service may take until healthy, where compose.yaml's figure does not fit."),
    Setting(("deploy", "failed_requests"), _number(0, 1_000_000), 0,
            "Failed requests after which a deploy puts itself back."),
    Setting(("prober", "rate"), _number(0, 500), 20,
            "Requests a second that the prober sends through every deploy, as its users would; 0: no prober."),
    Setting(("prober", "get"), _PATH, "/api/v1/probe",
            "What the prober reads; empty leaves it out. A new backend must answer it through nginx before an old one is "
            "touched; where build.backend is another folder and this is not set, or empty, its ready path."),
    Setting(("prober", "post"), _PATH, "/api/v1/probe",
            "What it writes to, every fifth request, each with an Idempotency-Key of its own; empty leaves it out."),
    Setting(("prober", "websocket"), _PATH, "/api/v1/probe/ws",
            "WebSocket that it holds open and writes to once a second; it must echo. Empty leaves it out."),
    Setting(("prober", "download"), _PATH, "/api/v1/probe/slow?seconds=2",
            "Slow download that it always has one of; empty leaves it out."),
    Setting(("backup", "full_at"), _clock, "02:30", "When a full set is made (UTC); a missed one is made at once."),
    Setting(("backup", "full_every"), _EVERY, "1d", "How often: at that time of each day, or of each 7th with 7d."),
    Setting(("backup", "diff_every"), _EVERY, "6h", "How often a set of what changed since the last full one is made."),
    Setting(("backup", "incr_every"), _EVERY, "1h", "How often a set of what changed since the last one is made."),
    Setting(("backup", "drill_at"), _clock, "04:00",
            "When the newest set is restored, started, read to its end and compared with its manifest (UTC)."),
    Setting(("backup", "keep"), _number(1, 1000), 7,
            "Full sets that are kept in the local repository, with all sets and all WAL between them."),
    Setting(("backup", "synchronous"), _flag, False,
            "Whether a commit is acknowledged only once the backup container has it too: nothing that was acknowledged is "
            "lost with the disk of PostgreSQL, and every commit waits while that container is away."),
    Setting(("backup", "repositories"), parse_repositories, [],
            "More places for backups: folders on other disks, S3, SFTP (docs/how-to/backup.md, Somewhere else). "
            "Credentials are not among the settings: `inv backup.credentials`."),
    Setting(("certificates", "acme", "issuers"), issuers.parse, [],
            "Authorities that issue the certificate for the public name by ACME, the first choice first; the next one is asked "
            "where one does not issue. Empty: `inv certs.acme` is not used (docs/how-to/certificates.md)."),
    Setting(("certificates", "acme", "email"), _text(r"([^@\s,]+@[^@\s,]+)?", "an e-mail address, or empty"), "",
            "Address that an issuer may write to; part of the account from when it is opened."),
    Setting(("certificates", "acme", "challenge"), _text(r"http-01|dns-01", "http-01 or dns-01"), issuers.HTTP,
            "How an issuer sees that the name is yours: by a file that nginx serves on port 80, or by a record in the DNS."),
    Setting(("certificates", "acme", "hook"), _PATH_OF_PROGRAM, "",
            "With dns-01: the program that sets and removes the record (docs/how-to/certificates.md, By the DNS)."),
    Setting(("alerts", "destinations"), _destinations, [],
            "Where Alertmanager may connect to in order to notify somebody: the host and port of each SMTP server and webhook "
            "that config/alertmanager/alertmanager.yml names. Everything else is refused. Empty: it has no way out."),
    Setting(("retention", "metrics"), _AGE, "15d", "How long Prometheus keeps metrics."),
    Setting(("retention", "metrics_size"), _disk_size, "4g",
            "Disk space that metrics may take; beyond it Prometheus removes the oldest ones, however young they are, and the "
            "alert RetentionCutBySize fires."),
    Setting(("retention", "logs"), _AGE, "14d", "How long the log store keeps lines."),
    Setting(("retention", "logs_size"), _disk_size, "5g",
            "The same for log lines, of which the two newest days always stay."),
    Setting(("hooks", "seconds"), _number(1, 3600), 60, "Seconds that one hook in config/hooks/ may take."),
    Setting(("logs", "max_size_mb"), _number(1, 10240), 20, "Size at which one container's own log file starts afresh."),
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """The operator's choices, checked. `get("ports", "http")` returns the value or its default."""

    values: Mapping[tuple[str, ...], Any]
    source: Path
    own_project: bool = True
    """Whether the file itself is about this project; False where CC03_PROJECT names another one."""

    def get(self, *path: str) -> Any:
        if path in self.values:
            return self.values[path]
        for setting in SETTINGS:
            if _matches(setting.path, path):
                return setting.default
        raise KeyError(".".join(path))

    @property
    def project(self) -> str:
        return str(self.get("project"))

    @property
    def ports(self) -> dict[str, int]:
        """Key below `ports` -> published port of the host, without those that are turned off."""
        wanted = {setting.path[1]: int(self.get(*setting.path)) for setting in SETTINGS if setting.path[0] == "ports"}
        return {name: port for name, port in wanted.items() if port}

    @property
    def domain(self) -> str:
        return str(self.get("domain"))


def parse_settings(text: str, source: Path, project: str | None = None) -> Settings:
    """Read stack.yaml.

    Parameters
    ----------
    text: the file's content. source: its path, for messages.
    project: what CC03_PROJECT says; it wins over the file.

    Raises UsageProblem with file, line and a suggestion for whatever cannot be meant.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        said = getattr(problem, "problem", None) or problem
        raise UsageProblem(
            f"{source}:{line} is not valid YAML", str(said), f"correct line {line}, then run the command again"
        ) from problem
    values: dict[tuple[str, ...], Any] = {}
    for path, value, line in _leaves(root, (), source):
        values[path] = _read(path, value, source, line)
    own = project in (None, values.get(("project",), "cc03"))
    if project is not None:
        values["project",] = _variable("CC03_PROJECT", ("project",), project)
    settings = Settings(values, source, own)
    _refuse_contradictions(settings)
    return settings


def _matches(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    return len(pattern) == len(path) and all(
        want in (have, "*") and (want != "*" or have in (*SERVICES, *PARTS)) for want, have in zip(pattern, path, strict=True)
    )


def _leaves(node: yaml.Node | None, path: tuple[str, ...], source: Path) -> Iterator[tuple[tuple[str, ...], Any, int]]:
    """Every scalar of the document with its path and line; unknown keys are refused on the way."""
    if node is None:
        return
    line = node.start_mark.line + 1
    if not isinstance(node, yaml.MappingNode):
        try:
            yield path, yaml.SafeLoader("").construct_object(node, deep=True), line
        except (yaml.YAMLError, ValueError) as problem:
            raise UsageProblem(
                f"{source}:{line} {'.'.join(path)} cannot be read", str(problem).splitlines()[0], f"correct line {line}"
            ) from problem
        return
    given: set[str] = set()
    for key_node, value_node in node.value:
        key = str(key_node.value)
        known = _known_keys(path)
        if key not in known:
            where = ".".join(path) or "the top level"
            raise UsageProblem(
                f'{source}:{key_node.start_mark.line + 1} unknown setting "{key}" in {where}',
                did_you_mean(key, known) if known else f"{where} takes a single value",
                "correct the key; docs/reference/settings.md lists them all",
            )
        if key in given:
            raise UsageProblem(
                f'{source}:{key_node.start_mark.line + 1} "{key}" is there twice',
                "only one of the two can be meant",
                "remove one",
            )
        given.add(key)
        yield from _leaves(value_node, (*path, key), source)


def _known_keys(path: tuple[str, ...]) -> set[str]:
    depth = len(path)
    longer = (s.path for s in SETTINGS if len(s.path) > depth and _matches(s.path[:depth], path))
    keys = {pattern[depth] for pattern in longer}
    return (keys - {"*"}) | ({*SERVICES, *PARTS} if "*" in keys else set())


def _variable(name: str, path: tuple[str, ...], value: str) -> Any:
    """The setting that a variable of the environment gives."""
    try:
        return next(setting for setting in SETTINGS if setting.path == path).parse(value)
    except ValueError as problem:
        raise UsageProblem(f"{name} is {value!r}", f"it must be {problem}", f"export {name}=NAME, or unset {name}") from problem


def _read(path: tuple[str, ...], value: Any, source: Path, line: int) -> Any:
    for setting in SETTINGS:
        if _matches(setting.path, path):
            try:
                return setting.parse(value)
            except ValueError as problem:
                said = "has no value" if value is None else f"is {value!r}"
                raise UsageProblem(
                    f"{source}:{line} {'.'.join(path)} {said}", f"it must be {problem}", f"correct line {line}"
                ) from problem
    raise UsageProblem(
        f"{source}:{line} {'.'.join(path)} needs keys below it", f"found {value!r}", "docs/reference/settings.md shows the form"
    )


KEYCLOAK_MINIMUM = 1250 << 20
"""Keycloak's sizing guide: 1250 MB of base memory for one instance."""


def _refuse_contradictions(settings: Settings) -> None:
    ports: dict[int, str] = {}
    for name, port in settings.ports.items():
        if port in ports:
            raise UsageProblem(
                f"{settings.source}: ports.{ports[port]} and ports.{name} are both {port}",
                "one port of the host can serve one of them only",
                f"give ports.{name} another number",
            )
        ports[port] = name
    if "proxy_protocol" in settings.ports and not settings.get("load_balancer", "addresses"):
        raise UsageProblem(
            f"{settings.source}: ports.proxy_protocol is set, and load_balancer.addresses is empty",
            "nobody would be believed, and all users behind the load balancer would count as one",
            "load_balancer.addresses: the addresses from which it connects (docs/how-to/load-balancer.md)",
        )
    _refuse_challenge_without_hook(settings)
    memory = settings.get("limits", "keycloak", "memory")
    if memory is not None and memory < KEYCLOAK_MINIMUM:
        raise UsageProblem(
            f"{settings.source}: limits.keycloak.memory is {memory >> 20} MB",
            "Keycloak needs 1250 MB and is killed by the kernel under load with less",
            "set limits.keycloak.memory to 1250m or more (default 2g)",
        )


def _refuse_challenge_without_hook(settings: Settings) -> None:
    challenge, hook = (settings.get("certificates", "acme", name) for name in ("challenge", "hook"))
    if challenge == issuers.DNS and not hook:
        raise UsageProblem(
            f"{settings.source}: certificates.acme.challenge is {issuers.DNS}, and there is no hook",
            "somebody has to set the record in the DNS, and every provider has another way",
            "certificates.acme.hook: the path of a program that does (docs/how-to/certificates.md, By the DNS)",
        )
