"""When the repositories beyond this host are looked at."""

from datetime import UTC, datetime
from pathlib import Path

from backup import journal, observe, scheduler, settings
from backup.journal import Entry
from test_configuration import PLACES

SHIPPED = Path(__file__).parents[3] / "config/backup/backup.toml"


def test_what_a_job_by_hand_changed_is_seen_by_whoever_looks_first(tmp_path, monkeypatch):
    (tmp_path / "cipher").write_text("k" * 30)
    entries, looks = {}, []
    monkeypatch.setattr(scheduler, "CIPHER", tmp_path / "cipher")
    monkeypatch.setattr(journal, "read", lambda: dict(entries))
    monkeypatch.setattr(observe, "look", lambda places, before, *, everywhere: looks.append(everywhere) or observe.Seen())
    under_test = scheduler.Scheduler(settings.load(SHIPPED), PLACES)

    under_test.look(everywhere=True)
    under_test.look(everywhere=False)
    entries["incr"] = Entry(last_attempt=datetime.now(UTC))
    under_test.look(everywhere=False)
    under_test.look(everywhere=False)

    assert looks == [True, False, True, False]
