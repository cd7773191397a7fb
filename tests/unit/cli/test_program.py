"""`inv logs [SERVICE]`: the word may be there or not. And what is told of a command line that cannot be meant."""

import copy
import json
import os
import sys

import pytest
from invoke import Collection, Context, Exit, ParseError, Program
from invoke.parser import Parser
from invoke.parser.context import ParserContext

import tasks
from ops.cli.command import verb
from ops.cli.program import GROUPS

LISTED = [name for names in GROUPS.values() for name in names]


@verb(positional=["service"], help={"service": "which", "follow": "go on"})
def said(c: Context, service: str = "", follow: bool = False) -> None:
    """Something."""


@verb()
def other(c: Context) -> None:
    """Something else."""


@verb(positional=["file"], help={"file": "which", "note": "why"})
def kept(c: Context, file: str, note: str = "") -> None:
    """Something with a word that is needed."""


@verb(help={"to": "number", "service": "which"})
def back(c: Context, to: int = 0, service: str | None = None) -> None:
    """Something with a number."""


COMMANDS = Collection(said, other, kept, back)


def parsed(*words: str) -> list[ParserContext]:
    contexts = COMMANDS.to_contexts()
    return list(Parser(contexts=contexts, initial=ParserContext("inv")).parse_argv(list(words)))[1:]


@pytest.mark.parametrize(
    ("words", "service", "follow"),
    [
        (("said",), "", False),
        (("said", "redis"), "redis", False),
        (("said", "--follow"), "", True),
        (("said", "--follow", "redis"), "redis", True),
        (("said", "redis", "--follow"), "redis", True),
        (("said", "--service", "redis"), "redis", False),
    ],
)
def test_a_positional_word_may_be_left_out(words: tuple[str, ...], service: str, follow: bool) -> None:
    (context,) = parsed(*words)
    assert context.args["service"].value == service
    assert context.args["follow"].value == follow


def test_another_command_may_follow() -> None:
    assert [context.name for context in parsed("said", "redis", "other")] == ["said", "other"]


