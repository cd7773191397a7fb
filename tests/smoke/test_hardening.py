"""What a process could do if it were taken over, and where secrets are not: read from the kernel, not from the settings."""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.core.machine import REPOSITORY
from ops.security_audit.controls.containers import CAPABILITIES
from ops.security_audit.probe.containers import by_namespace, pids_of, status
from ops.stack.model import Service
from ops.store.versions import secret_versions
from tests.smoke.live import Live
from tests.smoke.test_isolation import SERVICES


def processes(live: Live, slot: str) -> list[Path]:
    """Every process of a container: those in its process namespace."""
    return [Path(f"/proc/{pid}") for pid in pids_of(live.pid(slot), by_namespace())]


def containers(live: Live, service: str) -> list[str]:
    return [] if service == "grafana" and not live.has_grafana else live.slots(service)


def exempt(service: Service, rule: str) -> bool:
    return rule in service.definition.get("x-cc03", {}).get("exempt", {})


@pytest.mark.parametrize("service", SERVICES)
def test_every_process_is_confined(live: Live, service: str) -> None:
    declared = live.project.stack.services[service]
    added = declared.definition.get("cap_add", [])
    assert not added or exempt(declared, "capabilities")
    allowed = sum(1 << CAPABILITIES.index(name) for name in added)
    for slot in containers(live, service):
        seen = [found for process in processes(live, slot) if (found := status(int(process.name)))]
        assert seen
        for found in seen:
            who = f"{slot}: {found['Name']}"
            for capabilities in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"):
                assert int(found[capabilities], 16) & ~allowed == 0, f"{who} has {capabilities} {found[capabilities]}"
            assert found["NoNewPrivs"] == "1", who
            assert found["Seccomp"] == "2", who
            uids = set(found["Uid"].split())
            assert "0" not in uids or exempt(declared, "root"), f"{who} runs as root"


def writing(path: Path) -> int:
    """The error number of an attempt to make a file; 0 where that succeeds."""
    try:
        path.touch()
    except OSError as refused:
        return refused.errno or -1
    path.unlink()
    return 0


@pytest.mark.parametrize("service", SERVICES)
def test_root_file_system_cannot_be_written(live: Live, service: str) -> None:
    for slot in containers(live, service):
        root = Path(f"/proc/{live.pid(slot)}/root")
        for folder in ("", "etc", "usr/local/bin"):
            assert writing(root / folder / "smoke-test") == errno.EROFS, f"{slot}: /{folder}"


INTERPRETED = {"postgres", "backup", "backend", "keycloak", "grafana"}
"""What these run is written in such a language (docs/explanation/security.md)."""


@pytest.mark.parametrize("service", sorted({*SERVICES} - INTERPRETED))
def test_image_has_no_interpreter_that_could_stand_in_for_a_program(live: Live, service: str) -> None:
    for slot in containers(live, service):
        programs = Path(f"/proc/{live.pid(slot)}/root/usr/bin")
        assert [path.name for path in programs.iterdir() if re.match("perl|python|ruby|lua", path.name)] == [], slot


@pytest.mark.parametrize("service", SERVICES)
def test_limits_are_those_that_are_declared(live: Live, service: str) -> None:
    declared = live.project.stack.services[service]
    for slot in containers(live, service):
        set_for = live.container(slot)["HostConfig"]
        assert set_for["Memory"] == declared.limits.memory_bytes, slot
        assert set_for["NanoCpus"] == declared.limits.cpus * 1e9, slot
        assert set_for["PidsLimit"] > 0, slot
        assert not set_for["Privileged"], slot


def test_nothing_but_the_edge_is_published(live: Live) -> None:
    published = {slot for slot, item in live.containers.items() if any((item["HostConfig"].get("PortBindings") or {}).values())}

    assert published == {"edge"}


# ---- Secrets


