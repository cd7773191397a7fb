"""Validation, paging and conditions of the items resource, as far as no database is needed."""

from uuid import UUID

import pytest
from pydantic import ValidationError

from app.items.models import Item, ItemInput
from app.items.routes import pack
from app.items.storage import like_pattern, order_by
from app.middleware import accept_request_id

UNSEEN = (
    "\x00", "\x1b", "\x7f", "\x85", "\xad", "\u061c", "\u200b", "\u200c", "\u200d", "\u200e", "\u200f", "\u2028", "\u202a",
    "\u202e", "\u2060", "\u2066", "\u2069", "\u3164", "\ufeff", "\U000e0041", "\ud800",
)  # fmt: skip
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
        {"notes": "a\u202eb"},
        *({"name": f"Bolt{character}M8"} for character in UNSEEN),
        *({"location": f"Shelf {character}2"} for character in UNSEEN),
        {"version": 7},
    ],
)
def test_what_cannot_be_stored_is_refused(wrong):
    with pytest.raises(ValidationError):
        ItemInput(**{**GOOD, **wrong})


@pytest.mark.parametrize(
    "name",
    [
        "می\u200cخواهم", "क्\u200dष", "葛\U000e0100飾区", "👩\u200d🔬", "❤\ufe0f\u200d🔥", "1\ufe0f\u20e3 Dübel", "מברג פיליפס",
        "ボルト M8", "Æther ½″",
    ],
    ids=["Persian", "Devanagari", "kanji", "emoji", "emoji with a selector", "keycap", "Hebrew", "Japanese", "symbols"],
)  # fmt: skip
def test_every_script_can_be_written(name):
    assert ItemInput(**{**GOOD, "name": name, "notes": f"{name}\n\t{name}"}).name == name


@pytest.mark.parametrize(
    "name", ["\u200dBolt", "Caf\u00e9\u200d", "م\u200c\u200cی", "Bolt \ufe0f", "葛\U000e0100\U000e0101"]
)
def test_joiners_and_selectors_stand_behind_what_they_belong_to(name):
    with pytest.raises(ValidationError, match=r"U\+"):
        ItemInput(**{**GOOD, "name": name})


def test_names_that_look_the_same_are_the_same():
    assert ItemInput(**{**GOOD, "name": "Du\u0308bel"}).name == ItemInput(**{**GOOD, "name": "Dübel"}).name == "Dübel"


def test_length_is_that_of_what_is_stored():
    # U+1D160 becomes three characters in NFC.
    with pytest.raises(ValidationError, match="200"):
        ItemInput(**{**GOOD, "name": "\U0001d160" * 100})


def test_a_row_from_before_these_rules_is_read():
    assert Item.model_construct(id=UUID(int=1), version=1, name="a\u202eb").model_dump_json()


def test_wildcards_in_a_search_are_plain_characters():
    assert like_pattern(r"50%_\x") == r"%50\%\_\\x%"


def test_pages_are_stable_because_the_id_breaks_ties():
    assert order_by("-quantity").as_string(None) == 'ORDER BY "quantity" DESC, id DESC'
    assert order_by("name").as_string(None) == 'ORDER BY "name" COLLATE names ASC, id ASC'
    with pytest.raises(ValueError):
        order_by("id; DROP TABLE items")


def test_the_cached_form_carries_the_version_apart():
    item = Item.model_construct(id=UUID(int=1), version=12, name="x")
    version, _, body = pack(item).partition(b"\n")
    assert version == b"12" and body.startswith(b"{")


def test_request_ids_are_taken_over_only_when_harmless():
    assert accept_request_id(b"0123456789abcdef") == "0123456789abcdef"
    for hostile in (b"", b"short", b"a" * 65, b"with space", b"line\nbreak", "ümlaut-id".encode()):
        replaced = accept_request_id(hostile)
        assert len(replaced) == 32 and replaced.encode() != hostile
