"""The seeded misconfigurations before compose-lint and before our own audit, side by side.

python -m tests.drill.walls.compare    writes docs/reference/audit-comparison.md
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from ops.core.machine import REPOSITORY
from ops.core.process import run
from tests.drill.walls.seeds import LEAKED, OVERLAYS, SOCKET, Overlay, filled, laid_over

PAGE = REPOSITORY / "docs" / "reference" / "audit-comparison.md"
EXAMPLES = {SOCKET: "/run/podman/podman.sock", LEAKED: "Zk3v9PqL7wXb2Rt5Yh8N"}
Found = Counter[tuple[str, str]]


def lint(compose: Mapping[str, Any]) -> Found:
    """(rule, service) of every finding of compose-lint in a file, and how often. Raises OpsError where it could not judge."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "compose.yaml"
        file.write_text(yaml.safe_dump(compose))
        (Path(folder) / "secrets.env").touch()
        argv = (
            "compose-lint",
            "check",
            "--format",
            "json",
            "--no-env",
            "--allow-partial-coverage",
            "--fail-on",
            "low",
            str(file),
        )
        answer = run(argv, timeout=60, ok=(0, 1))
    report = json.loads(answer.stdout)
    findings = report if isinstance(report, list) else report["findings"]
    return Counter((str(one["rule_id"]), str(one.get("service", ""))) for one in findings)


def rows(compose: Mapping[str, Any]) -> Iterator[tuple[Overlay, list[str]]]:
    """Each misconfiguration, and the rules that find it: those that say more of it than of the file as it is."""
    before = lint(compose)
    with ThreadPoolExecutor(max_workers=2) as pool:
        after = pool.map(lambda overlay: lint(filled(laid_over(compose, overlay), EXAMPLES)), OVERLAYS)
        for overlay, found in zip(OVERLAYS, after, strict=True):
            yield overlay, sorted({rule for rule, _ in found - before})


def page(found: list[tuple[Overlay, list[str]]], clean: Found) -> str:
    running = sum(bool(overlay.running) for overlay, _ in found)
    caught = sum(bool(rules) for _, rules in found)
    lines = [
        "# The audit beside compose-lint", "",
        "<!-- Written by `python -m tests.drill.walls.compare`. Do not edit. -->", "",
        f"{len(found)} single misconfigurations, each laid over `compose/compose.yaml` alone (`tests/drill/walls/seeds.py`).",
        f"The policies find {len(found)}; the audit of the running stack finds again the {running} that change what runs,",
        f"also where the file does not say so. compose-lint {version('compose-lint')} finds {caught}.",
        f"On the file as it is the policies say nothing, compose-lint says {sum(clean.values())} things.", "",
        "| Misconfiguration | Control, declared | Control, running | compose-lint |", "| --- | --- | --- | --- |",
    ]  # fmt: skip
    for one, theirs in found:
        lines.append(f"| {one.name} | {one.policy} | {one.running or '–'} | {', '.join(theirs) or '–'} |")
    rules = Counter(rule for rule, _ in clean.elements())
    said = ", ".join(f"{rule} ({amount})" for rule, amount in sorted(rules.items())) or "nothing"
    lines += ["", f"What compose-lint says of the file as it is: {said}.", ""]
    lines += [
        "Not every gap is a fault of compose-lint: whose volume or secret something is, and which network a",
        "service belongs to, only this repository can know.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    compose = yaml.safe_load((REPOSITORY / "compose" / "compose.yaml").read_text())
    PAGE.write_text(page(list(rows(compose)), lint(compose)), encoding="utf-8")


if __name__ == "__main__":
    main()
