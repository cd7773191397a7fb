"""What a migration run would do and what it says, told from revisions alone; no database is needed."""

import json
import logging
from contextlib import contextmanager

import pytest
from alembic.script import ScriptDirectory

from app import migrate
from app.migrate import ContractingRefused, MigrationFailed, Outlook, outlook

SCRIPT = """
revision = {revision!r}
down_revision = {before!r}
{more}
"""


@pytest.fixture
def scripts(tmp_path):
    """0001 and 0002 expand, 0003 contracts, 0004 expands."""
    (tmp_path / "versions").mkdir()
    revisions = (("0001", None, False), ("0002", "0001", False), ("0003", "0002", True), ("0004", "0003", False))
    for revision, before, contracting in revisions:
        write(tmp_path, revision, before, f"contracting = {contracting}")
    return tmp_path


def write(folder, revision, before, more):
    text = SCRIPT.format(revision=revision, before=before, more=more)
    (folder / "versions" / f"{revision}_x.py").write_text(text)


class Connection:
    """Answers the two questions about the revision."""

    def __init__(self, revision):
        self.revision = revision

    def execute(self, statement, *_):
        self.asked = statement
        return self

    def fetchone(self):
        if "to_regclass" in self.asked or "advisory" in self.asked:
            return (True,)
        return (self.revision,) if self.revision else None


@pytest.fixture
def schema(monkeypatch, scripts):
    """The database as a connection, with these scripts; an upgrade takes it to the newest revision."""
    connection = Connection(None)

    @contextmanager
    def connect(_settings):
        yield connection

    monkeypatch.setattr(migrate, "connect", connect)
    monkeypatch.setattr(migrate, "outlook", lambda current: outlook(current, scripts))
    monkeypatch.setattr(migrate, "upgrade", lambda _settings: setattr(connection, "revision", "0004"))
    return connection


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        (None, Outlook(None, ("0001", "0002", "0003", "0004"), ("0003",))),
        ("0001", Outlook("0001", ("0002", "0003", "0004"), ("0003",))),
        ("0003", Outlook("0003", ("0004",))),
        ("0004", Outlook("0004")),
        ("0009", Outlook("0009", unknown=True)),
    ],
)
def test_what_is_left_to_do(scripts, current, expected):
    assert outlook(current, scripts) == expected


@pytest.mark.parametrize("more", ["", "contracting = 'no'"])
def test_a_pending_migration_has_to_say_whether_it_contracts(scripts, more):
    write(scripts, "0005", "0004", more)
    with pytest.raises(MigrationFailed, match="0005"):
        outlook("0004", scripts)


def test_one_that_has_run_long_ago_is_not_asked(scripts):
    write(scripts, "0001", None, "")
    assert outlook("0001", scripts).pending == ("0002", "0003", "0004")


def test_every_migration_of_ours_says_whether_it_contracts():
    ours = list(ScriptDirectory.from_config(migrate.configuration()).walk_revisions())
    assert ours and all(isinstance(script.module.contracting, bool) for script in ours)


def last_line(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_check_tells_and_changes_nothing(schema, capsys):
    schema.revision = "0002"
    assert migrate.attempt(lambda: migrate.check(None)) == 0
    assert schema.revision == "0002"
    expected = {"revision": "0002", "pending": ["0003", "0004"], "contracting": ["0003"], "unknown": False}
    assert last_line(capsys) == expected


def test_a_contracting_migration_is_refused_unless_allowed(schema, capsys):
    schema.revision = "0002"
    with pytest.raises(ContractingRefused, match="0003"):
        migrate.migrate(None, False)
    assert migrate.attempt(lambda: migrate.migrate(None, False)) == 9
    assert schema.revision == "0002"

    assert migrate.attempt(lambda: migrate.migrate(None, True)) == 0
    assert last_line(capsys) == {"revision": "0004", "applied": ["0003", "0004"]}


def test_only_what_is_pending_decides(schema, capsys):
    schema.revision = "0003"
    assert migrate.attempt(lambda: migrate.migrate(None, False)) == 0
    assert last_line(capsys) == {"revision": "0004", "applied": ["0004"]}


def test_an_older_release_leaves_a_newer_schema_alone(schema, capsys, caplog):
    schema.revision = "0009"
    assert migrate.attempt(lambda: migrate.check(None)) == 0
    assert last_line(capsys) == {"revision": "0009", "pending": [], "contracting": [], "unknown": True}

    with caplog.at_level(logging.WARNING, "app.migrate"):
        assert migrate.attempt(lambda: migrate.migrate(None, False)) == 0
    assert last_line(capsys) == {"revision": "0009", "applied": []}
    assert schema.revision == "0009" and "newer than this release" in caplog.text


def test_an_unknown_argument_is_a_usage_error():
    with pytest.raises(SystemExit) as ended:
        migrate.main(["--chek"])
    assert ended.value.code == 2
