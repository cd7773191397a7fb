"""`inv logs [SERVICE]`: the word may be there or not. And what is told of a command line that cannot be meant."""

import pytest
from invoke import Collection, Context, Exit, ParseError, Program
from invoke.parser import Parser
from invoke.parser.context import ParserContext

from ops.verbs.common import verb


@verb(positional=["service"], help={"service": "which", "follow": "go on"})
def said(c: Context, service: str = "", follow: bool = False) -> None:
    """Something."""


@verb()
def other(c: Context) -> None:
    """Something else."""


@verb(positional=["file"], help={"file": "which", "note": "why"})
def kept(c: Context, file: str, note: str = "") -> None:
    """Something with a word that is needed."""


COMMANDS = Collection(said, other, kept)


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
