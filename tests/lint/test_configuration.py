"""Each service's configuration by the program that will read it, in the version that is deployed.

A broken line in each kind of file proves that the check would find it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
import yaml

from ops.core.machine import REPOSITORY

from .deployed import CONFIG, Answer, Deployed, Question

DECLARED: dict[str, list[str]] = {
    name: service["x-cc03"]["check"]
    for name, service in yaml.safe_load((REPOSITORY / "compose" / "compose.yaml").read_text())["services"].items()
    if "check" in service.get("x-cc03", {})
}
"""What a deploy itself asks before it changes anything (x-cc03.check)."""

PGBACKREST = f"""
out=$(pgbackrest --config={CONFIG}/pgbackrest.conf --stanza=main --lock-path=/tmp/lock --log-level-console=warn stop 2>&1)
code=$?
echo "$out"
[[ $code == 0 && $out != *WARN* ]]
"""
"""pgBackRest has no check without a repository. `stop` needs none and reads every line; unknown names are warnings."""


@dataclass(frozen=True)
class Program:
    """What checks a kind of file, and the service in whose image it is."""

    service: str
    argv: list[str]


PROGRAMS: dict[str, Program] = {
    **{name: Program(name, argv) for name, argv in DECLARED.items()},
    "blackbox": Program(
        "prometheus", ["prometheus-blackbox-exporter", "--config.check", f"--config.file={CONFIG}/blackbox.yml"]
    ),
    "pgbackrest of postgres": Program("postgres", ["bash", "-c", PGBACKREST]),
    "pgbackrest of backup": Program("backup", ["bash", "-c", PGBACKREST]),
}


@dataclass(frozen=True)
class Broken:
    """One line changed so that the program must refuse the file."""

    program: str
    file: str
    old: str
    new: str
    complaint: str
    """What the program must say, so that it refuses for this reason and for no other."""

    @property
    def case(self) -> str:
        return f"{self.program}: {self.new}"

    def applied(self, files: Mapping[str, str]) -> dict[str, str]:
        return {**files, self.file: files[self.file].replace(self.old, self.new, 1)}


BROKEN = (
    Broken("nginx", "nginx.conf", "sendfile     on;", "sendfile     maybe;", 'invalid value "maybe"'),
    Broken("nginx", "nginx.conf", "include limits.conf;", "include limit.conf;", "limit.conf"),
    Broken("nginx", "upstreams.conf", "server backend-1", "server backend-one", "host not found"),
    Broken("frontend", "config.json", '"issuer"', '"isuer"', "missing: issuer"),
    Broken("redis", "redis.conf", "maxmemory 600mb", "maxmemory much", "maxmemory"),
    Broken("redis", "redis.conf", "appendonly yes", "appendonyl yes", "Bad directive"),
    Broken("postgres", "postgresql.conf", "huge_pages", "hugh_pages", "hugh_pages"),
    Broken("postgres", "pg_hba.conf", "samenet   scram-sha-256", "samenet   scram", "faulty pg_hba.conf"),
    Broken("backup", "backup.toml", "keep = 7", 'keep = "seven"', "sets.keep"),
    Broken("prometheus", "prometheus.yml", "scrape_interval: 30s", "scrape_interval: often", "often"),
    Broken("prometheus", "prometheus.yml", "metrics_path:", "metric_path:", "metric_path"),
    Broken("prometheus", "alerts/services.yml", "expr: up == 0", "expr: up === 0", "could not parse expression"),
    Broken("blackbox", "blackbox.yml", "prober: http", "probe: http", "probe"),
    Broken("alertmanager", "alertmanager.yml", "receiver: watchdog", "receiver: nobody", "nobody"),
    Broken("alertmanager", "alertmanager.yml", "repeat_interval: 4h", "repeat_interval: 0s", "repeat_interval"),
    Broken("pgbackrest of postgres", "pgbackrest.conf", "compress-type=", "compres-type=", "compres-type"),
    Broken("pgbackrest of backup", "pgbackrest.conf", "repo1-bundle=", "repo1-bundel=", "repo1-bundel"),
)


ROUTES = {
    "alertname=Watchdog severity=none service=prometheus": "watchdog",
    "alertname=TargetDown severity=critical service=redis": "operator",
    "alertname=DiskFullSoon severity=warning service=host": "operator",
}
"""Labels of an alert -> the receiver that must get it."""


def route(labels: str) -> Program:
    argv = ["amtool", "config", "routes", "test", f"--config.file={CONFIG}/alertmanager.yml", *labels.split()]
    return Program("alertmanager", argv)


@dataclass
class Answers:
    """What the programs say, asked once for each image."""

    deployed: Deployed
    _by_service: dict[str, dict[str, Answer]] = field(default_factory=dict)

    def of(self, service: str, case: str) -> Answer:
        if service not in self._by_service:
            questions = self._questions(service)
            answers = self.deployed.ask(service, list(questions.values()))
            self._by_service[service] = dict(zip(questions, answers, strict=True))
        return self._by_service[service][case]

    def _questions(self, service: str) -> dict[str, Question]:
        files = self.deployed.config(service)
        questions = {name: Question(program.argv, files) for name, program in PROGRAMS.items() if program.service == service}
        for broken in BROKEN:
            if PROGRAMS[broken.program].service == service:
                questions[broken.case] = Question(PROGRAMS[broken.program].argv, broken.applied(files))
        if service == "alertmanager":
            questions |= {labels: Question(route(labels).argv, files) for labels in ROUTES}
        return questions


@pytest.fixture(scope="module")
def answers(deployed: Deployed) -> Answers:
    return Answers(deployed)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.case)
def test_each_broken_example_changes_the_file(deployed: Deployed, broken: Broken) -> None:
    files = deployed.config(PROGRAMS[broken.program].service)
    assert broken.applied(files) != files, f"{broken.file} no longer has {broken.old!r}: change the example as well"


@pytest.mark.parametrize("program", PROGRAMS)
def test_configuration_is_accepted(answers: Answers, program: str) -> None:
    answer = answers.of(PROGRAMS[program].service, program)
    assert answer.returncode == 0, str(answer)


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.case)
def test_a_broken_line_is_refused(answers: Answers, broken: Broken) -> None:
    answer = answers.of(PROGRAMS[broken.program].service, broken.case)
    assert answer.returncode != 0, str(answer)
    assert broken.complaint in answer.output, str(answer)


def test_every_check_has_a_broken_example() -> None:
    assert {broken.program for broken in BROKEN} == set(PROGRAMS)


@pytest.mark.parametrize("labels", ROUTES)
def test_alerts_reach_their_receiver(answers: Answers, labels: str) -> None:
    answer = answers.of("alertmanager", labels)
    assert answer.output.splitlines()[-1] == ROUTES[labels], str(answer)


def unknown_options(conf: str, help_text: str) -> set[str]:
    """Options of keycloak.conf that the server's own help does not list; those of an SPI are free-form."""
    used = {line.split("=")[0].strip() for line in conf.splitlines() if "=" in line and not line.lstrip().startswith("#")}
    known = set(re.findall(r"--([a-z][a-z0-9-]*)", help_text))
    return {name for name in used - known if not name.startswith("spi-")}


def test_keycloak_knows_every_option(deployed: Deployed) -> None:
    """Keycloak starts all the same where an option's name is mistyped."""
    conf = deployed.config("keycloak")["keycloak.conf"]
    (answer,) = deployed.ask(
        "keycloak", [Question(["/opt/keycloak/bin/kc.sh", "start", "--help-all"], {"keycloak.conf": conf})]
    )
    assert "--hostname" in answer.output, str(answer)
    assert not unknown_options(conf, answer.output)
    assert unknown_options(conf.replace("proxy-headers=", "proxy-header="), answer.output) == {"proxy-header"}
