"""How fast pages were: who may report, what is believed, and where it goes."""

import pytest
from test_browser_errors import ByName
from test_document import client  # noqa: F401  (a fixture)

from app import metrics

PATH = "/api/v1/web-vitals"


@pytest.fixture
def send(client):  # noqa: F811
    client.state.tokens = ByName()
    return lambda user="u-1", **vitals: client.post(PATH, json=vitals, headers={"Authorization": f"Bearer {user}"})


def of(metric):
    """Sum and count of a histogram so far."""
    samples = {sample.name.rsplit("_", 1)[1]: sample.value for sample in metric.collect()[0].samples}
    return samples["sum"], samples["count"]


def test_each_value_goes_into_its_histogram(send):
    lcp, inp, shift = metrics.WEB_VITALS.labels("lcp"), metrics.WEB_VITALS.labels("inp"), metrics.LAYOUT_SHIFT
    before = [of(metric) for metric in (lcp, inp, shift)]
    assert send(lcp=1.5, cls=0.2).status_code == 204
    after = [of(metric) for metric in (lcp, inp, shift)]
    assert [count - earlier for (_, count), (_, earlier) in zip(after, before, strict=True)] == [1, 0, 1]
    assert after[0][0] - before[0][0] == pytest.approx(1.5)


@pytest.mark.parametrize("wrong", [{"lcp": -1}, {"lcp": 601}, {"cls": "x"}, {"fid": 0.1}])
def test_what_cannot_be_is_refused(send, wrong):
    assert send(**wrong).status_code == 422


def test_users_without_a_token_report_nothing(send, client):  # noqa: F811
    assert client.post(PATH, json={"lcp": 1}).status_code == 401
    assert send("refused", lcp=1).status_code == 401


def test_one_user_reports_ten_a_minute(send):
    assert [send(lcp=1).status_code for _ in range(12)] == [204] * 10 + [429] * 2
