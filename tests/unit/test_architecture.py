"""Rules of this repository that nothing else would keep: what may import what, and which pieces a service has."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.core.plan import Step
from ops.core.state import State
from ops.engines.podman.host import Host
from ops.project import supervisor_sources
from ops.stack.settings import PARTS, SERVICES
from tests.unit.builders import REPOSITORY


def named(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


OPS = sorted((REPOSITORY / "ops").rglob("*.py"))
PURE_FOLDERS = ("stack", "keycloak/failures", "security_audit/controls", "policies")
READS_THE_CHECKOUT = ("ops/stack/checkout.py", "ops/stack/repositories.py", "ops/keycloak/failures/table.py")
PURE_BESIDE = (
    "audit_log.entries", "backup.restore.target", "backup.sets", "certificates.participant", "certificates.pki",
    "certificates.served.renewal", "core.amounts", "core.errors", "deploy.containers", "deploy.measure", "deploy.scale",
    "engines.podman.argv", "engines.podman.supervisor.judge", "host.findings", "host.unit", "keycloak.participant",
    "keycloak.realm.change", "keycloak.realm.components", "keycloak.realm.declaration", "keycloak.realm.export",
    "keycloak.realm.flows", "keycloak.realm.kinds", "keycloak.realm.rights", "keycloak.repair.containers",
    "keycloak.repair.situation", "keycloak.repair.sql", "keycloak.rotate.keys", "keycloak.schema.upgrade", "logs.query",
    "monitoring.objectives", "releases.headline", "secrets.table", "security_audit.facts", "security_audit.judge",
    "security_audit.listeners", "security_audit.report",
)  # fmt: skip
"""Modules that only decide, besides those whose name says so."""
PURE = sorted(
    path for path in OPS
    if path.stem == "plan" or path.stem.endswith("_plan")
    or (named(path) not in READS_THE_CHECKOUT and any(path.is_relative_to(REPOSITORY / "ops" / one) for one in PURE_FOLDERS))
    or ".".join(path.relative_to(REPOSITORY / "ops").with_suffix("").parts) in PURE_BESIDE
)  # fmt: skip
REACHES_THE_HOST = {
    "subprocess", "socket", "os", "shutil", "tempfile", "signal", "threading", "http", "urllib.request", "requests", "ssl",
    "invoke", "rich", "ops.cli", "ops.core.process", "ops.core.executor", "ops.core.files", "ops.core.state",
    "ops.core.journal", "ops.core.lock", "ops.project", "ops.execution", "ops.engines.podman.host",
    "ops.engines.podman.observe",
}  # fmt: skip
ASKS_THE_HOST = {"open", "print", "input", "time", "now", "today", "read_text", "read_bytes", "write_text", "write_bytes"}
LONGEST_FILE = 400


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imports(path: Path) -> Iterator[str]:
    """Dotted names of all that a module imports, wherever in it the import stands."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{named(path)}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def calls(path: Path) -> Iterator[str]:
    for node in nodes(path):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


@pytest.mark.parametrize("path", PURE, ids=named)
def test_pure_module_imports_nothing_that_reaches_the_host(path: Path) -> None:
    reaching = [name for name in imports(path) if within(name, REACHES_THE_HOST)]
    # A constant reaches nothing.
    assert [name for name in reaching if not name.rpartition(".")[2].isupper()] == []


@pytest.mark.parametrize("path", PURE, ids=named)
def test_pure_module_opens_no_file_and_asks_no_clock(path: Path) -> None:
    assert [name for name in calls(path) if name.rpartition(".")[2] in ASKS_THE_HOST] == []


def test_pure_modules_are_found() -> None:
    assert all(path.is_file() for path in PURE)
    assert {*READS_THE_CHECKOUT} < {*map(named, OPS)}
    assert {"ops/deploy/plan.py", "ops/stack/settings.py"} < {*map(named, PURE)}
    assert {f"ops/{name.replace('.', '/')}.py" for name in PURE_BESIDE} <= {*map(named, PURE)}


