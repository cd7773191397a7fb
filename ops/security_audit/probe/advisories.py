"""Known weaknesses of packages, asked of the programs that are made for it. Who cannot be asked leaves it unread: a program
that answers without having reached anybody (pip-audit exits with 0 then) must not be taken for a clean bill."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ops.core.errors import OpsError
from ops.core.process import Result, installed, run
from ops.engines.podman.host import REPOSITORY
from ops.engines.podman.supervisor.within import text_within
from ops.security_audit.facts import Advisory, Unread

SECONDS = 30.0


def _asked(argv: tuple[str, ...], codes: tuple[int, ...]) -> Result | Unread:
    if not installed(argv[0]):
        return Unread(f"{argv[0]} is not installed on this host")
    try:
        answer = run(argv, timeout=SECONDS, ok=None)
    except OpsError as problem:
        return Unread(f"{argv[0]}: {problem.why}")
    return answer if answer.returncode in codes else Unread(f"{argv[0]}: {answer.last_words(1)}")


def python() -> tuple[Advisory, ...] | Unread:
    """The backend's locked packages, by pip-audit."""
    lock = REPOSITORY / "compose" / "backend" / "requirements.lock"
    answer = _asked((
        "pip-audit", "--requirement", str(lock), "--disable-pip", "--require-hashes", "--format", "json",
        "--progress-spinner", "off", "--timeout", "5",
    ), (0, 1))  # fmt: skip
    if isinstance(answer, Unread):
        return answer
    try:
        return read_pip_audit(json.loads(answer.stdout))
    except ValueError:
        return Unread(f"pip-audit: {answer.last_words(1)}")


def read_pip_audit(report: Mapping[str, Any]) -> tuple[Advisory, ...] | Unread:
    """What pip-audit found; unread where it could not ask about a single one of the packages."""
    packages = report["dependencies"]
    if skipped := [str(one["name"]) for one in packages if "skip_reason" in one]:
        return Unread(f"pip-audit could not ask about {len(skipped)} of {len(packages)} packages ({skipped[0]} …)")
    return tuple(
        Advisory(f"{one['name']} {one['version']}", found["id"], ", ".join(found.get("fix_versions") or ()))
        for one in packages for found in one.get("vulns") or ()
    )  # fmt: skip


def javascript() -> tuple[Advisory, ...] | Unread:
    """What the frontend's pages are built of, by npm."""
    folder = str(REPOSITORY / "compose" / "frontend")
    answer = _asked(("npm", "--prefix", folder, "audit", "--package-lock-only", "--omit", "dev", "--json"), (0, 1))
    if isinstance(answer, Unread):
        return answer
    try:
        return read_npm_audit(json.loads(answer.stdout))
    except ValueError:
        return Unread(f"npm: {answer.last_words(1)}")


def read_npm_audit(report: Mapping[str, Any]) -> tuple[Advisory, ...] | Unread:
    if "vulnerabilities" not in report:
        return Unread(f"npm: {report.get('message') or report.get('error') or 'it said nothing of vulnerabilities'}")
    return tuple(
        Advisory(name, str(one.get("title", one.get("name", ""))) if isinstance(one, Mapping) else str(one))
        for name, found in report["vulnerabilities"].items() for one in found["via"]
    )  # fmt: skip


def debian(roots: Mapping[str, Path]) -> Mapping[str, tuple[Advisory, ...]] | Unread:
    """Packages of each image by Debian's security tracker, of those weaknesses that an update mends.

    Parameters
    ----------
    roots: service -> root folder of one of its containers.
    """
    if not installed("debsecan"):
        return Unread("debsecan is not installed on this host (apt-get install debsecan)")
    with ThreadPoolExecutor(max_workers=4) as pool:
        found = dict(zip(roots, pool.map(_debsecan, roots.values()), strict=True))
    for service, answer in found.items():
        if isinstance(answer, Unread):
            return Unread(f"{service}: {answer.why}")
    return {service: answer for service, answer in found.items() if not isinstance(answer, Unread)}


def _debsecan(root: Path) -> tuple[Advisory, ...] | Unread:
    try:
        # What /etc/os-release, a link, leads to.
        release = text_within(root, "usr/lib/os-release").splitlines()
        suite = dict(line.split("=", 1) for line in release if "=" in line)["VERSION_CODENAME"]
        packages = text_within(root, "var/lib/dpkg/status")
    except (OSError, KeyError):
        return Unread("its image keeps no list of Debian packages")
    with tempfile.NamedTemporaryFile("w", suffix=".status") as copy:
        copy.write(packages)
        copy.flush()
        argv = ("debsecan", "--suite", suite.strip('"'), "--only-fixed", "--format", "simple", "--status", copy.name)
        answer = _asked(argv, (0,))
    return answer if isinstance(answer, Unread) else read_debsecan(answer.stdout)


def read_debsecan(text: str) -> tuple[Advisory, ...]:
    """Lines of `IDENTITY PACKAGE`."""
    lines = (line.split() for line in text.splitlines() if line.strip())
    return tuple(Advisory(package, identity) for identity, package, *_ in lines)
