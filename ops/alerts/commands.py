"""inv alerts: what fires, silences, a test of the delivery, and the credentials of receivers."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from getpass import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke import Context

from ops.cli.command import print_json, verb
from ops.core.errors import OpsError, UsageProblem, did_you_mean
from ops.core.process import account

if TYPE_CHECKING:
    from ops.monitoring.api import Alert, Matcher, Monitoring, Silence
    from ops.project import Project

UNITS = {"m": 60, "h": 3600, "d": 86400}
STYLES = {"critical": "bold red", "warning": "yellow"}
LONGEST = 30 * 86400


def _project() -> Project:
    from ops.releases.situation import open_running

    return open_running()


@verb(changes=False, default=True, name="show", help={"json": "print everything for other programs"})
def show_alerts(c: Context, json: bool = False) -> None:
    """List alerts that fire, and who has answered them.

    Since when, with which value, silenced by whom. Those that another alert explains (inhibited) are marked.
    """
    from ops.monitoring.api import Monitoring

    rows = firing(Monitoring.of(_project()))
    if json:
        print_json(rows)
    else:
        _show(rows)


def firing(monitoring: Monitoring) -> list[dict[str, Any]]:
    """What fires, the gravest first; without those that are there to fire always."""
    silences = {one.id: one for one in monitoring.silences()}
    alerts = [one for one in monitoring.alerts() if one.labels.get("severity") in STYLES]
    try:
        values = monitoring.values()
    except OpsError:
        values = []  # Alertmanager has the alerts of a Prometheus that is away
    rows = [_row(one, silences, values) for one in alerts]
    return sorted(rows, key=lambda row: (row["severity"] != "critical", row["since"]))


def _row(one: Alert, silences: Mapping[str, Silence], values: Sequence[tuple[Mapping[str, str], float]]) -> dict[str, Any]:
    by = [silences[name] for name in one.silenced_by if name in silences]
    return {
        "alert": one.name, "severity": one.labels["severity"], "service": one.labels.get("service", ""),
        "since": _when(one.since),
        "value": next((value for labels, value in values if labels.items() <= one.labels.items()), None),
        "summary": one.annotations.get("summary", ""), "state": one.state, "labels": dict(one.labels),
        "silenced_by": [{"id": each.id, "by": each.by, "reason": each.comment, "ends": _when(each.ends)} for each in by],
        "inhibited": bool(one.inhibited_by), "receivers": list(one.receivers),
    }  # fmt: skip


def _when(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _show(rows: Sequence[Mapping[str, Any]]) -> None:
    from rich.markup import escape

    from ops.cli import show

    if not rows:
        show.out.print("[bold green]no alert fires[/bold green]")
        return
    drawn = show.table("ALERT", "SERVICE", "SINCE", "VALUE", "WHAT", "ANSWERED")
    for row in rows:
        style = STYLES[row["severity"]]
        by = [f"{one['by']} until {one['ends'][11:16]}: {one['reason']}" for one in row["silenced_by"]]
        answered = "; ".join(by) or ("another alert explains it" if row["inhibited"] else "–")
        value = "–" if row["value"] is None else f"{row['value']:.4g}"
        since = row["since"][:19].replace("T", " ")
        drawn.add_row(
            f"[{style}]{row['alert']}[/{style}]", row["service"], since, value, escape(row["summary"]), escape(answered)
        )
    show.out.print(drawn)


# ---- Silences


@verb(positional=["what"], changes=True, help={
    "what": "name of an alert, or a matcher such as severity=warning or alertname=~'Disk.*'",
    "service": "only alerts of this service",
    "for": "how long: 30m, 2h, 1d",
    "reason": "why; whoever looks at the alert reads it",
    "list": "list silences that are in force",
    "expire": "end the silence with this id, or with this beginning of one",
})  # fmt: skip
def silence(
    c: Context, what: str = "", service: str = "", for_: str = "2h", reason: str = "", list: bool = False, expire: str = "",
) -> None:  # fmt: skip
    """Answer alerts: silence them for a while.

    A silenced alert notifies nobody, and is not escalated.
    """
    from ops.cli import show
    from ops.monitoring.api import Monitoring

    project = _project()
    monitoring = Monitoring.of(project)
    in_force = [one for one in monitoring.silences() if one.state != "expired"]
    if list:
        _show_silences(in_force)
        return
    if expire:
        chosen = [one for one in in_force if one.id.startswith(expire)]
        if len(chosen) != 1:
            known = did_you_mean(expire, [one.id for one in in_force])
            raise UsageProblem(f"{len(chosen)} silences begin with {expire}", known, "inv alerts.silence --list")
        with _audited(project, f"end the silence of {_spelled(chosen[0].matchers)}"):
            monitoring.expire(chosen[0].id)
        show.out.print(f"ended: {_spelled(chosen[0].matchers)}")
        return
    matchers, until = matchers_of(what, service), time.time() + _seconds(for_)
    if not reason:
        raise UsageProblem("a reason is needed", "whoever looks at the alert reads it", "--reason 'disk is ordered'")
    with _audited(project, f"silence {_spelled(matchers)} for {for_}: {reason}"):
        made = monitoring.silence(matchers, time.time(), until, account(), reason)
    covered = [one.name for one in monitoring.alerts() if made in one.silenced_by]
    show.out.print(f"silenced {_spelled(matchers)} until {_when(until)}: {made}\ncovers now: {', '.join(covered) or 'nothing'}")


def matchers_of(what: str, service: str) -> tuple[Matcher, ...]:
    """Conditions of a silence. Raises UsageProblem where there is none, or what cannot be read."""
    from ops.monitoring.api import Matcher

    found = [Matcher("service", service)] if service else []
    if what:
        match = re.fullmatch(r'([a-zA-Z_]\w*)(=~|!~|!=|=)"?([^"]*)"?', what)
        name, sign, value = match.groups() if match else ("alertname", "=", what)
        if not match and not what.isalnum():
            raise UsageProblem(
                f"{what} is no alert and no matcher", "an alert is one word", "inv alerts.silence severity=warning"
            )
        found.append(Matcher(name, value, sign[0] == "=", sign.endswith("~")))
    if not found:
        raise UsageProblem("nothing is named", "an alert, a matcher or --service is needed", "inv alerts lists what fires")
    return tuple(found)


def _seconds(text: str) -> int:
    match = re.fullmatch(r"(\d{1,5})([mhd])", text)
    seconds = int(match[1]) * UNITS[match[2]] if match else 0
    if not 0 < seconds <= LONGEST:
        raise UsageProblem(f"--for {text} cannot be meant", "it must be 30m, 2h or 1d, at most 30d", "--for 2h")
    return seconds


def _audited(project: Project, title: str) -> Any:
    from ops.audit_log.record import audited
    from ops.core.plan import Described, Plan

    return audited(project, Plan("alerts.silence", (Described("silence", title),)))


def _spelled(matchers: Sequence[Matcher]) -> str:
    return " ".join(map(str, matchers))


def _show_silences(found: Sequence[Silence]) -> None:
    from rich.markup import escape

    from ops.cli import show

    drawn = show.table("ID", "ALERTS", "UNTIL", "BY", "REASON")
    for one in found:
        drawn.add_row(one.id[:8], escape(_spelled(one.matchers)), _when(one.ends), escape(one.by), escape(one.comment))
    show.out.print(drawn if found else "no silence is in force")


# ---- Delivery


@verb(help={"receiver": "only this one", "json": "print the outcomes for other programs"})
def test(c: Context, receiver: str = "", json: bool = False) -> None:
    """Send a marked alert to every receiver of alerts.

    Waits for the answers. Quiet hours, severities and escalation do not count for it. Exit code 1 where one was not delivered.
    """
    from ops.alerts.delivery import deliver
    from ops.cli import show
    from ops.stack.alert_receivers import HEARTBEAT

    project = _project()
    alerts = project.settings.alerts
    known = [one.name for one in alerts.receivers] + ([HEARTBEAT] if alerts.heartbeat else [])
    if not known or (receiver and receiver not in known):
        raise UsageProblem(
            f"stack.yaml declares no receiver {receiver}".rstrip(), did_you_mean(receiver, known), "docs/how-to/alerts.md"
        )
    outcomes = deliver(project, [receiver] if receiver else known)
    if json:
        print_json([asdict(one) for one in outcomes])
    for one in () if json else outcomes:
        word = "[bold green]delivered[/bold green]" if one.delivered else "[bold red]not delivered[/bold red]"
        show.out.print(f"{one.receiver:<21} {word} {one.seconds:5.1f} s  {one.why}", markup=True)
    failed = [one.receiver for one in outcomes if not one.delivered]
    if failed:
        why = next(one.why for one in outcomes if not one.delivered)
        raise OpsError(
            f"not delivered to {', '.join(failed)}", why, "docs/how-to/alerts.md, Test it; inv logs alertmanager --since 5m"
        )


@verb(positional=["name", "file"], help={
    "name": "a receiver of stack.yaml, or heartbeat",
    "file": "file with its URL or password; without it, that is read from the input",
})  # fmt: skip
def credentials(c: Context, name: str, file: str = "") -> None:
    """Store the URL or password of a receiver of alerts.

    It becomes a secret of this host.
    """
    from ops.audit_log.record import audited
    from ops.cli import show
    from ops.cli.execute import locked
    from ops.core.plan import Described, Plan
    from ops.project import open_project
    from ops.stack.alert_receivers import HEARTBEAT, check_credential
    from ops.store.versions import keep_issued

    project = open_project()
    alerts = project.settings.alerts
    secrets = {receiver: secret for secret, receiver in alerts.secrets.items()}
    if name not in secrets:
        raise UsageProblem(
            f"stack.yaml has no receiver {name} with a URL or a password", did_you_mean(name, list(secrets)),
            "alerts.receivers in config/stack.yaml first: docs/how-to/alerts.md",
        )  # fmt: skip
    one = next((each for each in alerts.receivers if each.name == name), None)
    server = one.server if one else alerts.heartbeat.server if name == HEARTBEAT and alerts.heartbeat else ""
    value = check_credential(_read(name, file), server, is_url=not one or one.kind != "email")
    project.host.prepare()
    plan = Plan("alerts.credentials", (Described("keep", f"store the URL or password of {name}"),))
    with locked(project, plan.verb), audited(project, plan):
        changed = keep_issued(project.state, {secrets[name]: value})
    show.out.print("stored; inv deploy gives it to Alertmanager" if changed else "unchanged: it is stored already")


def _read(name: str, file: str) -> str:
    if not file:
        return getpass(f"URL or password of {name}: ") if sys.stdin.isatty() else sys.stdin.read()
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        said = problem.strerror if isinstance(problem, OSError) else "it is no text"
        raise UsageProblem(f"cannot read {file}", str(said), "give the path of a file that this account can read") from problem
