"""stack.yaml: defaults, and the refusal of whatever cannot be meant, with its line."""

from __future__ import annotations

import operator

import pytest
import yaml

from ops.core.errors import UsageProblem
from ops.stack.settings import Settings
from ops.stack.value_types import disk_bytes, memory_bytes
from tests.unit.builders import settings


def refusal(text: str, project: str | None = None) -> UsageProblem:
    with pytest.raises(UsageProblem) as caught:
        settings(text, project)
    assert caught.value.exit_code == 2
    return caught.value


def test_empty_file_means_every_default() -> None:
    found = settings("")

    assert (found.project, found.domain) == ("cc03", "localhost")
    assert [found.ports.http, found.ports.https, found.ports.ops] == [80, 443, 9443]
    assert found.replicas_of("backend") is None
    assert found.limit("redis").memory is None


def test_what_is_set_wins_over_its_default() -> None:
    limits, deadlines = "limits: {redis: {memory: 512m, cpus: 0.5}}", "deadlines: {start: {keycloak: 900}}"
    found = settings(f"domain: shop.example.com\n{limits}\n{deadlines}\n")

    assert found.domain == "shop.example.com"
    assert found.limit("redis").memory == 512 << 20
    assert found.limit("redis").cpus == 0.5
    assert found.start_seconds("keycloak") == 900


def test_load_balancers_are_addresses_and_networks() -> None:
    found = settings("load_balancer: {addresses: [192.0.2.7, 198.51.100.0/24]}")

    assert found.load_balancer.addresses == ("192.0.2.7", "198.51.100.0/24")
    assert settings("").load_balancer.addresses == ()


def test_project_of_the_environment_wins_over_the_file() -> None:
    assert settings("project: shop", "shop-test").project == "shop-test"


def test_project_of_the_environment_is_checked_like_the_file() -> None:
    problem = refusal("", "Not A Name")

    assert problem.what == "CC03_PROJECT is 'Not A Name'"
    assert "line" not in problem.next_step


@pytest.mark.parametrize(("text", "amount"), [("100m", 100 << 20), ("4g", 4 << 30), ("2t", 2 << 40)])
def test_sizes_on_disk(text: str, amount: int) -> None:
    found = settings(f"retention: {{metrics_size: {text}, logs_size: {text}}}")

    assert disk_bytes(found.retention.metrics_size) == amount
    assert disk_bytes(found.retention.logs_size) == amount


@pytest.mark.parametrize("text", ["4", "99m", "4gb", "0g", "-1g", "1.5g", "much", "true"])
def test_sizes_on_disk_that_cannot_be_meant(text: str) -> None:
    assert "at least 100m" in refusal(f"retention: {{logs_size: {text}}}").why


def test_key_without_a_value_says_so() -> None:
    assert refusal("retention:\n  logs:\n").what == "stack.yaml:2 retention.logs has no value"


@pytest.mark.parametrize(
    ("text", "where", "suggestion"),
    [
        ("domain: a\ndomian: b\n", 'stack.yaml:2 unknown setting "domian" in the top level', 'did you mean "domain"?'),
        ("ports:\n  htps: 443\n", 'stack.yaml:2 unknown setting "htps" in ports', 'did you mean "https"?'),
        ("limits:\n\n  postgre: {}\n", 'stack.yaml:3 unknown setting "postgre" in limits', 'did you mean "postgres"?'),
        ("limits: {redis: {mem: 1g}}\n", 'stack.yaml:1 unknown setting "mem" in limits.redis', "memory"),
        ("replicas: {backnd: 2}\n", 'stack.yaml:1 unknown setting "backnd" in replicas', 'did you mean "backend"?'),
        ("domain: {name: a}\n", 'stack.yaml:1 unknown setting "name" in domain', "domain takes a single value"),
    ],
)
def test_unknown_key_is_refused_with_its_line_and_a_suggestion(text: str, where: str, suggestion: str) -> None:
    problem = refusal(text)

    assert problem.what == where
    assert suggestion in problem.why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ports: {http: eighty}", "a whole number from 1 to 65535"),
        ("ports: {http: 0}", "a whole number from 1 to 65535"),
        ("ports: {http: 65536}", "a whole number from 1 to 65535"),
        ("replicas: {backend: true}", "a whole number from 1 to 8"),
        ("replicas: {backend: 2.0}", "a whole number from 1 to 8"),
        ("load_balancer: {addresses: 192.0.2.7}", "a list of addresses"),
        ("load_balancer: {addresses: [shop.example.com]}", "a list of addresses"),
        ("load_balancer: {addresses: [192.0.2.7/24]}", "a list of addresses"),
        ("load_balancer: {addresses: [0.0.0.0/0]}", "a list of addresses"),
        ("load_balancer: {addresses: ['::/0']}", "a list of addresses"),
        ("limits: {redis: {memory: lots}}", "an amount of memory"),
        ("limits: {redis: {memory: true}}", "an amount of memory"),
        ("limits: {redis: {cpus: 0}}", "a number of cores"),
        ("limits: {redis: {cpus: true}}", "a number of cores"),
        ("project: Shop", "lower-case letters"),
        ("project: [a]", "lower-case letters"),
        ("domain: https://shop", "a host name"),
        ("domain: 7", "a host name"),
    ],
)
def test_value_of_the_wrong_kind_is_refused_with_what_it_must_be(text: str, why: str) -> None:
    problem = refusal("# a comment\n" + text)

    assert problem.what.startswith("stack.yaml:2 ")
    assert why in problem.why


