"""docs/reference/ from the code: what can be set, every command with its options, and every finding of Keycloak.

python -m ops.reference            writes the pages
python -m ops.reference --check    exit code 1 where a page is not what the code says
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from invoke import Collection, Task
from invoke.parser import Argument
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from ops.cli.program import OptionalPositional
from ops.core.errors import OpsError
from ops.keycloak.failures.failure import SEVERITIES, Failure, Line
from ops.keycloak.failures.table import BY_ID, FAILURES
from ops.monitoring import objectives
from ops.monitoring.objectives import Objectives, parse_objectives
from ops.monitoring.reference import alert_rows, metric_rows
from ops.stack.compose_keys import ServiceKeys
from ops.stack.settings import Settings
from ops.stack.yaml_model import annotation_at, form_of, names, opened

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = Path("docs") / "reference"
GENERATED = "<!-- Written by `nox -s docs` from the code. Do not edit. -->\n"
VARIABLES = {
    "CC03_PROJECT": "Name of the project; it wins over `project` in the file. A project so named gets ports that are free.",
    "CC03_STACK": "Another settings file in place of `config/stack.yaml`.",
    "CC03_STATE": "Another folder in place of `/var/lib/cc03` for the state of all projects.",
}
"""Environment variables that the commands read."""


@dataclass(frozen=True)
class Row:
    """One key of a model, for the reference. default: None where it has none."""

    key: str
    meaning: str
    form: str
    default: Any
    required: bool = False


def rows(model: type[BaseModel], prefix: str = "", each: str = "NAME") -> Iterator[Row]:
    """Every key of a model, in its order.

    prefix: what stands before each key. each: what stands for the key of a mapping by names.
    """
    for name, one in model.model_fields.items():
        key, (kind, _) = f"{prefix}{name}", opened(one)
        if get_origin(kind) is dict:
            key, (kind, _) = f"{key}.{each}", opened(get_args(kind)[1])
            if one.description:
                yield Row(key, one.description, form_of(annotation_at(one, ("any",))), None)
        elif not names(kind):
            default = None if one.is_required() else one.get_default(call_default_factory=True)
            yield Row(key, one.description or "", form_of(one), default, one.is_required())
        if get_origin(kind) in (tuple, list) and names(opened(get_args(kind)[0])[0]):
            key, (kind, _) = f"{key}[]", opened(get_args(kind)[0])
        if names(kind):
            if one.description and get_origin(one.annotation) is not dict and not isinstance(one.default, tuple):
                yield Row(key, one.description, form_of(one), None)
            yield from rows(kind, f"{key}.", each)


class _Schema(GenerateJsonSchema):
    """Without titles, which repeat the keys; and with each name of a mapping as a key of its own, which editors complete."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def dict_schema(self, schema: Any) -> dict[str, Any]:
        found = super().dict_schema(schema)
        names = found.get("propertyNames", {}).get("enum")
        if not names:
            return found
        return {
            "type": "object",
            "properties": dict.fromkeys(names, found["additionalProperties"]),
            "additionalProperties": False,
        }


def json_schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    """The JSON schema that editors complete and check by."""
    found = model.model_json_schema(schema_generator=_Schema)
    return {"$schema": _Schema.schema_dialect, **found, "title": title}


