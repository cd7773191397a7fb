"""Conditional requests (RFC 9110, section 13): which versions If-Match names, and when If-None-Match is answered 304."""

import time

import pytest

from app.items.conditions import ANY, etag, matched, versions
from app.problems import Problem


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['"3"'], (3,)),
        # nginx weakens the tag of an answer that it compresses.
        (['W/"3"'], (3,)),
        (['"3", W/"4" ,"5"'], (3, 4, 5)),
        (['"3",, "4",'], (3, 4)),
        (['"3"', '"4"'], (3, 4)),
        (["*"], ANY),
        ([" * "], ANY),
        # Valid tags, none of which was ever given to a version.
        (['"x"', '"a,b"', '""', '"03"', '"4294967296"'], ()),
    ],
)
def test_if_match_names_versions(lines, expected):
    assert versions("If-Match", lines) == expected


@pytest.mark.parametrize("line", ["3", 'w/"3"', '"3', '3"', '"3" "4"', "", ",", '*, "3"', 'W/ "3"', '"a b"', '"\x7f"'])
def test_what_is_no_list_of_tags_is_refused(line):
    with pytest.raises(Problem) as refused:
        versions("If-Match", [line])
    assert refused.value.status == 400 and "If-Match" in refused.value.detail


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (['"3"'], '"3"'),
        # As the client knows it: a stored answer is updated by a 304 with its own tag.
        (['W/"3"'], 'W/"3"'),
        (['"1", W/"3"'], 'W/"3"'),
        (["*"], '"3"'),
        (['"4"'], None),
        (["nonsense"], None),
        ([], None),
    ],
)
def test_if_none_match_finds_the_tag_of_the_version(lines, expected):
    assert matched(lines, 3) == expected


def test_long_list_is_read_in_linear_time():
    began = time.perf_counter()
    with pytest.raises(Problem):
        versions("If-Match", ['"1"' + " , " * 5000 + "x"])
    assert time.perf_counter() - began < 1


def test_tag_of_a_version_names_that_version():
    assert versions("If-Match", [etag(12)]) == (12,)