def test_plan_runs_no_step() -> None:
    """It may import them: what a step runs is imported when it runs."""
    assert {named(path): name for path in PURE for name in calls(path) if name.rpartition(".")[2] in ("run", "do")} == {}


STEPS = sorted(path for path in OPS if path.stem == "steps" or path.stem.endswith("_steps"))
LIGHT = re.compile(
    r"ops\.core\.(plan|errors|state|files|process|machine)\b|ops\.engines\.engine\.|ops\.stack\.|ops\.[a-z0-9_.]*steps\."
)
"""What modules of steps may import at their top: plans import them, and load nothing with them that reaches a host."""


@pytest.mark.parametrize("path", STEPS, ids=named)
def test_step_has_its_data_and_its_run_in_one_class(path: Path) -> None:
    module = importlib.import_module(".".join(path.relative_to(REPOSITORY).with_suffix("").parts))
    own = [one for one in vars(module).values() if isinstance(one, type) and one.__module__ == module.__name__]
    steps = [one for one in own if issubclass(one, Step)]

    assert steps, "a module of steps has some"
    assert [one.__name__ for one in steps if "run" not in vars(one)] == []


@pytest.mark.parametrize("path", STEPS, ids=named)
def test_steps_load_what_they_run_when_they_run(path: Path) -> None:
    top = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [
        alias.name if isinstance(node, ast.Import) else f"{node.module}.{alias.name}" for node in top for alias in node.names
    ]

    assert [name for name in names if name.startswith("ops.") and not LIGHT.match(name)] == []
    assert {name.partition(".")[0] for name in names} <= {"ops", *sys.stdlib_module_names}


KNOW_PODMAN = {
    "ops/keycloak/probe/container.py",
    "ops/certificates/served/handshake.py", "ops/certificates/served/watch.py",
    "ops/security_audit/probe/advisories.py", "ops/security_audit/probe/connections.py",
    "ops/security_audit/probe/containers.py", "ops/security_audit/probe/host.py", "ops/security_audit/probe/requests.py",
}  # fmt: skip
"""What looks at a Podman host itself, below the engine: processes, bridges, cgroups and layers of images; checks of the
health supervisor, whose copy runs without the engine."""


def test_features_do_not_know_which_engine_runs_the_stack() -> None:
    """They call the engine (ops/engines/engine.py). Nothing is added to the list."""
    beside = ("engines", "observed.py", "project.py", "supervisor.py")
    own = {
        named(path) for path in OPS
        if path.relative_to(REPOSITORY / "ops").parts[0] not in beside
        and any(within(name, {"ops.engines.podman"}) for name in imports(path))
    }  # fmt: skip
    assert own == KNOW_PODMAN


def test_logs_of_containers_are_asked_of_the_engine() -> None:
    """Features write lines of their own beside them (`log_line`), and read none there."""
    found, written = [], []
    for path in OPS:
        if path.relative_to(REPOSITORY / "ops").parts[0] not in ("engines", "core"):
            found += [
                named(path)
                for node in nodes(path)
                if isinstance(node, ast.Attribute) and ast.unparse(node).endswith("state.logs")
            ]
            written += [
                named(path)
                for node in nodes(path)
                if isinstance(node, ast.Call)
                and ast.unparse(node).startswith("log_line(")
                and ast.unparse(node.args[0]).endswith("state.logs")
            ]
    assert found == written != []


def test_no_key_of_a_step_is_read_for_its_beginning() -> None:
    assert [
        named(path) for path in OPS if any(name.endswith("key.startswith") and "step" in name for name in calls(path))
    ] == []


def test_programs_are_run_in_one_file_only() -> None:
    users = {named(path) for path in OPS if any(within(name, {"subprocess", "os.system", "pty"}) for name in imports(path))}
    shells = {named(path) for path in OPS if {"os.system", "os.popen", "os.posix_spawn", "os.spawnv"} & set(calls(path))}

    assert (users, shells) == ({"ops/core/process.py"}, set())