@pytest.mark.parametrize(
    ("words", "what", "why", "following"),
    [
        (("sayd",), 'there is no command "sayd"', 'did you mean "said"?', "inv --list"),
        (("said", "redis", "othr"), 'there is no command "othr"', 'did you mean "other"?', "inv --help said"),
        (("said", "redis", "--folow"), "inv said has no option --folow", 'did you mean "--follow"?', "inv --help said"),
        (("other", "--quick"), "inv other has no option --quick", "it has none", "inv --help other"),
        (("--lst",), "inv has no option --lst", 'did you mean "--list"?', "inv --help"),
        (("kept",), "inv kept needs FILE", "it was not given", "inv --help kept"),
        (("kept", "a", "--note"), "inv kept: --note needs a value", "none was given", "inv --help kept"),
    ],
)
def test_command_line_that_cannot_be_meant_is_told_in_three_lines(
    words: tuple[str, ...], what: str, why: str, following: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        Program(namespace=COMMANDS, binary="inv").run(["inv", *words])

    assert caught.value.code == 2
    first, second, third = capsys.readouterr().err.splitlines()
    assert first == f"failed: {what}"
    assert second.startswith(f"   why: {why}")
    assert third == f"  next: {following}"


def test_tab_completion_still_finds_the_command_that_a_half_typed_option_belongs_to() -> None:
    with pytest.raises(ParseError) as caught:
        parsed("said", "redis", "--fol")

    assert isinstance(caught.value, Exit)
    assert caught.value.context is not None and caught.value.context.name == "said"


@pytest.mark.parametrize(
    "words",
    [("kept", "--help"), ("kept", "a", "--help"), ("kept", "-h"), ("said", "--help"), ("kept", "a", "--note", "--help")],
)
def test_help_works_in_any_place(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        Program(namespace=COMMANDS, binary="inv").run(["inv", *words])

    printed = capsys.readouterr()
    assert (caught.value.code, printed.err) == (0, "")
    assert f"inv [--core-opts] {words[0]}" in printed.out


@pytest.mark.parametrize("word", ["--hlep", "--note2", "-x"])
def test_a_word_that_begins_with_a_dash_is_never_a_positional(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        Program(namespace=COMMANDS, binary="inv").run(["inv", "kept", word])

    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith(f"failed: inv kept has no option {word}\n")


def test_a_single_dash_is_a_value() -> None:
    assert parsed("kept", "-")[0].args["file"].value == "-"


def test_option_that_needs_a_number_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        Program(namespace=COMMANDS, binary="inv").run(["inv", "back", "--to", "abc"])

    assert caught.value.code == 2
    assert capsys.readouterr().err.splitlines() == [
        "failed: inv back: --to takes a whole number", '   why: "abc" is not one', "  next: inv --help back",
    ]  # fmt: skip


def test_a_service_as_a_word_is_answered_with_the_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        Program(namespace=COMMANDS, binary="inv").run(["inv", "back", "backend"])

    assert capsys.readouterr().err.splitlines()[2] == "  next: inv back --service backend"


def run(*words: str) -> int:
    # Invoke takes the help texts out of the tasks that it lists: a copy is listed.
    with pytest.raises(SystemExit) as ended:
        Program(namespace=copy.deepcopy(tasks.namespace), binary="inv").run(["inv", *words])
    return int(ended.value.code or 0)


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert run(*words) == 0
    return capsys.readouterr().out.splitlines()


def test_every_command_stands_in_exactly_one_group() -> None:
    assert sorted(LISTED) == sorted(tasks.namespace.task_names)


@pytest.mark.parametrize("name", LISTED)
def test_summary_is_one_sentence_of_at_most_60_characters(name: str) -> None:
    first = (tasks.namespace[name].__doc__ or "").partition("\n")[0]
    assert first.endswith(".") and len(first) <= 60


def test_list_has_a_line_a_command_that_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "--list")

    assert [line.split()[0] for line in lines if line.startswith("  ")] == LISTED
    assert [line for line in lines if len(line) > 80] == []


def test_one_group_can_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "--list", "backup")

    assert [line.split()[0] for line in lines if line.startswith("  .")] == [
        ".credentials", ".key", ".list", ".make", ".prune", ".verify",
    ]  # fmt: skip


def test_list_as_json_has_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = printed(capsys, "--list", "--list-format", "json")
    top = json.loads(line)

    names = [task["name"] for task in top["tasks"]]
    names += [f"{group['name']}.{task['name']}" for group in top["collections"] for task in group["tasks"]]
    assert sorted(names) == sorted(LISTED)


def test_list_of_one_level_has_a_line_a_group(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\n".join(printed(capsys, "--list", "-D", "1"))

    assert "  deploy " in text and "  backup" in text
    assert "backup.make" not in text


def test_unknown_format_of_the_list_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--list", "--list-format", "nestd") == 2
    assert capsys.readouterr().err.splitlines() == [
        'failed: inv --list has no format "nestd"', '   why: did you mean "nested"?', "  next: inv --list",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("", "backup.make"), ("certs.", "certs.rotate"), ("deploy -", "--plan"), ("logs redis --f", "--follow")],
)
def test_completion_offers_commands_and_their_options(typed: str, offered: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert offered in printed(capsys, "--complete", "--", "inv", *typed.split())


def test_without_a_command_it_explains_itself_and_names_no_option_of_invoke_that_has_no_effect(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "\n".join(printed(capsys))

    assert "inv COMMAND [OPTIONS]" in text and "--help COMMAND" in text
    assert [option for option in ("--echo", "--pty", "--hide", "--warn-only", "--write-pyc", "sudo") if option in text] == []


@pytest.mark.parametrize("words", [["--help", "deploy"], ["--list"], ["--list", "--list-format", "nested"], ["--help"]])
def test_reader_that_goes_away_ends_nothing_with_a_traceback(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as unread:
        monkeypatch.setattr(sys, "stdout", unread)
        assert run(*words) == 0
