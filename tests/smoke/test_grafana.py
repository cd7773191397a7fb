"""Grafana is optional: either it works, or its absence is said plainly and nothing else suffers."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

from ops.core.machine import REPOSITORY
from tests.smoke.live import Live, eventually


def test_is_there_and_serves_its_dashboards_or_says_why_not(live: Live) -> None:
    if live.has_grafana:
        serves_its_dashboards(live)
    else:
        says_why_not(live)


def test_its_metrics_are_not_public(live: Live) -> None:
    for path in ("/grafana/metrics", "/grafana/metrics/", "/grafana//metrics", "/grafana/%6detrics"):
        assert live.site.get(path).status_code == 404, path


def test_its_passwords_cannot_be_guessed_from_outside(live: Live) -> None:
    """Of its own logins there is one. Its form is limited, and Basic authentication is refused at the edge."""
    assert live.site.get("/grafana/api/org", headers={"Authorization": "Basic YWRtaW46YWRtaW4="}).status_code == 403

    def login(_: int = 0) -> int:
        return live.site("POST", "/grafana/login", json={"user": "nobody", "password": "x"}).status_code

    # Side by side: on a busy host one after the other would stay below the rate.
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(login, range(80)))
    assert 429 in answers
    assert set(answers) - {429}
    # The other tests log in by the same limit.
    eventually(lambda: "the form is still refused" if login() == 429 else "", 10)


def serves_its_dashboards(live: Live) -> None:
    health = live.site.json("/grafana/api/health")
    assert health["database"] == "ok"
    found = live.inside("grafana", 3000, "/api/search?type=dash-db", auth=("admin", live.secret("grafana-admin")))
    written = (REPOSITORY / "config" / "grafana" / "dashboards").glob("*.json")
    assert {board["uid"] for board in found.json()} == {json.loads(file.read_text())["uid"] for file in written}


def says_why_not(live: Live) -> None:
    reason = live.project.stack.services["grafana"].optional
    rows = {row["service"]: row for row in json.loads(live.inv("status", "--json").stdout)}

    assert reason
    assert (rows["grafana"]["health"], rows["grafana"]["reason"]) == ("absent", reason)
    page = live.site.get("/grafana/")
    assert page.status_code in {502, 503, 504}
    assert "Grafana is not installed here" in page.text
    assert live.ops.get("/dashboards/").status_code == 200
