"""The running database is compared with the manifest of a set, right after a restore to that very place."""

import io
import json
import sys

import pytest
from backup import compare
from backup.errors import CommandError
from stack import Stack, made, manifest_of


@pytest.fixture
def given(container: Stack, monkeypatch: pytest.MonkeyPatch) -> dict:
    """The manifest on standard input; it may be changed before that is read."""
    made(container)
    said = manifest_of(container)
    container.said.clear()
    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"read": lambda self: io.StringIO(json.dumps(said)).read()})())
    return said


def test_database_that_holds_what_the_set_says_passes(container, given, capsys):
    assert compare.main() == 0
    assert capsys.readouterr() == ("1 tables and 2 rows in 2 databases are those of the set\n", "")
    assert {who for who, _ in container.said} == {"backup"}


@pytest.mark.parametrize(
    ("found", "why"), [({"rows": 1, "sum": "7"}, "1 rows in place of 2"), ({"rows": 2, "sum": "8"}, "differ")]
)
def test_difference_is_told_and_fails(container, given, capsys, found, why):
    container.tables["app"] = {"public.items": found}
    assert compare.main() == 1
    out, err = capsys.readouterr()
    assert out == "" and why in err


def test_database_that_does_not_answer_fails(container, given, capsys):
    container.fails["psql app"] = CommandError("no connection")
    assert compare.main() == 1
    assert "no connection" in capsys.readouterr().err


def test_set_that_somebody_wrote_into_is_not_compared(container, given, capsys):
    given["fingerprint"]["exact"] = False
    container.tables["app"] = {}
    assert compare.main() == 0
    assert capsys.readouterr().out.startswith("not compared")
    assert container.said == []