def is_command(path: Path) -> bool:
    """Whether a module declares a command, or is a part of one that talks to the operator."""
    return any(within(name, {"ops.cli"}) for name in imports(path))


def test_only_commands_talk_to_the_terminal() -> None:
    for path in OPS:
        if not is_command(path) and not path.is_relative_to(REPOSITORY / "ops" / "cli"):
            assert [name for name in imports(path) if within(name, {"invoke", "rich"})] == [], named(path)


def test_copy_of_the_supervisor_is_complete_and_needs_no_package() -> None:
    copied = sorted(
        name for name in supervisor_sources(Host("cc03", State(Path("/none")))) if (REPOSITORY / "ops" / name).is_file()
    )
    modules = {f"ops.{name.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}" for name in copied}
    assert "supervisor.py" in copied
    for name in copied:
        for module in imports(REPOSITORY / "ops" / name):
            top = module.partition(".")[0]
            assert top == "ops" or top in sys.stdlib_module_names, f"{name} imports {module}"
            if top == "ops":
                needed = (
                    module
                    if module in modules or (REPOSITORY / f"{module.replace('.', '/')}.py").is_file()
                    else module.rpartition(".")[0]
                )
                assert needed in modules, f"{name} imports {module}"


def test_queries_stand_beside_the_module_that_reads_them() -> None:
    named_by = {
        path.parent / node.value
        for path in OPS for node in nodes(path)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"\w+\.sql", node.value)
    }  # fmt: skip
    assert named_by == {*(REPOSITORY / "ops").rglob("*.sql")} != set()


@pytest.mark.parametrize("folder", ["ops", "tests"])
def test_no_file_is_longer_than_can_be_read_in_one_go(folder: str) -> None:
    lengths = {named(path): len(path.read_text().splitlines()) for path in (REPOSITORY / folder).rglob("*.py")}

    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_parameters_are_described_below_the_summary_without_a_header() -> None:
    """One form: `name: what it is. other: ...`, in a paragraph of the docstring."""
    assert [named(path) for path in OPS if re.search(r"^ +-{6,}$", path.read_text(), re.MULTILINE)] == []


def test_tasks_file_is_a_table_of_contents_without_logic() -> None:
    docstring, *imported, assignment = ast.parse((REPOSITORY / "tasks.py").read_text()).body

    assert isinstance(docstring, ast.Expr)
    assert all(isinstance(node, ast.Import | ast.ImportFrom) for node in imported)
    assert isinstance(assignment, ast.Assign)
    assert isinstance(assignment.value, ast.Call)
    allowed = (ast.Call, ast.Name, ast.Attribute, ast.Constant, ast.Load)
    assert [node for node in ast.walk(assignment.value) if not isinstance(node, allowed)] == []
    assert {ast.unparse(node.func) for node in ast.walk(assignment.value) if isinstance(node, ast.Call)} == {"Collection"}


def test_every_verb_stands_in_the_table_of_contents() -> None:
    offered = set(imports(REPOSITORY / "tasks.py"))
    declaring = {path for path in OPS if any(ast.unparse(one).startswith("verb(") for node in nodes(path)
                 if isinstance(node, ast.FunctionDef) for one in node.decorator_list)}  # fmt: skip
    modules = {".".join(path.relative_to(REPOSITORY).with_suffix("").parts) for path in declaring}

    assert len(modules) > 20
    assert {name for name in modules if name not in offered} == set()


# The pieces of a service, by its one name.

COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "compose" / "compose.yaml").read_text(encoding="utf-8"))
DEFINED: dict[str, dict[str, Any]] = COMPOSE["services"]


def mounts(service: str) -> list[str]:
    return [str(mount) for mount in DEFINED[service].get("volumes", [])]


