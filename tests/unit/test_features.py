"""Features do not import each other in circles."""

from __future__ import annotations

from tests.unit.imports import circles, features


def test_no_two_features_import_each_other() -> None:
    """What both need belongs to one of them, to a folder below both, or is named in ops/composition.py."""
    assert {pair: sorted(files_of(pair)) for pair in circles()} == {}


def files_of(pair: tuple[str, str]) -> set[str]:
    one, other = pair
    return {*features()[one][other], *features()[other][one]}


def test_graph_is_the_one_of_ops() -> None:
    assert {"core", "stack", "cli", "deploy", "certificates"} <= set(features())
    assert {"core", "stack"} <= set(features()["deploy"]), "imports at the top"
    assert "status" in features()["logs"] or "project" in features()["logs"], "and those in functions"
