"""Values of secrets from before each test."""

from __future__ import annotations

import pytest

from tests.drill.secrets import logins
from tests.drill.stack import Drill


@pytest.fixture
def remembered(stack: Drill) -> None:
    logins.remember(stack)