def table(headings: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    """A Markdown table; a vertical bar in a cell is escaped."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def _shown(value: Any) -> str:
    """A default as YAML has it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "empty" if value in ("", ()) else f"`{value}`"


def _rows(found: Iterable[Row]) -> Iterator[Sequence[str]]:
    for one in found:
        default = "by service, below" if ".SERVICE" in one.key else "required" if one.required else _shown(one.default)
        yield (f"`{one.key}`", one.meaning, one.form, default)


def _service_rows(compose: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    for name, service in compose["services"].items():
        limits = service["deploy"]["resources"]["limits"]
        start = service.get("x-cc03", {}).get("start_seconds", 120)
        yield (f"`{name}`", str(limits["memory"]), str(limits["cpus"]), f"{start} s", str(service["stop_grace_period"]))


def settings_page(model: type[BaseModel], compose: Mapping[str, Any]) -> str:
    """docs/reference/settings.md.

    model: of stack.yaml. compose: compose.yaml as parsed, for the limits and deadlines where the settings name none.
    """
    return "".join((
        "# Settings\n\n", GENERATED, "\n",
        "All keys of `config/stack.yaml`. Every key is optional; a dot stands for a level of indentation.\n",
        "A key that is not listed here, a value of the wrong kind and one port given twice are refused with file and line,\n",
        "before anything has changed. `inv deploy --plan` shows what a change would do. Editors with a YAML language server\n",
        "complete and check the file by `config/stack.schema.json`. `[]` stands for each entry of a list.\n\n",
        table(("Key", "Meaning", "Must be", "Default"), _rows(rows(model, each="SERVICE"))),
        "\n## Defaults by service\n\n",
        "From `compose/compose.yaml`. The stop grace period is changed there; the others by the keys above.\n\n",
        table(("Service", "Memory", "CPUs", "Healthy within", "Stop grace period"), _service_rows(compose)),
        "\n## Environment variables\n\n",
        table(("Variable", "Meaning"), ((f"`{name}`", meaning) for name, meaning in VARIABLES.items())),
    ))  # fmt: skip


def compose_keys_page(model: type[BaseModel]) -> str:
    """docs/reference/compose-keys.md."""
    return "".join((
        "# Keys of compose.yaml\n\n", GENERATED, "\n",
        "`x-cc03` of a service in `compose/compose.yaml` holds what the compose specification has no word for. Every key is\n",
        "optional, but for those below another one that say so. `nox -s lint` and `inv deploy` refuse a key that is not\n",
        "listed here and a value of the wrong kind. The rest is derived: a service in whose network another one stands keeps\n",
        "its container when only its image changes, and a new backend or frontend must answer a path through nginx before an\n",
        "old one is touched (`prober.get`, `/`).\n\n",
        table(("Key", "Meaning", "Must be", "Default"), _rows(rows(model))),
    ))  # fmt: skip


def _arguments(task: Task[Any]) -> list[Argument]:
    """The options of a command. Invoke takes the help texts out of the task as it reads them, so a copy is asked."""
    asked = copy.copy(task)
    asked.help = dict(task.help)
    return asked.get_arguments()


def _required(argument: Argument) -> bool:
    return bool(argument.positional) and not isinstance(argument, OptionalPositional)


def _flags(argument: Argument) -> str:
    """The spellings of one option, with its value where it takes one."""
    name, *short = argument.names
    if argument.kind is bool and argument.default is True:
        return f"`--{name}`, `--no-{name}`"
    value = "" if argument.kind is bool else " " + name.upper()
    spelled = [f"`--{name}{value}`", *(f"`-{letter}{value}`" for letter in short)]
    return ", ".join([f"`{value.strip()}`", *spelled] if argument.positional else spelled)


def _command(name: str, aliases: Sequence[str], task: Task[Any]) -> str:
    arguments = _arguments(task)
    named = [argument for argument in arguments if argument.positional]
    values = [argument.names[0].upper() if _required(argument) else f"[{argument.names[0].upper()}]" for argument in named]
    options = "[OPTIONS]" if len(arguments) > len(named) else ""
    usage = " ".join(word for word in (f"inv {name}", *values, options) if word)
    also = f"Also: {', '.join(f'`inv {alias}`' for alias in aliases)}.\n\n" if aliases else ""
    rows = ((_flags(argument), argument.help or "") for argument in arguments)
    listed = "\n" + table(("Option", "Meaning"), rows) if arguments else ""
    return f"## inv {name}\n\n{' '.join((task.__doc__ or '').split())}\n\n{also}```\n{usage}\n```\n{listed}\n"


def _error_rows() -> Iterator[Sequence[str]]:
    yield ("0", "Done, or nothing to do.")
    yield (str(OpsError.exit_code), "Failed; nothing changed, all was put back, or the next run goes on from what was done.")
    # Those of ops/core/errors.py alone: a module that has one for its own use may or may not have been imported.
    kinds = [kind for kind in OpsError.__subclasses__() if kind.__module__ == OpsError.__module__]
    for kind in sorted(kinds, key=lambda kind: kind.exit_code):
        yield (str(kind.exit_code), " ".join((kind.__doc__ or "").split()))
    yield ("130", "Broken off by the operator.")


def commands_page(namespace: Collection) -> str:
    """docs/reference/commands.md."""
    commands = (_command(name, aliases, namespace[name]) for name, aliases in namespace.task_names.items())
    return "".join((
        "# Commands\n\n", GENERATED, "\n",
        "`inv --list` names them, `inv --help COMMAND` shows one. Run them in the repository, as root, with\n",
        "`.venv/bin` on the `PATH`. A failure is told in three lines: what happened, why, and what to type next.\n\n",
        "Outside of it `inv` says `Can't find any collection named 'tasks'!`, in the words of Invoke: no code of this\n",
        "repository is loaded then. On a host with one checkout, `/etc/invoke.yaml` has it run from every folder:\n\n",
        "```yaml\ntasks:\n  search_root: /srv/cc03\n```\n\n",
        "It then means that checkout everywhere, within another one too, unless told `inv --search-root .`\n\n",
        *commands,
        "## Exit codes\n\n",
        table(("Code", "Meaning"), _error_rows()),
    ))  # fmt: skip


def _finding_rows(failures: Sequence[Failure]) -> Iterator[Sequence[str]]:
    for one in failures:
        yield (f"[{one.id}](#{one.id})", one.severity, one.title, "yes" if one.repairable else "no: it says how",
               "yes" if one.remedy.dump_first else "")  # fmt: skip


def _evidence(line: Line) -> str:
    when = "within the last ten minutes" if line.serving else "while it is not ready"
    times = f", {line.times} times" if line.times > 1 else ""
    return f"- Line of the log, {when}{times}: `{line.regex}` ({line.source})\n"


def _finding(failure: Failure) -> str:
    """The section of one failure."""
    explained = ", ".join(f"[{other}](#{other})" for other in dict.fromkeys(failure.explains) if other in BY_ID)
    how = "by `inv keycloak.fix`" if failure.repairable else "by a person; `inv keycloak.fix` says how"
    remedy = failure.remedy
    return "".join((
        f"## {failure.id}\n\n{failure.title[0].upper()}{failure.title[1:]}: {failure.means}.\n\n",
        f"- Repair ({how}{', after a dump' if remedy.dump_first else ''}): {remedy.words}.\n",
        f"- Left alone: {remedy.leaves}.\n- Users: {remedy.users}.\n",
        *map(_evidence, failure.lines),
        f"- Explains: {explained}\n" if explained else "",
        f"- Source: {failure.source}\n\n",
    ))  # fmt: skip


def findings_page(failures: Sequence[Failure]) -> str:
    """docs/reference/keycloak-findings.md. failures: in the order of cause."""
    severities = ((f"`{name}`", meaning) for name, meaning in SEVERITIES.items())
    return "".join((
        "# Findings of Keycloak\n\n", GENERATED, "\n",
        f"The {len(failures)} findings that `inv keycloak` knows, in the order of cause; `inv keycloak.fix` repairs\n",
        f"{sum(one.repairable for one in failures)} of them. A cause hides what follows from\n",
        "it (\"explains\"), and is as grave as the gravest of that. Where the log alone speaks for one, the finding says so.\n",
        "Sources: `#n` is an issue of Keycloak, guides are Keycloak's, `own` is how this stack is built. How to use it:\n",
        "[Keycloak](../how-to/keycloak.md). Every repair stops a restart loop first, and starts Keycloak again.\n\n",
        table(("Finding", "Severity", "What", "`fix` repairs it", "Dump first"), _finding_rows(failures)),
        "\n", table(("Severity", "Meaning"), severities), "\n",
        *map(_finding, failures),
    )).rstrip("\n") + "\n"  # fmt: skip


def alerts_page() -> str:
    """docs/reference/alerts.md."""
    return "".join((
        "# Alerts\n\n", GENERATED, "\n",
        "Every alert, by the files of `config/prometheus/alerts`. Its name leads to its runbook. Capitals stand for labels,\n",
        "N for the value. `critical` is for now, at any hour; `warning` for the next working day; `none` is the Watchdog's.\n",
        "Who is notified, and how: [alerts](../how-to/alerts.md).\n\n",
        table(("Alert", "Meaning", "Severity", "For"), alert_rows()),
    ))  # fmt: skip


def metrics_page() -> str:
    """docs/reference/metrics.md."""
    return "".join((
        "# Metrics\n\n", GENERATED, "\n",
        "Every metric that an alert, an objective or a dashboard uses, by `config/metrics.yaml`; Prometheus keeps more.\n",
        "The series of a histogram end in `_bucket`, `_sum` and `_count`. Job: what Prometheus scrapes it from\n",
        "(`config/prometheus/prometheus.yml`). At the edge the label `route` is `api`, `login`, `page`, `grafana`, and for\n",
        "responses alone `socket`, `probe`, `ops`, `redirect` and `other`; nginx' own answers are counted as well.\n\n",
        table(("Metric", "Meaning", "Type", "Job", "Used by"), metric_rows()),
    ))  # fmt: skip


def pages() -> dict[Path, str]:
    """Path within the repository -> what should be there."""
    import tasks

    compose = yaml.safe_load((REPOSITORY / "compose" / "compose.yaml").read_text(encoding="utf-8"))
    return {
        PAGES / "settings.md": settings_page(Settings, compose),
        PAGES / "compose-keys.md": compose_keys_page(ServiceKeys),
        Path("config") / "stack.schema.json": json.dumps(json_schema(Settings, "config/stack.yaml"), indent=1) + "\n",
        PAGES / "commands.md": commands_page(tasks.namespace),
        PAGES / "keycloak-findings.md": findings_page(FAILURES),
        PAGES / "alerts.md": alerts_page(),
        PAGES / "metrics.md": metrics_page(),
        Path("config") / "objectives.schema.json": json.dumps(json_schema(Objectives, objectives.SOURCE), indent=1) + "\n",
        Path(objectives.RULES): objectives.rules_text(parse_objectives((REPOSITORY / objectives.SOURCE).read_text("utf-8"))),
    }


def outdated(root: Path = REPOSITORY) -> list[Path]:
    """Pages that are missing or differ from what the code says."""
    return [
        path for path, text in pages().items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    stale = outdated()
    if "--check" in arguments:
        for path in stale:
            print(f"{path} is not what the code says: nox -s docs", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        (REPOSITORY / path).parent.mkdir(parents=True, exist_ok=True)
        (REPOSITORY / path).write_text(pages()[path], encoding="utf-8")
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
