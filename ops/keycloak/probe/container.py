"""What Podman and the kernel say of Keycloak's container, and what stands in its files, whether it runs or not."""

from __future__ import annotations

import json
import re
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ops.core.state import State
from ops.engines.podman.host import Host
from ops.engines.podman.observe import CGROUPS, container, inspected_containers, usage
from ops.engines.podman.supervisor.health import LOST, failure_of, state_of
from ops.keycloak.failures.facts import OURS, ContainerFacts, ServerFacts
from ops.keycloak.schema.jars import changesets
from ops.project import Project
from ops.stack.model import LABEL_PROJECT
from ops.stack.render import network_name

SLOT = "keycloak"
HOME = "opt/keycloak"
SAMPLE_SECONDS = 1.2
"""Twelve periods of the CPU quota, if it works all the while."""
SECRET = re.compile(r"password|secret|token|key-store", re.IGNORECASE)
HIDDEN = "[REDACTED]"
CONF = "keycloak.conf"
EVENTS_SECONDS = 3.0


def inspected(project: Project) -> Mapping[str, Mapping[str, Any]]:
    """Slot -> what Podman says of its container."""
    return inspected_containers(project.host)


def state(item: Mapping[str, Any]) -> str:
    """Podman's state of a container, or `lost`."""
    return state_of(item)


def strangers(project: Project, networks: Iterable[str]) -> Iterator[Mapping[str, Any]]:
    """What Podman says of running containers on these networks that are none of the project's slots."""
    for network in networks:
        on = ("--filter", f"network={network_name(project.name, network)}")
        ids = project.host.run(("podman", "ps", "--quiet", "--no-trunc", *on), ok=None).stdout.split()
        answer = project.host.run(("podman", "container", "inspect", *ids), ok=None) if ids else None
        for item in json.loads(answer.stdout or "[]") if answer else ():
            own = (item["Config"].get("Labels") or {}).get(LABEL_PROJECT) == project.name
            # A copy may bear the labels of a slot.
            if not own or str(item["Name"]).removeprefix(f"{project.name}-") not in project.deployed.slots():
                yield item


def stop_stranger(host: Host, name: str, grace: int) -> None:
    host.run(("podman", "stop", "--time", str(grace), name), timeout=grace + 60)


def start_stranger(host: Host, name: str) -> None:
    host.run(("podman", "start", name))


@dataclass(frozen=True)
class Files:
    """A container's files: those of its process, or, where it has none, the layers of its image, the upper ones first."""

    roots: tuple[Path, ...]

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Files:
        """`item`: what `podman container inspect` says."""
        pid = int(item["State"].get("Pid") or 0)
        if pid and state_of(item) == "running":
            return cls((Path(f"/proc/{pid}/root"),))
        layers = item.get("GraphDriver", {}).get("Data") or {}
        return cls(
            tuple(Path(path) for key in ("UpperDir", "LowerDir") for path in str(layers.get(key, "")).split(":") if path)
        )

    def find(self, path: str) -> Path | None:
        """A file or folder by its path without the first slash. No link on the way is followed: an absolute one would
        lead into the host's own files."""
        for root in self.roots:
            found, parts = root / path, Path(path).parts
            if found.exists() and not any((root / Path(*parts[:number])).is_symlink() for number in range(1, len(parts) + 1)):
                return found
        return None

    def has(self, path: str) -> bool:
        """Whether something is there, if only a link."""
        return any((root / path.lstrip("/")).is_symlink() or (root / path.lstrip("/")).exists() for root in self.roots)

    def text(self, path: str) -> str:
        found = self.find(path)
        return found.read_text(encoding="utf-8", errors="replace") if found and found.is_file() else ""