def test_compose_file_has_exactly_the_services_that_settings_know() -> None:
    assert set(DEFINED) == {*SERVICES, *PARTS}
    assert len(SERVICES) == 12


def test_only_what_holds_the_address_of_a_service_is_a_part_of_one() -> None:
    shared = {str(one["network_mode"]).removeprefix("service:") for one in DEFINED.values() if "network_mode" in one}

    assert shared == set(PARTS)


@pytest.mark.parametrize("service", DEFINED)
def test_service_that_is_built_has_its_containerfile(service: str) -> None:
    if "build" in DEFINED[service]:
        assert DEFINED[service]["build"] == f"./{service}"
        assert (REPOSITORY / "compose" / service / "Containerfile").is_file()
    else:
        assert "@sha256:" in DEFINED[service]["image"]


@pytest.mark.parametrize("path", sorted((REPOSITORY / "compose").glob("*/Containerfile")), ids=named)
def test_build_names_the_ca_of_the_host_only_where_there_is_one(path: Path) -> None:
    """pip fails, and npm warns, where the file that they are told to trust does not exist: a host without a CA of its own."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if re.search(r"\b[A-Z_]+=/run/secrets/ca\b", line):
            assert "if [ -s /run/secrets/ca ]; then export" in line, line


@pytest.mark.parametrize("service", DEFINED)
def test_service_mounts_its_own_configuration_and_no_other(service: str) -> None:
    mounted = [mount for mount in mounts(service) if mount.startswith("../config/")]

    assert mounted in ([], [f"../config/{service}:/etc/cc03/current:ro"])
    assert bool(mounted) == (REPOSITORY / "config" / service).is_dir()


@pytest.mark.parametrize("service", DEFINED)
def test_service_needs_only_services_that_stand_above_it(service: str) -> None:
    above = list(DEFINED)[: list(DEFINED).index(service)]

    assert set(DEFINED[service].get("x-cc03", {}).get("needs", [])) <= set(above)


@pytest.mark.parametrize("kind", ["networks", "volumes", "secrets"])
def test_everything_that_is_declared_is_used_and_the_other_way_round(kind: str) -> None:
    used = {str(name).partition(":")[0] for one in DEFINED.values() for name in one.get(kind, [])}
    if kind == "secrets":
        used |= {name for one in DEFINED.values() for name in one.get("x-cc03", {}).get("api_secrets", [])}

    assert {name for name in used if not name.startswith((".", "/", "$"))} == set(COMPOSE[kind])


def test_every_service_has_its_smoke_test() -> None:
    missing = [name for name in DEFINED if not (REPOSITORY / "tests" / "smoke" / f"test_{name}.py").is_file()]

    assert missing == []


def test_whoever_runs_a_container_of_a_service_asks_how_secrets_are_handed() -> None:
    """Where they are encrypted at rest, Podman has none of them."""
    features = [path for path in OPS if not path.is_relative_to(REPOSITORY / "ops" / "engines")]
    for path in features:
        for node in nodes(path):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("podman.run_as", "engine.run_as")):
                assert "service_as_is" in ast.unparse(node), f"{named(path)}: {ast.unparse(node)}"


def at_import(path: Path) -> Iterator[str]:
    """What importing a module imports: neither what functions import, nor what only the type checker reads."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (name for alias in node.names for name in (str(node.module), f"{node.module}.{alias.name}"))


def test_listing_the_commands_loads_no_model_of_settings() -> None:
    """pydantic takes a tenth of a second, which every completion of a command line would wait for."""
    found, open_ones = set[str](), ["tasks"]
    while open_ones:
        name = open_ones.pop()
        if name not in found:
            found.add(name)
            path = (REPOSITORY / name.replace(".", "/")).with_suffix(".py")
            open_ones += at_import(path) if path.is_file() else ()

    assert "ops.cli.command" in found
    assert {name for name in found if within(name, {"pydantic", "ops.stack.settings"})} == set()
