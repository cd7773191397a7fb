"""What the receivers of alerts have been sent, and what `inv status` says, while a service fails."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import requests

from ops.engines.podman.observe import inspected_containers, reasons
from tests.drill.alerts.receivers import Receivers
from tests.drill.gameday.cases import lasting, tells
from tests.drill.stack import Drill, inv

PAGER, TICKETS = "pager", "tickets"
HEARTBEAT = 10
MISSED = 3
"""Calls of the heartbeat that must be missing before somebody is called."""
ALERT = re.compile(r"^(?:critical|warning): (\w+) ([\w-]+):", re.MULTILINE)
SILENT = re.compile(r"^(\w+) does not answer", re.MULTILINE)


@dataclass(frozen=True)
class Told:
    """An alert about which a receiver was told. Times are seconds of the epoch; resolved: 0 while it fires."""

    name: str
    at: float
    resolved: float


def declared(found: Receivers) -> dict[str, object]:
    by_severity = {PAGER: "critical", TICKETS: "warning"}
    return {
        "receivers": [
            {"name": name, "kind": "webhook", "server": found.hook, "severities": [severity]}
            for name, severity in by_severity.items()
        ],
        "heartbeat": {"server": found.hook, "every": f"{HEARTBEAT}s"},
    }


@dataclass(frozen=True)
class Observer:
    """began: from when on alerts count; seconds of the epoch. silenced: alerts that fired before."""

    drill: Drill
    receivers: Receivers
    began: float = 0.0
    silenced: Sequence[str] = ()

    def told(self, receiver: str, since: float) -> list[Told]:
        """Alerts that began since then, each as NAME:SERVICE."""
        found: dict[tuple[str, str], Told] = {}
        for at, _, body in self.receivers.of(receiver):
            if at < since:
                continue
            for one in body["alerts"]:
                labels, key = one["labels"], (one["fingerprint"], one["startsAt"])
                before = found.get(key)
                if one["status"] == "resolved" and before:
                    found[key] = Told(before.name, before.at, before.resolved or at)
                elif one["status"] == "firing" and not before and self._fresh(key, since):
                    found[key] = Told(f"{labels['alertname']}:{labels.get('service', '')}", at, 0.0)
        return sorted(found.values(), key=lambda one: one.at)

    def _fresh(self, key: tuple[str, str], since: float) -> bool:
        """Whether nothing was sent about it before."""
        return not any(
            at < since and (one["fingerprint"], one["startsAt"]) == key
            for at, _, body in self.receivers.notices for one in body.get("alerts", ())
        )  # fmt: skip

    def silence_what_fires(self) -> list[str]:
        """What fires before the first fault, such as of a host whose disk is nearly full, is answered as a person would."""
        found = []
        for one in self.receivers.live.query('ALERTS{alertstate="firing",severity=~"critical|warning"}'):
            name, service = one["metric"]["alertname"], one["metric"].get("service", "")
            words = (name, "--service", service) if service else (name,)
            answer = inv("alerts.silence", *words, "--for", "3h", "--reason", "game day")
            assert answer.returncode == 0, answer.stderr
            found.append(f"{name}:{service}")
        return found

    def brewing(self) -> list[str]:
        """Critical alerts that Prometheus is about to send, or sends, other than those."""
        try:
            found = [one["metric"] for one in self.receivers.live.query('ALERTS{severity="critical"}')]
        except (AssertionError, requests.RequestException) as problem:
            return [str(problem)[:200]]
        names = {f"{one['alertname']}:{one.get('service', '')}" for one in found}
        return sorted(one for one in names if one not in self.silenced and not lasting(one))

    def open(self) -> list[str]:
        """Alerts that fire, by all that was sent and by Prometheus."""
        told = [one.name for one in self.told(PAGER, self.began) if not one.resolved and not lasting(one.name)]
        return sorted({*told, *self.brewing()})

    def heartbeat_missed(self, since: float) -> float | None:
        """When, after a time, the heartbeat had not come for so long that somebody is called; None: it comes."""
        calls = [at for at, path, _ in list(self.receivers.notices) if path == "/heartbeat"]
        times = [max([at for at in calls if at <= since], default=since), *(at for at in calls if at > since), time.time()]
        for before, after in pairwise(times):
            if after - before > MISSED * HEARTBEAT:
                return before + MISSED * HEARTBEAT
        return None

    def status_names(self, services: Sequence[str]) -> set[str]:
        """The services of which `inv status` says that something is wrong: by a container, an alert, or no answer."""
        said = inv("status").stdout
        named = {f"{name}:{service}" for name, service in ALERT.findall(said)}
        silent = {name.lower() for name in SILENT.findall(said)}
        containers = {slot for slot in self.drill.project.stack.slots() if re.search(rf"^{slot}: \S", said, re.MULTILINE)}
        return {
            one for one in services
            if named & tells(one) or ("nginx" if one == "edge" else one) in silent or containers & set(self.drill.slots(one))
        }  # fmt: skip

    def ill(self, slots: Sequence[str]) -> str:
        """Why one of these is not healthy; empty: all are."""
        project = self.drill.project
        found = inspected_containers(project.host)
        targets = [one for one in project.targets() if one.slot in slots]
        return "; ".join(f"{slot}: {why}" for slot, why in reasons(project.host, targets, found).items())

    def restarted(self, slots: Sequence[str]) -> dict[str, str]:
        """Slot -> when its main process was started."""
        return {slot: item["State"]["StartedAt"] for slot, item in self.drill.containers().items() if slot in slots}


def every(seconds: float, limit: float) -> Iterator[float]:
    """The seconds since the first round, until the limit."""
    began = time.monotonic()
    while (now := time.monotonic() - began) < limit:
        yield now
        time.sleep(max(0.0, seconds - (time.monotonic() - began - now)))