def container_facts(
    item: Mapping[str, Any] | None, start_seconds: float, stale: tuple[str, ...], empty: tuple[str, ...] = ()
) -> ContainerFacts:
    """State, memory and CPU. Takes SAMPLE_SECONDS where it runs.

    start_seconds: how long a start may take. stale: secrets of which it holds an older value. empty: those without a value.
    """
    if item is None:
        return ContainerFacts(status="missing", running_seconds=None, healthcheck="", empty_secrets=empty)
    seen = container(SLOT, item, {SLOT: item})
    before = _throttling(item)
    used = usage({SLOT: item}, SAMPLE_SECONDS).get(SLOT) if seen.state == "running" else None
    after = _throttling(item)
    return ContainerFacts(
        status="lost" if seen.state == LOST else seen.state, exit_code=seen.exit_code, oom_killed=seen.oom_killed,
        age_seconds=age(item), restarts=seen.restarts, running_seconds=seen.running_seconds, start_seconds=start_seconds,
        healthcheck=seen.health, healthcheck_said=failure_of(item),
        addresses=addresses(item),
        memory_bytes=used.memory_bytes if used else None, memory_limit_bytes=item["HostConfig"].get("Memory") or None,
        cpu_periods=after[0] - before[0] if before and after else None,
        cpu_throttled=after[1] - before[1] if before and after else None, stale_secrets=stale, empty_secrets=empty,
    )  # fmt: skip


def age(item: Mapping[str, Any]) -> float | None:
    """Seconds since a container was made."""
    try:
        # Nanoseconds are more than fromisoformat takes before Python 3.11.
        return time.time() - datetime.fromisoformat(str(item.get("Created", ""))).timestamp()
    except ValueError:
        return None


def last_exit(host: Host, item: Mapping[str, Any] | None) -> int | None:
    """Exit code of its last end; None where it has not been restarted by its policy: who restarts it by hand may kill it."""
    if item is None or not int(item.get("RestartCount") or 0):
        return None
    # What its state says is of the present attempt alone.
    ends = ("--since", "10m", "--filter", f"container={item['Id']}", "--filter", "event=died", "--format", "json")
    answer = host.run(("podman", "events", "--stream=false", *ends), timeout=EVENTS_SECONDS, ok=None)
    lines = answer.stdout.split("\n") if answer.returncode == 0 else []
    codes = [json.loads(line).get("ContainerExitCode") for line in lines if line.startswith("{")]
    return int(codes[-1]) if codes and codes[-1] is not None else None


def addresses(item: Mapping[str, Any]) -> frozenset[str]:
    """Its addresses on the networks of the project."""
    networks = item.get("NetworkSettings", {}).get("Networks") or {}
    return frozenset(str(network["IPAddress"]) for network in networks.values() if network.get("IPAddress"))


def _throttling(item: Mapping[str, Any]) -> tuple[int, int] | None:
    """Periods of the CPU quota so far, and those in which it was used up; None where no quota is counted."""
    try:
        lines = Path(f"/proc/{item['State'].get('Pid') or 0}/cgroup").read_text().splitlines()
        paths = {name: path for _, names, path in (line.split(":", 2) for line in lines) for name in names.split(",")}
        folder = CGROUPS / "cpu" / paths["cpu"].lstrip("/") if "cpu" in paths else CGROUPS / paths[""].lstrip("/")
        counted = dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())
        return int(counted["nr_periods"]), int(counted["nr_throttled"])
    except (OSError, KeyError, ValueError):
        return None


def stale_secrets(item: Mapping[str, Any], state: State, versions: Mapping[str, int]) -> tuple[str, ...]:
    """Secrets of which the running container holds another value than the state folder.

    versions: secret -> version that it should have.
    """
    files = Files.of(item)
    stale = []
    for name, version in sorted(versions.items()):
        wanted = state.secrets / name / str(version)
        held, value = files.text(f"run/secrets/{name}"), _text(wanted).strip()
        if held and value and value != held.strip():
            stale.append(name)
    return tuple(stale)


def empty_secrets(state: State, versions: Mapping[str, int]) -> tuple[str, ...]:
    """Secrets of which the state folder holds no value."""
    return tuple(name for name, version in sorted(versions.items()) if not _text(state.secrets / name / str(version)).strip())


def edited(config: Path, sealed: Path) -> tuple[str, ...]:
    """In what the mounted configuration is not the release's: options of keycloak.conf by name, other files by theirs."""
    names = {path.name for path in sealed.glob("*")} if sealed.is_dir() else set()
    different = sorted(name for name in names if _text(config / name) != _text(sealed / name))
    if CONF not in different:
        return tuple(different)
    here, there = set(options(_text(config / CONF)).items()), set(options(_text(sealed / CONF)).items())
    return tuple(sorted({name for name, _ in here ^ there}) or [CONF]) + tuple(name for name in different if name != CONF)


