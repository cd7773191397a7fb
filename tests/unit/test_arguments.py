"""`inv logs [SERVICE]`: the word may be there or not."""

import pytest
from invoke import Collection, Context
from invoke.parser import Parser
from invoke.parser.context import ParserContext

from ops.verbs.common import verb


@verb(positional=["service"], help={"service": "which", "follow": "go on"})
def said(c: Context, service: str = "", follow: bool = False) -> None:
    """Something."""


@verb()
def other(c: Context) -> None:
    """Something else."""


def parsed(*words: str) -> list[ParserContext]:
    contexts = Collection(said, other).to_contexts()
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
