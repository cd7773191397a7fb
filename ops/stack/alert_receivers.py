"""Receivers of alerts in stack.yaml, and what they add to Alertmanager's configuration. Pure.

Passwords and URLs, which hold tokens, are secrets: Alertmanager reads them from files. docs/adr/0054-alert-receivers.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field, model_validator

from ops.core.errors import UsageProblem
from ops.stack.repositories import Certificates
from ops.stack.value_types import Destination, Destinations, Duration, Email, Time
from ops.stack.yaml_model import Form, Keys, dump_yaml, load_yaml

Severity = Literal["critical", "warning"]
GIVEN = "alert-"
"""How the names of secrets begin that an operator gives for a receiver."""
HEARTBEAT = "heartbeat"
OWN = ("operator", "watchdog", HEARTBEAT)
"""Receivers of config/alertmanager/alertmanager.yml; the heartbeat goes out by `watchdog`."""
WATCHDOG = "watchdog"
TEST = "DeliveryTest"
"""The alert of `inv alerts.test`. Its label `receiver` says which one gets it."""
QUIET = "quiet-hours"
SEVERITIES: tuple[Severity, ...] = ("critical", "warning")
BASE = "alertmanager.yml"
COMMANDS = "templates/commands.tmpl"
"""Text template that gives each alert the first command of its runbook."""
TIMEZONE = "a time zone such as Europe/Berlin or UTC"
NAME = "lower-case letters, digits and dashes, other than operator, watchdog and heartbeat"
KINDS = "email takes `to` and `sender`; webhook, slack and teams take neither these, nor `user`"

Severities = Annotated[
    tuple[Severity, ...], Field(strict=False, min_length=1), Form("a list of critical and warning")
]  # fmt: skip
Words = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]*$"), Form("a name")], ...], Field(strict=False),
    Form("a list of names"),
]  # fmt: skip
Addresses = Annotated[tuple[Email, ...], Field(strict=False), Form("a list of e-mail addresses")]


def _timezone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(TIMEZONE)
    return name


def _another_name(name: str) -> str:
    if name in OWN:
        raise ValueError(NAME)
    return name


class ReceiverKeys(Keys):
    """Somebody who is notified."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,19}$"), AfterValidator(_another_name), Form(NAME)] = Field(
        description="Name in commands, metrics and the name of its secret.",
    )  # fmt: skip
    kind: Literal["email", "webhook", "slack", "teams"] = Field(
        description="How it is notified. A webhook takes Alertmanager's JSON; slack and teams take messages of their own.",
    )  # fmt: skip
    server: Destination = Field(
        description="Host and port of the SMTP server or of the webhook. The URL of a webhook and the password of an SMTP "
        "account are secrets: `inv alerts.credentials`.",
    )  # fmt: skip
    to: Addresses = Field(default=(), description="E-mail: who gets the messages.")
    sender: Email = Field(default="", description="E-mail: the address that the messages come from.")
    user: Annotated[str, Field(pattern=r"^\S*$"), Form("the name of an account, or empty")] = Field(
        default="", description="E-mail: account on the SMTP server; empty: it asks for no login.",
    )  # fmt: skip
    tls: bool = Field(default=True, description="E-mail: whether a server without TLS is refused.")
    ca: Certificates | None = Field(
        default=None, description="Roots that the server's certificate is checked against, in place of the public ones.",
    )  # fmt: skip
    severities: Severities = Field(default=SEVERITIES, description="Alerts that it gets, by severity.")
    services: Words = Field(
        default=(), description="Alerts that it gets, by service (`host` for those of the host); empty: all.",
    )  # fmt: skip
    after: Duration = Field(
        default="0s",
        description="How long an alert must have fired unanswered before this receiver gets it. A silence is an answer.",
    )  # fmt: skip

    @model_validator(mode="after")
    def _of_its_kind(self) -> ReceiverKeys:
        if (self.kind == "email") != bool(self.to and self.sender) or (self.user and self.kind != "email"):
            raise ValueError(KINDS)
        return self

    @property
    def secret(self) -> str:
        """Name of the secret that holds its URL or password; empty: it has none."""
        return f"{GIVEN}{self.name}" if self.kind != "email" or self.user else ""

    @property
    def ca_file(self) -> str:
        return f"{self.name}-ca.pem" if self.ca else ""


def _different(found: tuple[ReceiverKeys, ...]) -> tuple[ReceiverKeys, ...]:
    if len({one.name for one in found}) < len(found):
        raise ValueError("names that differ from each other")
    return found


Receivers = Annotated[
    tuple[ReceiverKeys, ...], Field(strict=False), AfterValidator(_different), Form("a list of receivers, each with a name")
]  # fmt: skip