NESTED = """
backup:
  repositories:
    - name: disk2
      path: /mnt/disk2
    - name: offsite
      s3: {bucket: shop, endpoint: s3.example.org, regoin: eu}
      keep: 0
"""


@pytest.mark.parametrize(
    ("text", "what", "why"),
    [
        (NESTED, 'stack.yaml:7 unknown setting "regoin" in backup.repositories[1].s3', 'did you mean "region"?'),
        (NESTED.replace(", regoin: eu", ""), "stack.yaml:8 backup.repositories[1].keep is 0", "from 1 to 1000"),
        ("backup:\n  repositories:\n    - path: /x\n", "stack.yaml:3 backup.repositories[0] has no name", "name must be there"),
        ("backup: {repositories: {name: a}}", 'unknown setting "name" in backup.repositories', "takes a single value"),
        ("backup: {repositories: &a [*a]}", "stack.yaml:1 backup.repositories[0] contains itself", "anchor"),
        ("certificates: {acme: {issuers: [zerossl, {name: own}]}}", "certificates.acme.issuers[1] does not fit", "a URL"),
    ],
)
def test_entry_of_a_list_is_refused_with_its_own_line(text: str, what: str, why: str) -> None:
    problem = refusal(text)

    assert what in problem.what
    assert why in problem.why


def test_first_line_that_does_not_fit_is_told_first() -> None:
    assert refusal("project: Shop\nports: {http: 0}\ndomian: a\n").what.startswith("stack.yaml:1 ")


def test_merged_keys_count_as_written_where_they_are_used() -> None:
    found = settings("limits: {redis: &small {memory: 512m, cpus: 1}, nginx: {<<: *small, cpus: 2}}")

    assert (found.limit("nginx").memory, found.limit("nginx").cpus) == (512 << 20, 2.0)


def test_what_the_file_gives_is_recorded_key_by_key_as_json() -> None:
    found = settings("limits: {redis: {memory: 512m}}\nbackup: {full_at: 10:30}\nload_balancer: {addresses: [192.0.2.7]}")

    assert found.given() == {
        "limits.redis.memory": 512 << 20, "backup.full_at": "10:30", "load_balancer.addresses": ["192.0.2.7"],
    }  # fmt: skip


@pytest.mark.parametrize("text", ["ports: 80", "ports:", "limits: {redis: 1g}", "[a, b]", "just text"])
def test_value_where_keys_belong_is_refused(text: str) -> None:
    assert "needs keys below it" in refusal(text).what


@pytest.mark.parametrize(("text", "line"), [("domain: [a\nports: {}\n", 2), ("a: b: c\n", 1), ("domain: 'a\n", 2)])
def test_broken_yaml_is_refused_with_its_line(text: str, line: int) -> None:
    assert refusal(text).what == f"stack.yaml:{line} is not valid YAML"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("ports: {http: 443}", ("ports.http", "ports.https")),
        ("ports: {ops: 80}", ("ports.http", "ports.ops")),
        ("ports: {https: 9443}", ("ports.https", "ports.ops")),
    ],
)
def test_one_port_for_two_uses_is_refused(text: str, names: tuple[str, str]) -> None:
    assert all(name in refusal(text).what for name in names)


@pytest.mark.parametrize(("memory", "accepted"), [("1250m", True), ("2g", True), ("1249m", False), ("512m", False)])
def test_keycloak_is_not_given_too_little_memory(memory: str, accepted: bool) -> None:
    text = f"limits: {{keycloak: {{memory: {memory}}}}}"
    if accepted:
        assert settings(text).limit("keycloak").memory == memory_bytes(memory)
    else:
        assert "killed by the kernel" in refusal(text).why


@pytest.mark.parametrize(
    ("amount", "expected"), [("512m", 512 << 20), ("2g", 2 << 30), ("1G", 1 << 30), ("64kb", 64 << 10), (1024, 1024)]
)
def test_memory_in_bytes(amount: object, expected: int) -> None:
    assert memory_bytes(amount) == expected


def test_setting_that_does_not_exist_is_a_defect_of_the_caller() -> None:
    with pytest.raises(AttributeError, match="smtp"):
        operator.attrgetter("ports.smtp")(settings())


def test_every_default_is_a_value_that_the_file_could_hold() -> None:
    defaults = Settings().model_dump(mode="json")

    assert defaults["ports"] == {"http": 80, "https": 443, "ops": 9443, "proxy_protocol": 0}
    assert settings(yaml.safe_dump(defaults)).model_dump() == Settings().model_dump()
