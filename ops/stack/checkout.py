"""What the checkout says: settings, compose file, mounted configuration, build contexts."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatch, translate
from pathlib import Path
from typing import Any

from ops.core.errors import OpsError, UsageProblem
from ops.core.process import run
from ops.stack.alert_receivers import COMMANDS, commands_template
from ops.stack.applied_settings import ALERTMANAGER
from ops.stack.compose import fill_config
from ops.stack.images import DOCS, REGISTRY, WantedImage, content_hash, pinned_digest, stamp_of, suites_of
from ops.stack.model import Service, Stack
from ops.stack.render import digest
from ops.stack.settings import Settings, parse_settings

GIT_SECONDS = 20.0
ALWAYS_IGNORED = ("__pycache__", "*.pyc", "node_modules", ".git", ".venv", ".pytest_cache", ".mypy_cache", ".ruff_cache")
REALM = "realm.yaml"
NOT_MOUNTED = ("*_test.yml", "README.md", REALM)
"""Files in config/<service>/ that its container has no use for: tests, and what is applied through an API."""


def read_settings(repository: Path) -> Settings:
    """config/stack.yaml; CC03_PROJECT names another project, CC03_STACK another file.

    Raises UsageProblem where the file is missing or cannot be meant.
    """
    source = Path(os.environ.get("CC03_STACK") or repository / "config" / "stack.yaml")
    try:
        text = source.read_text(encoding="utf-8")
    except OSError as problem:
        raise UsageProblem(f"cannot read {source}", str(problem.strerror), f"git checkout {source.name}") from problem
    except UnicodeDecodeError as problem:
        line = problem.object.count(b"\n", 0, problem.start) + 1
        raise UsageProblem(
            f"{source.name}:{line} is not UTF-8", f"byte {problem.object[problem.start]:#04x} begins no character",
            f"correct line {line}, or convert the file: iconv -f latin1 -t utf-8",
        ) from problem  # fmt: skip
    shown = source.relative_to(repository) if source.is_relative_to(repository) else source
    return parse_settings(text, shown, os.environ.get("CC03_PROJECT"))


def files_of(folder: Path) -> Iterator[tuple[str, int, bytes]]:
    """Every file that a build of this folder depends on: (path within it, mode, content).

    That is all that `.containerignore` lets it see, and its Containerfile, which is read even where that is ignored."""
    ignore_file = folder / ".containerignore"
    lines = ignore_file.read_text().splitlines() if ignore_file.exists() else []
    patterns = [*ALWAYS_IGNORED, *(line.strip() for line in lines if line.strip() and not line.startswith("#"))]
    # One expression for all of them: a deploy asks this of 500 names.
    of_name = re.compile("|".join(map(translate, patterns))).match
    of_path = re.compile("|".join(translate(pattern.rstrip("/")) for pattern in patterns)).match
    for parent, folders, names in os.walk(folder):
        inside = os.path.relpath(parent, folder)
        prefix = "" if inside == "." else inside + "/"
        folders[:] = sorted(name for name in folders if not (of_name(name) or of_path(prefix + name)))
        for name in sorted(names):
            if prefix + name == "Containerfile" or not (of_name(name) or of_path(prefix + name)):
                path = Path(parent) / name
                yield prefix + name, path.stat().st_mode, path.read_bytes()


def base_tag(repository: Path, suite: str, refresh: str) -> str:
    """Tag of a suite's base image. `refresh`: stamp of the last `inv build --refresh`, which takes up security fixes."""
    return f"{REGISTRY}/base-{suite}:{content_hash(files_of(repository / 'compose' / 'base'), suite, refresh)}"


def wanted_images(stack: Stack, repository: Path, stamps: str) -> dict[str, WantedImage]:
    """The image of every service, under the hash of all that goes into it. `stamps`: of refreshes (stack/images.py)."""
    images = {}
    for service in stack.services.values():
        if service.build is None:
            source = pinned_digest(str(service.definition["image"]))
            images[service.name] = WantedImage(service.name, f"{REGISTRY}/{service.name}:{digest(source)}", source=source)
            continue
        containerfile = (service.build / "Containerfile").read_text(encoding="utf-8")
        suites = suites_of(containerfile)
        bases = tuple((suite, base_tag(repository, suite, stamp_of(stamps, service.name))) for suite in suites)
        docs = (content_hash(files_of(repository / "docs")),) if DOCS.search(containerfile) else ()
        tag = content_hash(files_of(service.build), *(base for _, base in bases), *docs)
        images[service.name] = WantedImage(service.name, f"{REGISTRY}/{service.name}:{tag}", str(service.build), bases)
    return images


def config_of(
    service: Service, slots: Mapping[str, tuple[str, ...]], values: Mapping[str, str], repository: Path
) -> dict[str, str]:
    """Mounted configuration of one service, placeholders filled: path within config/<service>/ -> text.

    slots: service -> its containers, for lines that are repeated. values: what the placeholders stand for.
    """
    folder = repository / "config" / service.name
    read = {
        path: fill_config(content.decode(), values, slots, f"config/{service.name}/{path}")
        for path, _, content in files_of(folder)
        if not any(fnmatch(Path(path).name, pattern) for pattern in NOT_MOUNTED)
    }
    if service.name == ALERTMANAGER:
        pages = (repository / "docs" / "runbooks").glob("*.md")
        read[COMMANDS] = commands_template({path.name: path.read_text(encoding="utf-8") for path in pages})
    return read


def realm_of(values: Mapping[str, str], repository: Path, check: Callable[[str, str], object]) -> str:
    """Declaration of Keycloak's realm, placeholders filled.

    check: raises UsageProblem where a declaration, read from a file of that name, cannot be meant.
    """
    path = repository / "config" / "keycloak" / REALM
    try:
        text = fill_config(path.read_text(encoding="utf-8"), values, {}, f"config/keycloak/{REALM}")
    except OSError as problem:
        raise UsageProblem(f"cannot read {path}", str(problem.strerror), f"git checkout {path.name}") from problem
    check(text, f"config/keycloak/{REALM}")
    return text


def origin(repository: Path) -> dict[str, Any]:
    """Commit of a checkout and whether files differ from it; both None where Git does not say."""
    # The checkout may be another account's, whose files root is about to deploy anyway.
    argv = ("git", "-c", "safe.directory=*", "-C", str(repository), "status", "--porcelain=v2", "--branch")
    try:
        said = run(argv, timeout=GIT_SECONDS, ok=None, env={"GIT_OPTIONAL_LOCKS": "0"})
    except OpsError:
        return {"commit": None, "dirty": None}
    lines = said.stdout.splitlines()
    # A repository without a commit says "(initial)".
    commit = next((line.split()[-1] for line in lines if line.startswith("# branch.oid ") and "(" not in line), None)
    return {"commit": commit, "dirty": any(not line.startswith("#") for line in lines) if commit else None}


def config_version(files: Mapping[str, str]) -> str:
    return digest(dict(files))
