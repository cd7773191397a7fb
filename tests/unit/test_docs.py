"""Documentation that leads somewhere: every relative link resolves, every command is named where operators look."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import tasks
from ops.security_audit.controls import CONTROLS
from tests.unit.builders import REPOSITORY

PAGES = [*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").rglob("*.md"))]
READMES = ("README.md", "README.ja.md")
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")
COMMAND = re.compile(r"\binv ([a-z]+(?:\.[a-z]+(?:-[a-z0-9]+)*)?)\b(?!<TAB>)")
COMMANDS = [*tasks.namespace.task_names, *(alias for names in tasks.namespace.task_names.values() for alias in names)]


def named(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def anchor(heading: str) -> str:
    """The name under which a heading can be linked to, as code hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@cache
def anchors(path: Path) -> frozenset[str]:
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return frozenset(anchor(line) for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE))


def links(text: str) -> list[str]:
    """Targets of the links and pictures of a page, those in code left out."""
    return [link or picture for link, picture in LINK.findall(CODE.sub("", text))]


def dead_links(page: Path) -> Iterator[str]:
    for target in links(page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or not found.is_relative_to(REPOSITORY) or (fragment and fragment not in anchors(found)):
            yield target


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_relative_link_resolves(page: Path) -> None:
    assert list(dead_links(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    code = "\n".join(CODE.findall(page.read_text(encoding="utf-8")))

    assert {name for name in COMMAND.findall(code) if name not in COMMANDS} == set()


@pytest.mark.parametrize("readme", READMES)
@pytest.mark.parametrize("command", tasks.namespace.task_names)
def test_every_command_has_its_row_in_the_readme(command: str, readme: str) -> None:
    rows = [line for line in (REPOSITORY / readme).read_text(encoding="utf-8").splitlines() if line.startswith("| `inv ")]

    assert [row for row in rows if re.match(rf"\| `inv {re.escape(command)}[` ]", row)], f"{command} is missing in {readme}"


@pytest.mark.parametrize("command", tasks.namespace.task_names)
def test_every_command_has_its_section_in_the_reference(command: str) -> None:
    assert f"\n## inv {command}\n" in (REPOSITORY / "docs" / "reference" / "commands.md").read_text(encoding="utf-8")


def test_both_readmes_name_the_same_commands_and_pages() -> None:
    english, japanese = ((REPOSITORY / name).read_text(encoding="utf-8") for name in READMES)
    targets = [{link for link in links(text) if not link.startswith("README")} for text in (english, japanese)]

    assert targets[0] == targets[1]


@pytest.mark.parametrize("page", ["README.md", "README.ja.md", "docs/how-to/audit.md"])
def test_pages_say_how_many_controls_there_are(page: str) -> None:
    (said,) = re.findall(r"(\d+) (?:numbered (?:controls|questions)|項目)", (REPOSITORY / page).read_text())

    assert int(said) == len(CONTROLS) + 1  # 9.9, which judges the exceptions


def test_every_page_can_be_reached_from_the_index() -> None:
    reached: set[Path] = set()
    waiting = [REPOSITORY / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        targets = (target.partition("#")[0] for target in links(page.read_text(encoding="utf-8")))
        waiting += [(page.parent / target).resolve() for target in targets if target and not re.match(r"[a-z]+:", target)]

    assert {named(page) for page in PAGES if page not in reached} == set()
