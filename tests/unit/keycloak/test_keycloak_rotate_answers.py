"""Whether Keycloak takes a secret is asked until it answers: one that has just started is slow."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops.core.errors import OpsError
from ops.keycloak.probe import edge
from ops.keycloak.probe.edge import Answer
from ops.keycloak.rotate import credentials as rotate
from ops.project import Project

PROJECT = cast(Project, SimpleNamespace(settings=None, ports=None, state=SimpleNamespace(site_roots=Path("ca.pem"))))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[Answer | Exception]:
    """What Keycloak says, one after the other."""
    answers: list[Answer | Exception] = []

    class Asked:
        def __init__(self, *_: Any) -> None: ...

        def ask(self, *_: Any, **__: Any) -> Answer:
            one = answers.pop(0)
            if isinstance(one, Exception):
                raise one
            return one

        def close(self) -> None: ...

    monkeypatch.setattr(edge, "Listener", Asked)
    monkeypatch.setattr(rotate, "placeholders", lambda *_: {"CC03_OPS_URL": "https://stack.test"})
    return answers


def test_one_request_without_an_answer_is_sent_again(said: list[Answer | Exception]) -> None:
    said += [TimeoutError("timed out"), Answer(401, "{}")]

    assert rotate._password_status(PROJECT, "master", "admin-cli", "admin", "value") == 401


def test_no_answer_at_all_ends_with_what_was_seen(said: list[Answer | Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotate, "ANSWERS_WITHIN", 0.0)
    said.append(TimeoutError("timed out"))

    with pytest.raises(OpsError, match="Keycloak does not answer") as caught:
        rotate._password_status(PROJECT, "master", "admin-cli", "admin", "value")
    assert caught.value.why == "timed out"
