"""Receivers of the test that a stack notifies: an SMTP server and webhooks on an address of this host, and what they got."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from ops.core.process import Result
from tests.drill.clone import Clone
from tests.drill.stack import Drill
from tests.smoke.live import Live, eventually
from tests.smoke.receivers import hook_server, mail_server, own_address, serving

ALERTS = "/alertmanager/api/v2/alerts"
ARRIVES = 60.0

LASTING = ("ErrorBudgetBurnsFast", "ErrorBudgetBurnsSlowly", "ErrorRatioHigh")
"""Alerts about what users have met for minutes and hours: a day of outages has them rightly, and they end long after it."""

Notice = tuple[float, str, dict[str, Any]]


@dataclass
class Receivers:
    """A stack that notifies an SMTP server and webhooks of the test, and what these have received."""

    clone: Clone
    live: Live
    frail: ExitStack = field(default_factory=ExitStack)
    """Serves the receiver that is closed and opened by tests, on one port."""
    mail: str = ""
    hook: str = ""
    """Addresses of the two that are always there."""
    frail_at: str = ""
    mails: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def open_frail(self) -> None:
        port = int(self.frail_at.rpartition(":")[2] or 0)
        self.frail_at = self.frail.enter_context(serving(hook_server(own_address(), [], port, self.notices)))

    def configure(self, alerts: Mapping[str, Any]) -> None:
        """Declare receivers in the clone, and store the URL of each that is a webhook. `deploy` puts them to work."""
        settings = self.clone.root / "config" / "stack.yaml"
        text = settings.read_text().partition("\nalerts:")[0]
        # How a release is replaced is not what is tried here, and the host may be busy.
        more = {"alerts": alerts, "deploy": {"failed_requests": 1000}}
        settings.write_text(text + "\n" + yaml.safe_dump(more, sort_keys=False))
        named = {one["name"]: one["server"] for one in alerts.get("receivers", ()) if one["kind"] == "webhook"}
        for name, where in (named | ({"heartbeat": alerts["heartbeat"]["server"]} if "heartbeat" in alerts else {})).items():
            self.credential(name, f"http://{where}/{name}")

    def credential(self, name: str, value: str) -> None:
        """Give a receiver its URL or password."""
        file = self.clone.root.parent / f"{name}.credential"
        file.write_text(f"{value}\n")
        answer = self.inv("alerts.credentials", name, str(file))
        assert answer.returncode == 0, answer.stderr

    def of(self, receiver: str) -> list[Notice]:
        return [one for one in self.notices if one[1] == f"/{receiver}"]

    def about(self, receiver: str, name: str, status: str) -> list[Notice]:
        """Notices to a receiver that list this alert with this status."""
        return [
            one for one in self.of(receiver)
            if any(each["labels"]["alertname"] == name and each["status"] == status for each in one[2].get("alerts", ()))
        ]  # fmt: skip

    def since(self, receiver: str, since: float, name: str, service: str) -> list[float]:
        """When, after a time, it was told that this alert fires."""
        return [
            at for at, _, body in self.of(receiver) if at > since
            for one in body["alerts"]
            if one["status"] == "firing" and (one["labels"]["alertname"], one["labels"].get("service")) == (name, service)
        ]  # fmt: skip

    def post(self, name: str, *, ends: float = 600.0, severity: str = "critical", number: int = 1) -> None:
        now = datetime.now(UTC)
        alerts = [
            {
                "labels": {"alertname": name, "severity": severity, "service": "trial", "number": str(one), "stack": "x"},
                "annotations": {"summary": f"Trial {name}", "description": "Its value is 7."},
                "startsAt": now.isoformat(), "endsAt": (now + timedelta(seconds=ends)).isoformat(),
            }
            for one in range(number)
        ]  # fmt: skip
        assert self.live.ops("POST", ALERTS, json=alerts).status_code == 200

    def inv(self, *arguments: str) -> Result:
        return self.clone.inv(*arguments)


@contextmanager
def notifying(
    drill: Drill, folder: Path, declare: Callable[[Receivers], Mapping[str, Any]], passwords: Mapping[str, str] | None = None
) -> Iterator[Receivers]:
    """The stack with receivers of the test for the length of the block; afterwards it is as the checkout wants it.

    declare: `alerts` of stack.yaml; all its webhooks must lead to `hook` or `frail` of what it is given.
    passwords: of receivers that log in to a mail server.
    """
    found = Receivers(Clone.make(folder / "clone"), Live(drill.project))
    with (
        serving(mail_server(own_address(), found.mails, 0, found.bodies)) as found.mail,
        serving(hook_server(own_address(), [], 0, found.notices)) as found.hook,
        found.frail,
    ):
        found.open_frail()
        found.configure(declare(found))
        for name, password in (passwords or {}).items():
            found.credential(name, password)
        try:
            found.clone.deploy()
            yield found
        finally:
            drill.deploy()
    drill.assert_as_wanted()


def becomes(found: Callable[[], Any], why: str, seconds: float = ARRIVES) -> None:
    eventually(lambda: "" if found() else why, seconds)
