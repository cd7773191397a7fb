"""Who imports whom: the modules below ops/ and the features, its folders, by the imports that stand anywhere in a file."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from tests.unit.builders import REPOSITORY


def path_of(name: str) -> Path | None:
    """File of a dotted name, where that is a module of this repository."""
    base = REPOSITORY / name.replace(".", "/")
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def imported(path: Path) -> Iterator[Path]:
    """Files of ops/ that a module imports: at its top, in a function, or for its types alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [(str(node.module), alias.name) for alias in node.names]
        else:
            continue
        for module, name in names:
            if module.partition(".")[0] == "ops" and (found := path_of(f"{module}.{name}") or path_of(module)):
                yield found


def feature_of(path: Path) -> str:
    """The folder directly below ops/, or the name of a file that stands there by itself."""
    return path.relative_to(REPOSITORY / "ops").with_suffix("").parts[0]


@cache
def features() -> Mapping[str, Mapping[str, frozenset[str]]]:
    """Feature -> feature that it imports -> the files that do."""
    found: dict[str, dict[str, set[str]]] = {}
    for path in sorted((REPOSITORY / "ops").rglob("*.py")):
        own = found.setdefault(feature_of(path), {})
        for other in map(feature_of, imported(path)):
            if other != feature_of(path):
                own.setdefault(other, set()).add(str(path.relative_to(REPOSITORY)))
    return {name: {other: frozenset(files) for other, files in own.items()} for name, own in found.items()}


def circles() -> set[tuple[str, str]]:
    """Pairs of features that import each other, in alphabetical order."""
    graph = features()
    return {(one, other) for one, others in graph.items() for other in others if one < other and one in graph[other]}