class Heartbeat(Keys):
    server: Destination = Field(
        description="Host and port of the service that complains when calls no longer come. The URL is a secret: "
        "`inv alerts.credentials heartbeat`.",
    )  # fmt: skip
    every: Duration = Field(default="1m", description="How often it is called while all is well.")


class Group(Keys):
    by: Annotated[Words, Field(min_length=1)] = Field(
        default=("stack",),
        description="Labels by which alerts are put into separate messages, such as [service]. All have the same `stack`, so "
        "that one message holds all alerts of a severity.",
    )  # fmt: skip
    wait: Duration = Field(default="10s", description="How long the first message waits for further alerts.")
    interval: Duration = Field(default="15s", description="Time between two messages about changes of the same group.")


class QuietHours(Keys):
    begin: Time = Field(default="22:00", description="When warnings begin to wait. Critical alerts never wait.")
    end: Time = Field(default="06:00", description="When warnings that still fire are delivered.")
    weekends: bool = Field(default=False, description="Whether Saturday and Sunday are quiet all day.")
    timezone: Annotated[str, AfterValidator(_timezone), Form(TIMEZONE)] = Field(
        default="UTC", description="Time zone of these hours.",
    )  # fmt: skip


class Alerts(Keys):
    receivers: Receivers = Field(
        default=(), description="Who is notified (docs/how-to/alerts.md). Alertmanager can connect to their servers alone.",
    )  # fmt: skip
    heartbeat: Heartbeat | None = Field(
        default=None, description="Service outside of this host that notices when the whole stack, or its monitoring, is down.",
    )  # fmt: skip
    group: Group = Group()
    quiet_hours: QuietHours | None = Field(default=None, description="Hours in which warnings wait. Without it there are none.")
    destinations: Destinations = Field(
        default=(),
        description="Further hosts and ports that Alertmanager may connect to, for receivers that are declared in "
        "config/alertmanager/alertmanager.yml. Everything else is refused.",
    )  # fmt: skip

    @property
    def reached(self) -> tuple[str, ...]:
        """Host and port of everything that Alertmanager connects to."""
        servers = (*self.destinations, *(one.server for one in self.receivers))
        return tuple(dict.fromkeys((*servers, *((self.heartbeat.server,) if self.heartbeat else ()))))

    @property
    def secrets(self) -> dict[str, str]:
        """Secret -> the receiver that it is for."""
        found = {one.secret: one.name for one in self.receivers if one.secret}
        return found | ({f"{GIVEN}{HEARTBEAT}": HEARTBEAT} if self.heartbeat else {})


def given(secret: str) -> str:
    """The receiver whose URL or password a secret is; empty: it is another secret."""
    return secret.removeprefix(GIVEN) if secret.startswith(GIVEN) else ""


def check_credential(text: str, server: str, *, is_url: bool) -> str:
    """A password, or a URL that leads to the declared server, as it is kept. Raises UsageProblem for anything else."""
    value = text.strip()
    if not value or len(value.split()) > 1:
        raise UsageProblem(
            "that is no password and no URL", "one line without spaces is needed", "inv --help alerts.credentials"
        )
    if is_url:
        parts = urlsplit(value)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
        if parts.scheme not in ("https", "http") or f"{parts.hostname}:{port}" != server.lower():
            raise UsageProblem(
                f"the URL leads to {parts.hostname or 'no host'}:{port}", f"stack.yaml declares {server}",
                "correct alerts in config/stack.yaml, or give the URL of that server",
            )  # fmt: skip
    return value + "\n"


# ---- Alertmanager's configuration


def alertmanager_files(files: Mapping[str, str], alerts: Alerts) -> dict[str, str]:
    """Mounted configuration of Alertmanager with the receivers of stack.yaml; its own routes and receivers stay."""
    more = {one.ca_file: one.ca for one in alerts.receivers if one.ca}
    if not alerts.receivers and not alerts.heartbeat:
        return dict(files)
    config = load_yaml(files[BASE])
    receivers = {one["name"]: one for one in config["receivers"]}
    route = config["route"]
    repeats = {"warning": route["repeat_interval"], "critical": "1h"}
    if alerts.heartbeat:
        receivers[WATCHDOG] = {**receivers[WATCHDOG], "webhook_configs": [_webhook(HEARTBEAT, resolved=False)]}
        for one in route["routes"]:
            if one.get("receiver") == WATCHDOG:
                # A message counts as repeated only once this has passed, and the clock of the group is not exact.
                one |= {"group_interval": alerts.heartbeat.every, "repeat_interval": "1s"}
    if alerts.quiet_hours:
        config["time_intervals"] = [*config.get("time_intervals", ()), _quiet(alerts.quiet_hours)]
    tests = [{
        "matchers": [f'alertname = "{TEST}"', f'receiver = "{one.name}"'], "receiver": one.name, "group_by": ["..."],
        "group_wait": "0s", "group_interval": "1m",
    } for one in alerts.receivers]  # fmt: skip
    own = [_route(one, severity, alerts, repeats[severity]) for one in alerts.receivers for severity in one.severities]
    config["route"] = {**route, "routes": [*tests, *own, *route["routes"]]}
    config["receivers"] = [*receivers.values(), *({"name": one.name, **_integration(one)} for one in alerts.receivers)]
    return {**files, BASE: dump_yaml(config), **more}


