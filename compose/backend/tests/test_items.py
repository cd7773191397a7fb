"""Validation, paging and conditions of the items resource, as far as no database is needed."""

from uuid import UUID

import pytest
from pydantic import ValidationError

from app.items.models import Item, ItemInput
from app.items.routes import pack, parse_if_match
from app.items.storage import like_pattern, order_by
from app.middleware import accept_request_id
from app.problems import Problem

GOOD = {"name": "Bolt M8", "sku": "B-8", "quantity": 3}


def test_text_is_trimmed_and_the_rest_has_defaults():
    item = ItemInput(**{**GOOD, "name": "  Bolt  "})
    assert (item.name, item.location, item.notes) == ("Bolt", "", "")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": " "},
        {"name": "a\nb"},
        {"sku": "with space"},
        {"sku": "x" * 65},
        {"quantity": -1},
        {"quantity": "3"},
        {"quantity": 2**31},
        {"notes": "a\x00b"},
        {"version": 7},
    ],
)
def test_what_cannot_be_stored_is_refused(wrong):
    with pytest.raises(ValidationError):
        ItemInput(**{**GOOD, **wrong})


def test_wildcards_in_a_search_are_plain_characters():
    assert like_pattern(r"50%_\x") == r"%50\%\_\\x%"


def test_pages_are_stable_because_the_id_breaks_ties():
    assert order_by("-quantity").as_string(None) == 'ORDER BY "quantity" DESC, id DESC'
    with pytest.raises(ValueError):
        order_by("id; DROP TABLE items")


@pytest.mark.parametrize("value", ["*", 'W/"3"', '"1", "2"', "3", '"x"', ""])
def test_if_match_must_be_one_strong_tag(value):
    with pytest.raises(Problem) as refused:
        parse_if_match(value)
    assert refused.value.status == 400


def test_the_cached_form_carries_the_version_apart():
    item = Item.model_construct(id=UUID(int=1), version=12, name="x")
    version, _, body = pack(item).partition(b"\n")
    assert version == b"12" and body.startswith(b"{")


def test_request_ids_are_taken_over_only_when_harmless():
    assert accept_request_id(b"0123456789abcdef") == "0123456789abcdef"
    for hostile in (b"", b"short", b"a" * 65, b"with space", b"line\nbreak", "ümlaut-id".encode()):
        replaced = accept_request_id(hostile)
        assert len(replaced) == 32 and replaced.encode() != hostile
