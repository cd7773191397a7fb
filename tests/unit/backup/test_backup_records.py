"""The records of this host in host.tar, and on the host that gets them back."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.audit_log import record as audit
from ops.backup import host_archive as archive
from ops.core import records
from ops.core.journal import Journal
from ops.core.state import State
from ops.project import Project
from ops.secrets import backup_keys as keys
from ops.stack.release import Activation
from ops.store import releases
from tests.unit.backup.test_backup_archive import project as project  # noqa: PLC0414  (a fixture)


def test_records_come_back_with_their_finished_parts_but_for_those_of_journals(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = project.state
    monkeypatch.setattr(records, "LARGE", 1)
    for number in range(3):
        audit.append(state, {"who": "me", "command": "inv deploy", "verb": "deploy", "event": "begin"})
        releases.record_activation(state, Activation(7, "deploy", "2026-03-10T12:00:00+0000", "good"))
        for name in archive.JOURNALS:
            Journal(state.root / name, f"run-{number}").write("begin", verb="deploy")
    path, fresh = archive.keep(project), State(tmp_path / "fresh")
    assert path
    monkeypatch.setattr("os.chown", lambda *_, **__: None)
    monkeypatch.setattr("os.lchown", lambda *_: None)
    (tmp_path / "stack.yaml").write_text("")
    fresh.root.mkdir()
    archive.unpack(path, fresh.root, tmp_path / "stack.yaml", keys.recovery_keys(state))

    assert {one.name for one in fresh.root.glob("*.jsonl")} == {
        "audit.1.jsonl", "audit.2.jsonl", "audit.jsonl", "activations.1.jsonl", "activations.2.jsonl", "activations.jsonl",
        "journal.jsonl", "backup.jsonl",
    }  # fmt: skip
    assert (audit.verify(fresh).entries, audit.verify(fresh).findings) == (3, ())
    audit.append(fresh, {"who": "me", "command": "inv restore", "verb": "restore", "event": "begin"})
    assert (audit.verify(fresh).entries, audit.verify(fresh).findings) == (4, ())