def server_facts(item: Mapping[str, Any] | None, config: Path, sealed: Path) -> ServerFacts:
    """What is built in, and what it is started with.

    config: folder of its configuration on the host. sealed: the same in the release.
    """
    realm_files, changed = dict(_realm_files(config)), edited(config, sealed)
    configured = options(_text(config / CONF))
    if item is None:
        return ServerFacts(options=configured or None, realm_files=realm_files, edited=changed)
    files = Files.of(item)
    running = options(files.text("run/keycloak/keycloak.conf")) or configured
    environment = _environment(item)
    paths = (running.get("truststore-paths") or environment.get("KC_TRUSTSTORE_PATHS", "")).split(",")
    return ServerFacts(
        built=_built(files), version="".join(files.text(f"{HOME}/version.txt").split()[-1:]), command=_command(item, files),
        changesets=changesets(files), environment=environment, options=running or None,
        jvm=tuple(files.text(f"{HOME}/conf/jvm.options").splitlines()),
        realm_files=realm_files, edited=changed, h2_files=tuple(_h2(files)),
        truststores_missing=tuple(path.strip() for path in paths if path.strip() and not files.has(path.strip())),
    )  # fmt: skip


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def options(text: str) -> dict[str, str]:
    """keycloak.conf, or the options that a build has persisted: name -> value; those of secrets are hidden."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.lstrip().startswith(("#", "!")))
    found = {name.strip(): value.strip() for name, _, value in pairs}
    return {name: HIDDEN if SECRET.search(name) else value for name, value in found.items()}


def _built(files: Files) -> dict[str, str] | None:
    """What `kc.sh build` has persisted, as PersistedConfigSource reads it; empty where nothing was built."""
    if files.find(f"{HOME}/lib") is None:
        return None
    path = files.find(f"{HOME}/lib/quarkus/generated-bytecode.jar")
    if path is None:
        return {}
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read("META-INF/keycloak-persisted.properties").decode("utf-8", errors="replace")
    except (OSError, KeyError, zipfile.BadZipFile):
        return {}
    persisted = options(text.replace("\\:", ":").replace("\\=", "="))
    return {name.removeprefix("kc."): value for name, value in persisted.items() if name.startswith("kc.")}


def _command(item: Mapping[str, Any], files: Files) -> tuple[str, ...]:
    """The words of its main process; where it has none, those with which its entry point would start it."""
    pid = int(item["State"].get("Pid") or 0)
    if pid and (words := _text(Path(f"/proc/{pid}/cmdline")).split("\0")):
        return tuple(word for word in words if word)
    given = item["Config"].get("Entrypoint") or ""
    words = [*(given.split() if isinstance(given, str) else given), *(item["Config"].get("Cmd") or [])]
    script = files.text(words[0].lstrip("/")) if words else ""
    last = script.replace("\\\n", " ").rpartition("\nexec ")[2] if "\nexec " in script else ""
    return (*words, *last.split())


def _environment(item: Mapping[str, Any]) -> dict[str, str]:
    pairs = (str(line).partition("=") for line in item["Config"].get("Env") or [])
    ours = {name: value for name, _, value in pairs if name.startswith(OURS)}
    return {name: HIDDEN if SECRET.search(name) else value for name, value in ours.items()}


def _h2(files: Files) -> Iterator[str]:
    for folder in ("run/keycloak/data/h2", f"{HOME}/data/h2"):
        found = files.find(folder)
        for path in sorted(found.glob("*.mv.db")) if found and found.is_dir() else ():
            yield f"/{folder}/{path.name}"


def _realm_files(config: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(config.glob("*.json")) if config.is_dir() else ():
        try:
            realm = json.loads(path.read_text(encoding="utf-8")).get("realm")
        except (ValueError, AttributeError):
            continue
        if isinstance(realm, str):
            yield path.name, realm