@pytest.fixture(scope="module")
def secrets(live: Live) -> dict[str, str]:
    found = {name: live.secret(name) for name in secret_versions(live.project.state)}
    needed = {name for slot in live.containers for name in live.project.stack.service_of(slot).secrets}
    assert needed <= set(found)
    assert min(map(len, found.values())) >= 20
    return found


def leaked(secrets: dict[str, str], text: str) -> list[str]:
    """Names of the secrets whose value stands in a text."""
    return [name for name, value in secrets.items() if value in text]


@pytest.mark.parametrize("service", SERVICES)
def test_secret_is_readable_by_its_service_only(live: Live, service: str) -> None:
    declared = live.project.stack.services[service]
    for slot in containers(live, service):
        folder = Path(f"/proc/{live.pid(slot)}/root/run/secrets")
        mounted = {path.name: path.stat() for path in folder.iterdir()} if folder.is_dir() else {}
        assert set(mounted) == set(declared.secrets), slot
        for name, seen in mounted.items():
            assert (seen.st_uid, oct(seen.st_mode & 0o7777)) == (declared.owner, "0o400"), f"{slot}: {name}"


def test_no_secret_shows_in_inspect(live: Live, secrets: dict[str, str]) -> None:
    for slot, item in live.containers.items():
        assert leaked(secrets, json.dumps(item)) == [], slot


def test_no_secret_shows_in_arguments_or_environment(live: Live, secrets: dict[str, str]) -> None:
    for slot in live.containers:
        for process in processes(live, slot):
            for name in ("cmdline", "environ"):
                try:
                    content = (process / name).read_bytes().decode(errors="replace")
                except (FileNotFoundError, ProcessLookupError):
                    continue
                assert leaked(secrets, content) == [], f"{slot}: {name} of process {process.name}"


def written_files(live: Live) -> Iterator[Path]:
    """What this project writes outside the folder of its secrets and the containers' volumes."""
    state = live.project.state
    for folder in (state.logs, state.config, state.releases, state.builds, state.ticker, state.metrics):
        yield from (path for path in folder.rglob("*") if path.is_file())
    yield state.journal


def test_no_secret_shows_in_logs_configuration_or_releases(live: Live, secrets: dict[str, str]) -> None:
    pattern = re.compile("|".join(re.escape(value) for value in secrets.values()).encode())
    seen = 0
    for path in written_files(live):
        content = path.read_bytes()
        seen += len(content)
        found = pattern.search(content)
        assert found is None, f"{path} holds {leaked(secrets, found[0].decode()) if found else ''}"
    assert seen > 100_000


def test_no_secret_shows_in_the_checkout(secrets: dict[str, str]) -> None:
    for folder in ("compose", "config", "ops", "scripts"):
        for path in (REPOSITORY / folder).rglob("*"):
            if path.is_file() and "node_modules" not in path.parts:
                assert leaked(secrets, path.read_text(errors="replace")) == [], path


def test_keys_and_secrets_on_the_host_are_for_root_only(live: Live) -> None:
    state = live.project.state
    for folder in (state.secrets, state.ca):
        assert oct(folder.stat().st_mode & 0o777) == "0o700", folder
    for key in (
        *state.ca.glob("*.key"),
        *state.ca.glob("passphrase"),
        *(path for path in state.secrets.rglob("*") if path.is_file()),
    ):
        assert key.stat().st_mode & 0o077 == 0, key
    for key in state.certs.rglob("*.pem"):
        if "PRIVATE KEY" in key.read_text():
            assert key.stat().st_mode & 0o077 == 0, key


def test_kernel_ends_other_containers_before_postgres(live: Live) -> None:
    def score(slot: str) -> int:
        return max(int((process / "oom_score_adj").read_text()) for process in processes(live, slot))

    others = [slot for service in SERVICES if service not in ("postgres", "edge") for slot in containers(live, service)]
    assert {slot: score(slot) - score("postgres") >= 200 for slot in others} == dict.fromkeys(others, True)
