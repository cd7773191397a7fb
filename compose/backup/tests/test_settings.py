from datetime import time, timedelta
from pathlib import Path

import pytest
from backup import settings

SHIPPED = (Path(__file__).parents[3] / "config/backup/backup.toml").read_text()


def test_the_shipped_file_is_read():
    read = settings.parse(SHIPPED)
    assert read.postgres.full_at == time(2, 30)
    assert read.postgres.diff_every == timedelta(hours=6)
    assert read.redis.keep == 7


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("keep_full", "keepfull", "did you mean postgres.keep_full"),
        ('full_at = "02:30"', 'full_at = "25:00"', "postgres.full_at: '25:00' is not a time of day"),
        ('diff_every = "6h"', 'diff_every = "6 hours"', "postgres.diff_every: '6 hours' is not a duration"),
        ("keep_full = 7", "keep_full = 0", "postgres.keep_full: 0 is not a whole number"),
        ('grace = "10m"', "", "missing key health.grace"),
        ("[redis]", "[redis", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_named(old, new, message):
    with pytest.raises(settings.SettingsError, match=message.replace("(", r"\(")):
        settings.parse(SHIPPED.replace(old, new))
