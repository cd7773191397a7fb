"""Podman's log files as lines, once and as they are written."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from ops.engines.engine import Line
from ops.engines.podman.logs import follow, lines, read


def test_parts_are_joined_by_stream_and_what_is_no_line_is_left_out() -> None:
    text = (
        "2026-01-31T11:50:02.0+00:00 stdout P one \n2026-01-31T11:50:02.1+00:00 stderr F aside\n"
        "7Z stdout F cut\n2026-01-31T11:50:02.2+00:00 stdout F line\nnonsense\n2026-01-31T11:50:02.3+00:00 stdout F\n"
    )

    assert list(lines("redis", text)) == [
        Line("redis", "2026-01-31T11:50:02.1+00:00", "aside"), Line("redis", "2026-01-31T11:50:02.2+00:00", "one line"),
        Line("redis", "2026-01-31T11:50:02.3+00:00", ""),
    ]  # fmt: skip


def test_line_without_its_end_is_shown_as_far_as_it_goes() -> None:
    text = "2026-01-31T11:50:02.0+00:00 stdout P one \n2026-01-31T11:50:02.1+00:00 stdout P line, "

    assert [line.text for line in lines("redis", text)] == ["one line, "]


def test_logs_are_read_by_name_and_from_their_end(tmp_path: Path) -> None:
    for name in ("redis", "nginx"):
        rows = (f"2026-01-31T11:50:0{second}+00:00 stdout F {name} {second}\n" for second in range(3))
        (tmp_path / f"{name}.log").write_text("".join(rows))

    assert [line.text for line in read(tmp_path, lambda log: True)][2:4] == ["nginx 2", "redis 0"]
    assert [line.text for line in read(tmp_path, lambda log: log == "redis", 60)] == ["redis 2"]
    assert list(read(tmp_path, lambda log: log == "none")) == []


def test_new_lines_are_followed_through_a_replaced_file(tmp_path: Path) -> None:
    path = tmp_path / "redis.log"
    path.write_text("2026-01-31T11:50:00+00:00 stdout F before this began\n" * 5)
    changes = [
        lambda: path.open("a").write("2026-01-31T11:50:01+00:00 stdout F appended\n2026-01-31T11:50:02+00:00 stdout F half"),
        lambda: path.open("a").write(" a line\n"),
        lambda: path.write_text("2026-01-31T11:50:03+00:00 stdout F of the new file\n"),
    ]

    def pause(seconds: float) -> None:
        changes.pop(0)()
        (tmp_path / "nginx.log").write_text(f"2026-01-31T11:50:0{len(changes)}+00:00 stdout F not asked for\n")

    found = follow(tmp_path, lambda log: log == "redis", pause)

    assert [line.text for line in islice(found, 3)] == ["appended", "half a line", "of the new file"]