def _route(one: ReceiverKeys, severity: str, alerts: Alerts, repeat: str) -> dict[str, Any]:
    """Alerts of one severity to one receiver; others get them as well."""
    late = not re.fullmatch("0+.", one.after)
    return {
        "matchers": [f'severity = "{severity}"', *([f'service =~ "{"|".join(one.services)}"'] if one.services else [])],
        "receiver": one.name, "continue": True,
        # What is answered, or has ended, must not hold up nor drag along what is not: each alert has a clock of its own.
        "group_by": ["alertname", "service"] if late else list(alerts.group.by),
        "group_wait": one.after if late else alerts.group.wait,
        "group_interval": alerts.group.interval, "repeat_interval": repeat,
        **({"mute_time_intervals": [QUIET]} if alerts.quiet_hours and severity == "warning" else {}),
    }  # fmt: skip


def _quiet(hours: QuietHours) -> dict[str, Any]:
    spans = [(hours.begin, hours.end)] if hours.begin < hours.end else [(hours.begin, "24:00"), ("00:00", hours.end)]
    times = [{"start_time": begin, "end_time": end} for begin, end in spans if begin != end]
    found: list[dict[str, Any]] = [{"times": times}] if times else []
    found += [{"weekdays": ["saturday", "sunday"]}] if hours.weekends else []
    return {"name": QUIET, "time_intervals": [{**one, "location": hours.timezone} for one in found]}


def _file(receiver: str) -> str:
    return f"/run/secrets/{GIVEN}{receiver}"


def _webhook(receiver: str, *, resolved: bool) -> dict[str, Any]:
    return {"url_file": _file(receiver), "send_resolved": resolved}


def _integration(one: ReceiverKeys) -> dict[str, Any]:
    trusted = {"tls_config": {"ca_file": one.ca_file}} if one.ca else {}
    text = {"title": '{{ template "cc03.title" . }}', "text": '{{ template "cc03.text" . }}', "send_resolved": True}
    if one.kind == "email":
        login = {"auth_username": one.user, "auth_password_file": _file(one.name)} if one.user else {}
        return {"email_configs": [{
            "to": ", ".join(one.to), "from": one.sender, "smarthost": one.server, **login, "require_tls": one.tls, **trusted,
            "headers": {"Subject": '{{ template "cc03.title" . }}'}, "send_resolved": True,
            "text": '{{ template "cc03.text" . }}', "html": '{{ template "cc03.html" . }}',
        }]}  # fmt: skip
    http = {"http_config": trusted} if trusted else {}
    if one.kind == "webhook":
        return {"webhook_configs": [{**_webhook(one.name, resolved=True), **http}]}
    if one.kind == "slack":
        return {"slack_configs": [{"api_url_file": _file(one.name), **text, **http}]}
    return {
        "msteamsv2_configs": [{"webhook_url_file": _file(one.name), **text, "text": '{{ template "cc03.teams" . }}', **http}]
    }


# ---- The first command of each runbook

_FIRST = re.compile(r"```sh\n(?:(?:export|#)[^\n]*\n)*([^\n]+)")


def commands_template(runbooks: Mapping[str, str]) -> str:
    """The text template `cc03.command`: the first command of the runbook that bears the alert's name, with its labels.

    runbooks: name of the file -> text.
    """
    lines = []
    for path, text in sorted(runbooks.items()):
        if match := _FIRST.search(text):
            command = re.sub(r"\s{2,}#.*", "", match[1]).strip().replace("`", "'")
            for capitals, label in (("SERVICE", "service"), ("CONTAINER", "name")):
                command = re.sub(rf"\b{capitals}\b", f"` }}}}{{{{ .Labels.{label} }}}}{{{{ `", command)
            name = path.rpartition("/")[2].removesuffix(".md")
            lines.append(f'{{{{- if eq .Labels.alertname "{name}" }}}}{{{{ `{command}` }}}}{{{{ else }}}}\n')
    return '{{ define "cc03.command" }}' + "".join(lines) + "{{- `inv status` }}" + "{{ end }}" * (len(lines) + 1) + "\n"
