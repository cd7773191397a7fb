"""Known vulnerabilities of packages, by pip-audit, npm and debsecan. Where a program is missing, or has reached no service,
its part is unread: pip-audit exits with 0 then, which must not count as a result."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ops.core.errors import OpsError
from ops.core.process import Result, installed, run
from ops.engines.podman.supervisor.health import text_within
from ops.security_audit.facts import Advisory, Unread

SECONDS = 30.0


def _output(argv: tuple[str, ...], codes: tuple[int, ...]) -> Result:
    """Raises Unread where the program is missing or fails."""
    if not installed(argv[0]):
        raise Unread(f"{argv[0]} is not installed on this host")
    try:
        answer = run(argv, timeout=SECONDS, ok=None)
    except OpsError as problem:
        raise Unread(f"{argv[0]}: {problem.why}") from problem
    if answer.returncode not in codes:
        raise Unread(f"{argv[0]}: {answer.last_words(1)}")
    return answer


def _report(argv: tuple[str, ...]) -> Any:
    """JSON of a program that exits with 1 where it found something."""
    answer = _output(argv, (0, 1))
    try:
        return json.loads(answer.stdout)
    except ValueError as problem:
        raise Unread(f"{argv[0]}: {answer.last_words(1)}") from problem


def python(repository: Path) -> tuple[Advisory, ...]:
    """The backend's locked packages, by pip-audit."""
    lock = repository / "compose" / "backend" / "requirements.lock"
    return read_pip_audit(_report((
        "pip-audit", "--requirement", str(lock), "--disable-pip", "--require-hashes", "--format", "json",
        "--progress-spinner", "off", "--timeout", "5",
    )))  # fmt: skip


def read_pip_audit(report: Mapping[str, Any]) -> tuple[Advisory, ...]:
    """Raises Unread where it could not check one of the packages."""
    packages = report["dependencies"]
    if skipped := [str(one["name"]) for one in packages if "skip_reason" in one]:
        raise Unread(f"pip-audit could not check {len(skipped)} of {len(packages)} packages ({skipped[0]} …)")
    return tuple(
        Advisory(f"{one['name']} {one['version']}", found["id"], ", ".join(found.get("fix_versions") or ()))
        for one in packages for found in one.get("vulns") or ()
    )  # fmt: skip


def javascript(repository: Path) -> Mapping[str, tuple[Advisory, ...]]:
    """The packages of each lock file below compose/, by npm: folder -> advisories."""
    compose = repository / "compose"

    def one(folder: Path) -> tuple[Advisory, ...]:
        return read_npm_audit(
            _report(("npm", "--prefix", str(folder), "audit", "--package-lock-only", "--omit", "dev", "--json"))
        )

    return {str(folder.relative_to(repository)): one(folder) for folder in npm_folders(compose)}


def npm_folders(compose: Path) -> list[Path]:
    """Folders of a service, or in one, with a lock file of npm."""
    return sorted(path.parent for pattern in ("*/package-lock.json", "*/*/package-lock.json") for path in compose.glob(pattern))


def read_npm_audit(report: Mapping[str, Any]) -> tuple[Advisory, ...]:
    if "vulnerabilities" not in report:
        raise Unread(f"npm: {report.get('message') or report.get('error') or 'its output lists no vulnerabilities'}")
    return tuple(
        Advisory(name, str(one.get("title", one.get("name", ""))) if isinstance(one, Mapping) else str(one))
        for name, found in report["vulnerabilities"].items() for one in found["via"]
    )  # fmt: skip


def debian(roots: Mapping[str, Path]) -> Mapping[str, tuple[Advisory, ...]]:
    """Fixed vulnerabilities of each image's packages, by Debian's security tracker. roots: service -> root of a container."""
    if not installed("debsecan"):
        raise Unread("debsecan is not installed on this host (apt-get install debsecan)")

    def one(service: str) -> tuple[Advisory, ...]:
        try:
            return debsecan(roots[service])
        except Unread as problem:
            raise Unread(f"{service}: {problem}") from problem

    with ThreadPoolExecutor(max_workers=4) as pool:
        return dict(zip(roots, pool.map(one, roots), strict=True))


def debsecan(root: Path) -> tuple[Advisory, ...]:
    try:
        # /etc/os-release is a link to it.
        release = text_within(root, "usr/lib/os-release").splitlines()
        suite = dict(line.split("=", 1) for line in release if "=" in line)["VERSION_CODENAME"]
        packages = text_within(root, "var/lib/dpkg/status")
    except (OSError, KeyError) as problem:
        raise Unread("its image has no list of Debian packages") from problem
    with tempfile.NamedTemporaryFile("w", suffix=".status") as copy:
        copy.write(packages)
        copy.flush()
        argv = ("debsecan", "--suite", suite.strip('"'), "--only-fixed", "--format", "simple", "--status", copy.name)
        return read_debsecan(_output(argv, (0,)).stdout)


def read_debsecan(text: str) -> tuple[Advisory, ...]:
    """Lines of `IDENTITY PACKAGE`."""
    lines = (line.split() for line in text.splitlines() if line.strip())
    return tuple(Advisory(package, identity) for identity, package, *_ in lines)
