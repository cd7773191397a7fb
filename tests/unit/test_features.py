"""Features do not import each other in circles: the pairs that still do are listed, and the list only becomes shorter."""

from __future__ import annotations

from tests.unit.imports import circles, features

CIRCLES = {
    ("certificates", "deploy"),
    ("deploy", "keycloak"), ("deploy", "secrets"),
}  # fmt: skip
"""Pairs that import each other. Nothing is added here: what both need belongs to one of them, or to a folder below both."""


def test_no_two_features_import_each_other_but_those_that_did() -> None:
    new = circles() - CIRCLES

    assert {pair: sorted(files_of(pair)) for pair in new} == {}


def files_of(pair: tuple[str, str]) -> set[str]:
    one, other = pair
    return {*features()[one][other], *features()[other][one]}


def test_graph_is_the_one_of_ops() -> None:
    assert {"core", "stack", "cli", "deploy", "certificates"} <= set(features())
    assert {"core", "stack"} <= set(features()["deploy"]), "imports at the top"
    assert "status" in features()["logs"] or "project" in features()["logs"], "and those in functions"
