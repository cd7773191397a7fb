"""Features do not import each other in circles, neither two nor many of them."""

from __future__ import annotations

from graphlib import TopologicalSorter

from tests.unit.imports import circles, features

NAMES_FEATURES = {"composition", "supervisor"}
"""They say which features take part in every change, and which checks the health supervisor makes. What uses them, features
use."""


def test_no_two_features_import_each_other() -> None:
    """What both need belongs to one of them, to a folder below both, or is named in ops/composition.py."""
    assert {pair: sorted(files_of(pair)) for pair in circles() if not NAMES_FEATURES & set(pair)} == {}


def test_features_have_an_order_in_which_each_imports_earlier_ones_only() -> None:
    graph = {name: set(others) - NAMES_FEATURES for name, others in features().items() if name not in NAMES_FEATURES}

    order = list(TopologicalSorter(graph).static_order())  # CycleError names the features of a circle

    assert order.index("core") < order.index("stack") < order.index("deploy")


def files_of(pair: tuple[str, str]) -> set[str]:
    one, other = pair
    return {*features()[one][other], *features()[other][one]}


def test_graph_is_the_one_of_ops() -> None:
    assert {"core", "stack", "cli", "deploy", "certificates"} <= set(features())
    assert {"core", "stack"} <= set(features()["deploy"]), "imports at the top"
    assert "status" in features()["logs"] or "project" in features()["logs"], "and those in functions"
