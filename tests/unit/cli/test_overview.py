"""`inv` and `inv --list`: every command once, in one line."""

from __future__ import annotations

import copy
import json

import pytest
from invoke import Program

import tasks
from ops.cli.overview import GROUPS

LISTED = [name for names in GROUPS.values() for name in names]


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
