"""Errors of browsers in the backend's log: who may report, how much, and as what text."""

import json
import logging

import pytest
from test_document import client  # noqa: F401  (a fixture)

from app import logs, metrics
from app.auth.tokens import Principal, TokenRefused
from app.problems import Problem
from app.reports import OF_ALL, Reports

PATH = "/api/v1/browser-errors"
REPORT = {"message": "x is undefined", "path": "/items", "stack": "at a.js:1\n at b.js:2"}


class ByName:
    """Takes a token for the name of its user."""

    async def verify(self, token, _keys):
        if token == "refused":
            raise TokenRefused("no", "signature")
        return Principal(token, token, "", "", (), 0, 0.0)


@pytest.fixture
def send(client):  # noqa: F811
    client.state.tokens = ByName()
    return lambda user="u-1", **report: client.post(
        PATH, json={**REPORT, **report}, headers={"Authorization": f"Bearer {user}"}
    )


def test_report_is_one_line_of_the_log(send, caplog):
    with caplog.at_level(logging.WARNING, "app.browser"):
        assert send().status_code == 204
    (record,) = [record for record in caplog.records if record.name == "app.browser"]
    line = logs.JsonFormatter().format(record)
    assert "\n" not in line
    said = json.loads(line)
    assert (said["message"], said["user"], said["error"], said["path"]) == (
        "error in a browser",
        "u-1",
        "x is undefined",
        "/items",
    )


def test_what_cannot_be_seen_is_marked(send, caplog):
    with caplog.at_level(logging.WARNING, "app.browser"):
        assert send(message="a\u202eb\x1b[31mc\u200d", stack="one\ntwo\x00").status_code == 204
    (record,) = [record for record in caplog.records if record.name == "app.browser"]
    assert record.fields["error"] == "a\ufffdb\ufffd[31mc\ufffd"
    assert record.fields["stack"] == "one\ntwo\ufffd"


def test_users_without_a_token_report_nothing(send, client, caplog):  # noqa: F811
    assert client.post(PATH, json=REPORT).status_code == 401
    assert send("refused").status_code == 401
    assert not [record for record in caplog.records if record.name == "app.browser"]


@pytest.mark.parametrize("wrong", [{"message": ""}, {"message": "x" * 501}, {"stack": "x" * 4001}, {"more": "x"}])
def test_what_is_too_long_or_unknown_is_refused(send, wrong):
    assert send(**wrong).status_code == 422


def test_one_user_reports_ten_a_minute_and_all_a_hundred(send, caplog):
    with caplog.at_level(logging.WARNING, "app.browser"):
        before = metrics.BROWSER_ERRORS.labels("dropped")._value.get()
        assert [send().status_code for _ in range(12)] == [204] * 10 + [429] * 2
        assert metrics.BROWSER_ERRORS.labels("dropped")._value.get() - before == 2
        assert send("u-2").status_code == 204
    assert len([record for record in caplog.records if record.name == "app.browser"]) == 11


def test_window_ends_and_memory_is_bounded():
    reports, refused = Reports(), 0
    for number in range(1000):
        try:
            reports.admit(f"u-{number}", 0.0)
        except Problem as problem:
            refused += 1
            assert (problem.status, problem.headers) == (429, {"Retry-After": "60"})
    assert 1000 - refused == OF_ALL == len(reports._counts)
    reports.admit("u-1", 60.0)
