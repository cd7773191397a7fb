"""What nginx makes of a request, by the nginx that is deployed, on its own in a container without network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ops.stack.settings import parse_settings

from .deployed import CONFIG, Deployed, Question

CLIENT, FORGED, HOST = "203.0.113.9", "198.51.100.1", "10.0.0.1"
SERVE = f"""
echo "127.0.0.1 self; {HOST} host;" >/run/peers.geo
nginx -e stderr -c {CONFIG}/nginx.conf & started=$!
for attempt in 1 2 3 4 5 6 7 8 9 10; do curl -ks -o /dev/null https://localhost:8443/healthz && break; sleep 0.3; done
ask() {{ curl -ks -o /dev/null --max-time 5 "$@"; }}
%s
kill -QUIT $started
wait
"""


def served(deployed: Deployed, files: Mapping[str, str], requests: str) -> str:
    """What nginx wrote, and what the requests printed."""
    (answer,) = deployed.ask("nginx", [Question(("bash", "-c", SERVE % requests), files)])
    assert answer.returncode == 0, str(answer)
    return answer.output


def believing(files: Mapping[str, str], *networks: str) -> dict[str, str]:
    """The configuration with these load balancers."""
    name = "load-balancer.conf"
    return {**files, name: "".join(f"set_real_ip_from {one};\n" for one in networks) + files[name]}


@pytest.mark.parametrize(
    ("networks", "said", "client", "peer"),
    [
        (("127.0.0.1",), CLIENT, CLIENT, "self"),
        (("127.0.0.1",), f"{FORGED}, {CLIENT}", CLIENT, "self"),
        (("127.0.0.1", "203.0.113.0/24"), f"{FORGED}, {CLIENT}", FORGED, "self"),
        (("192.0.2.7",), CLIENT, "127.0.0.1", "self"),
        ((), CLIENT, "127.0.0.1", "self"),
        # A load balancer's word makes nobody a process of the host.
        (("127.0.0.1",), HOST, HOST, "self"),
    ],
)
def test_client_is_whom_a_declared_load_balancer_names(
    deployed: Deployed, networks: tuple[str, ...], said: str, client: str, peer: str
) -> None:
    files = believing(deployed.config("nginx"), *networks)
    output = served(deployed, files, f'ask -H "X-Forwarded-For: {said}" https://localhost:8443/api/v1/me')

    assert re.findall(r'"remote_addr":"([^"]*)","peer":"([^"]*)"', output) == [(client, peer)]


@pytest.fixture(scope="module")
def proxied(deployed: Deployed) -> Mapping[str, str]:
    """The configuration with the port for load balancers that speak the PROXY protocol."""
    text = "ports: {proxy_protocol: 18444}\nload_balancer: {addresses: [192.0.2.99]}"
    changed = parse_settings(text, Path("stack.yaml"), deployed.project.name)
    return Deployed(replace(deployed.project, settings=changed), deployed.scratch).config("nginx")


@pytest.mark.parametrize(("network", "client"), [("127.0.0.1", CLIENT), ("192.0.2.7", "127.0.0.1")])
def test_client_is_whom_a_declared_load_balancer_names_by_the_proxy_protocol(
    deployed: Deployed, proxied: Mapping[str, str], network: str, client: str
) -> None:
    """A header of the request is not believed then, at either port: who passes on TCP passes on what a client has written."""
    output = served(deployed, believing(proxied, network), f"""
ask --haproxy-clientip {CLIENT} -H "X-Forwarded-For: {FORGED}" https://localhost:8444/api/v1/me
ask -H "X-Forwarded-For: {FORGED}" https://localhost:8443/api/v1/me
ask https://localhost:8444/api/v1/me || echo refused
""")  # fmt: skip

    found = re.findall(r'"remote_addr":"([^"]*)","peer":"([^"]*)"', output)
    # Nobody is a process of the host at that port.
    assert found == [(client, "client"), ("127.0.0.1", "self")]
    assert output.count("refused") == 1


def test_responses_of_nginx_itself_are_counted_and_a_reload_keeps_the_counts(deployed: Deployed) -> None:
    output = served(deployed, deployed.config("nginx"), f"""
