"""How long metrics and logs are kept, as compose.yaml and the rules of alerts get it from the settings."""

from __future__ import annotations

import pytest

from ops.stack.compose import placeholders
from tests.unit.builders import PORTS, settings


def test_sizes_are_filled_in_as_bytes() -> None:
    values = placeholders(settings("retention: {metrics_size: 2g, logs_size: 1t}"), PORTS)

    assert (values["CC03_METRICS_BYTES"], values["CC03_LOGS_BYTES"]) == (str(2 << 30), str(1 << 40))


def test_default_sizes_are_those_of_earlier_releases() -> None:
    values = placeholders(settings(""), PORTS)

    assert (values["CC03_METRICS_BYTES"], values["CC03_LOGS_BYTES"]) == (str(4 << 30), str(5 << 30))


@pytest.mark.parametrize(("age", "days"), [("14d", "14"), ("8w", "56"), ("1y", "365")])
def test_age_of_logs_is_filled_in_as_days(age: str, days: str) -> None:
    assert placeholders(settings(f"retention: {{logs: {age}}}"), PORTS)["CC03_LOGS_DAYS"] == days
