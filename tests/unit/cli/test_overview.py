"""`inv` and `inv --list`: every command once, in one line."""

from __future__ import annotations

import copy

import pytest
from invoke import Program

import tasks
from ops.cli.overview import GROUPS

LISTED = [name for names in GROUPS.values() for name in names]


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    # Invoke takes the help texts out of the tasks that it lists: a copy is listed.
    with pytest.raises(SystemExit) as ended:
        Program(namespace=copy.deepcopy(tasks.namespace), binary="inv").run(["inv", *words])
    assert ended.value.code == 0
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


def test_without_a_command_it_explains_itself_and_names_no_option_of_invoke_that_has_no_effect(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = "\n".join(printed(capsys))

    assert "inv COMMAND [OPTIONS]" in text and "--help COMMAND" in text
    assert [option for option in ("--echo", "--pty", "--hide", "--warn-only", "--write-pyc", "sudo") if option in text] == []