ask https://localhost:8443/api/v1/me
ask https://localhost:8443/
ask -d @/etc/tls/ca.pem -H "Content-Length: 9999999" https://localhost:8443/api/v1/items
nginx -e stderr -s reload -c {CONFIG}/nginx.conf; sleep 1
curl -ks https://localhost:8081/metrics
""")  # fmt: skip
    counts = dict(re.findall(r'^edge_responses_total\{service="\w+",route="(\w+",status="\w+)"\} (\S+)$', output, re.MULTILINE))

    assert (counts['api",status="502'], counts['page",status="502'], counts['api",status="413']) == ("1", "1", "1")
    assert counts['api",status="504'] == "0"
    bucket = r'^edge_response_duration_seconds_bucket\{.*route="(\w+",le="\S+)"\} (\S+)$'
    durations = dict(re.findall(bucket, output, re.MULTILINE))
    assert (durations['api",le="10'], durations['page",le="+Inf'], durations['login",le="+Inf']) == ("2", "1", "0")
    # Each container that the request was tried at, by its name.
    tried = dict(re.findall(r'^edge_upstream_responses_total\{.*upstream="(\S+)",status="5xx"\} (\S+)$', output, re.MULTILINE))
    assert tried["backend-1"] == tried["backend-2"] == tried["frontend-1"] == "1"


def test_reload_serves_the_next_request_of_an_idle_connection_and_announces_its_end(deployed: Deployed) -> None:
    output = served(deployed, deployed.config("nginx"), f"""
request=$'GET /ca.pem HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n'
exec 3<>/dev/tcp/127.0.0.1/8080 4<>/dev/tcp/127.0.0.1/8080
printf %s "$request" >&3; printf %s "$request" >&4; sleep 0.5
nginx -e stderr -s reload -c {CONFIG}/nginx.conf; sleep 1.5
printf %s "$request" >&3; timeout 3 cat <&3
began=$EPOCHSECONDS; timeout 15 cat <&4 >/dev/null; echo "idle for $((EPOCHSECONDS - began)) s"
""")  # fmt: skip

    assert re.findall(r"^Connection: (\S+)\r$", output, re.MULTILINE) == ["keep-alive", "close"]
    idle = re.search(r"^idle for (\d+) s$", output, re.MULTILINE)
    assert idle and 1 <= int(idle[1]) <= 6, "a worker that exits waits for ever, or not at all"


@pytest.mark.parametrize(
    ("addresses", "limited"), [("2001:db8:1:2::$i", True), ("2001:db8:1:$i::1", False)], ids=["/64", "/48"]
)
def test_limits_take_the_network_of_an_ipv6_client_for_its_address(deployed: Deployed, addresses: str, limited: bool) -> None:
    """Who has one IPv6 address has 2^64 of them. All at once: on a busy host, one after another is slower than the limit."""
    output = served(deployed, believing(deployed.config("nginx"), "127.0.0.1"), f"""
(for i in {{1..40}}; do
  ask -X POST -H "Prefer: wait=0" -H "X-Forwarded-For: {addresses}" -w 'said %{{http_code}}\\n' \
    https://localhost:8443/auth/realms/cc03/login-actions/authenticate &
done; wait)
""")  # fmt: skip
    said = re.findall(r"^said (\d+)$", output, re.MULTILINE)

    assert len(said) == 40 and ("429" in said) is limited


OPERATORS = (
    "/ops/",
    "/ops/docs/",
    "/ops/shell.js",
    "/ops/prometheus/api/v1/query",
    "/ops/alertmanager/api/v2/alerts",
    "/ops/logs/health",
)
ASK_OPERATORS = "\n".join(f"ask https://localhost:8443{path}" for path in OPERATORS)


def statuses(output: str) -> dict[str, str]:
    """Path -> status, of what the operator's pages answered under the public name."""
    return dict(re.findall(r'"path":"(/ops[^"]*)","status":(\d+)', output))


def test_operators_pages_are_closed_where_the_login_does_not_answer(deployed: Deployed) -> None:
    assert statuses(served(deployed, deployed.config("nginx"), ASK_OPERATORS)) == dict.fromkeys(OPERATORS, "500")


def test_operators_pages_would_be_open_without_the_question_to_the_login(deployed: Deployed) -> None:
    """Otherwise the test above would pass whatever is asked."""
    files = deployed.config("nginx")
    name = "ops-operator.inc"
    files = {**files, name: files[name].replace("auth_request /_edge/operator;", "")}

    assert statuses(served(deployed, files, ASK_OPERATORS))["/ops/shell.js"] == "200"


def test_operators_pages_take_reads_of_their_own_pages_alone(deployed: Deployed) -> None:
    asked = 'ask -X POST https://localhost:8443/ops/\nask -H "Sec-Fetch-Site: cross-site" -H "Origin: https://a" https://localhost:8443/ops/shell.js'

    assert statuses(served(deployed, deployed.config("nginx"), asked)) == {"/ops/": "405", "/ops/shell.js": "403"}
