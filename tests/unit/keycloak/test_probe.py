"""Reading Keycloak's surroundings: what is made of the answers, without anybody to ask."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import threading
import time
import zipfile
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from ops.certificates import authority
from ops.core.errors import OpsError
from ops.core.process import Result
from ops.core.state import State
from ops.keycloak.failures.facts import Client, Content, Database, PostgresFacts, Role, Session
from ops.keycloak.probe import container, database, edge
from ops.keycloak.probe.gather import Place, Reads, _administered, _edge, _since, unread_container
from ops.project import Project
from tests.unit.keycloak_facts import HEALTHY, failing

CLUSTER: dict[str, Any] = {
    "now": 1000.5, "max_connections": 97, "connections": 16,
    "role": {"login": True, "limit": 30, "expired": False, "connections": 4},
    "database": {"owner": "keycloak", "encoding": "UTF8", "connectable": True},
    "sessions": [{"pid": 1, "address": "10.0.0.2", "application": "PostgreSQL JDBC Driver", "seconds": 3}],
}  # fmt: skip
HOLDER = {"pid": 9, "address": "", "application": "psql", "seconds": 45.5, "waits": False}
WAITER = {"pid": 8, "address": "10.0.0.2", "application": "jdbc", "seconds": 4, "waits": True}


def layered(tmp_path: Path, **files: str) -> dict[str, Any]:
    """What Podman says of a container that does not run, with these files in its image (`__` stands for a slash)."""
    for name, text in files.items():
        path = tmp_path / "lower" / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "upper").mkdir()
    return {
        "State": {"Status": "exited", "Pid": 0},
        "Config": {"Env": ["KC_DB_PASSWORD=hush", "KC_PROXY=edge", "PATH=/bin"], "Entrypoint": "/start.sh", "Cmd": None},
        "GraphDriver": {"Data": {"UpperDir": str(tmp_path / "upper"), "LowerDir": str(tmp_path / "lower")}},
    }


def test_answers_become_facts() -> None:
    facts = database.facts_of(
        {"cluster": CLUSTER, "schema": {"create": True, "strangers": 2, "locks": [HOLDER, WAITER]}}, 1000.0
    )

    assert facts.role == Role(connections=4)
    assert facts.clock_offset == 0.5
    assert facts.sessions == (Session(1, "10.0.0.2", 3, "PostgreSQL JDBC Driver"),)
    assert facts.schema
    assert (facts.schema.holder, facts.schema.waiting, facts.schema.strangers) == (Session(9, "", 45.5, "psql"), 1, 2)
    assert facts.content is None


def test_lock_that_all_wait_for_has_no_holder_to_name() -> None:
    facts = database.facts_of({"cluster": CLUSTER, "schema": {"create": True, "strangers": 0, "locks": []}}, 0.0)

    assert facts.schema
    assert (facts.schema.holder, facts.schema.waiting) == (None, 0)


def test_content_is_read() -> None:
    content = {
        "version": None, "realms": {"cc03": True}, "ssl_required": {"cc03": "EXTERNAL"}, "key_providers": {"rsa": False},
        "admins": 1, "ops_client": True, "changesets": ["1|a|x.xml"],
        "clients": [{"client_id": "a", "enabled": True, "standard_flow": True, "redirects": ["u"], "origins": []}],
        "cluster_rows": 0, "login_errors": 3, "suspects": ["x"],
    }  # fmt: skip
    facts = database.facts_of({"cluster": CLUSTER, "content": content}, 0.0)

    assert facts.content
    assert facts.content.clients[0].redirects == ("u",)
    assert facts.content.changesets == {"1|a|x.xml"}
    assert (facts.content.version, facts.content.key_providers, facts.content.suspects) == ("", {"rsa": False}, ("x",))


def test_statements_after_one_that_failed_are_left_out() -> None:
    assert database.answers_of('\n{"cluster": {"a": 1}}\nERROR: x\n') == {"cluster": {"a": 1}}
    assert database.answers_of('{"a": [{"b": 1}, \n {"b": 2}]}\n{"c": 3}\n') == {"a": [{"b": 1}, {"b": 2}], "c": 3}
    assert database.facts_of({}, 0.0) == PostgresFacts(answers=False, said="it answered nothing")


@pytest.mark.parametrize("kind", [Role, Database, Session, Client, Content])
def test_statements_name_every_field_of_a_fact(kind: type) -> None:
    script = database.SCRIPT.read_text(encoding="utf-8")

    assert [one.name for one in fields(kind) if f"'{one.name}'," not in script] == []


def test_facts_are_asked_for_in_a_session_that_can_only_read() -> None:
    asked: list[tuple[tuple[str, ...], str]] = []

    def execute(slot: str, argv: tuple[str, ...], *, stdin: str, **_: Any) -> Result:
        asked.append((tuple(argv), stdin))
        return Result(tuple(argv), 0, json.dumps({"cluster": CLUSTER}), "", 0.1)

    facts, left_out = database.postgres_facts(cast(Any, SimpleNamespace(exec=execute)))
    ((argv, script),) = asked
    options = next(word for word in argv if word.startswith("PGOPTIONS="))

    assert (facts.answers, facts.connections, left_out) == (True, 16, "")
    assert argv.index(options) < argv.index("psql") and "default_transaction_read_only=on" in options.split()
    words = set(script.upper().split())
    assert "SELECT" in words
    assert not {"INSERT", "UPDATE", "DELETE", "ALTER", "GRANT", "DROP", "CREATE", "SET", "TRUNCATE", "CALL", "COPY"} & words


def test_image_is_read_from_its_layers_where_nothing_runs(tmp_path: Path) -> None:
    item = layered(
        tmp_path,
        opt__keycloak__version_txt="", start_sh="", **{
            "opt__keycloak__version.txt": "Keycloak - Version 26.7.3\n",
            "opt__keycloak__conf__jvm.options": "-Xmx1g\n",
            "start.sh": "#!/bin/bash\necho\nexec java \\\n  start --optimized\n",
        },
    )  # fmt: skip
    jar = tmp_path / "lower/opt/keycloak/lib/quarkus/generated-bytecode.jar"
    jar.parent.mkdir(parents=True)
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("META-INF/keycloak-persisted.properties", "#x\nkc.db=postgres\nkc.a\\:b=1\nquarkus.x=y\n")
    config = tmp_path / "config"
    config.mkdir()
    (config / "keycloak.conf").write_text("# c\nhostname=https://x/auth\ndb-password=@secret:x@\ntruststore-paths=/none.pem\n")
    (config / "cc03-realm.json").write_text('{"realm": "cc03"}')
    (config / "broken.json").write_text("{")

    facts = container.server_facts(item, config, config)

    assert (facts.version, facts.jvm, facts.built) == ("26.7.3", ("-Xmx1g",), {"db": "postgres", "a:b": "1"})
    assert facts.command == ("/start.sh", "java", "start", "--optimized")
    assert facts.environment == {"KC_DB_PASSWORD": "[REDACTED]", "KC_PROXY": "edge"}
    assert facts.options == {
        "hostname": "https://x/auth", "db-password": "[REDACTED]", "truststore-paths": "/none.pem"
    }  # fmt: skip
    assert facts.realm_files == {"cc03-realm.json": "cc03"}
    assert facts.truststores_missing == ("/none.pem",)


@pytest.mark.parametrize(("lib", "built"), [(True, {}), (False, None)])
def test_image_without_a_build_differs_from_one_that_cannot_be_seen(tmp_path: Path, lib: bool, built: object) -> None:
    item = layered(tmp_path, **({"opt__keycloak__lib__x": ""} if lib else {}))

    assert container.server_facts(item, tmp_path / "none", tmp_path / "none").built == built


def test_link_into_the_host_is_not_followed(tmp_path: Path) -> None:
    item = layered(tmp_path, opt__keycloak__x="")
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "h2").write_text("")
    (tmp_path / "lower" / "opt" / "keycloak" / "data").symlink_to(tmp_path / "host")
    files = container.Files.of(item)

    assert files.find("opt/keycloak/data/h2") is None
    assert files.find("opt/keycloak/x")
    assert files.has("/opt/keycloak/data")


def test_h2_files_are_found(tmp_path: Path) -> None:
    item = layered(tmp_path, **{"opt__keycloak__data__h2__keycloakdb.mv.db": ""})

    assert container.server_facts(item, tmp_path, tmp_path).h2_files == ("/opt/keycloak/data/h2/keycloakdb.mv.db",)


def test_secret_that_was_replaced_since_is_stale(tmp_path: Path) -> None:
    item = layered(tmp_path, run__secrets__same="a\n", run__secrets__old="a")
    state = State(tmp_path / "state")
    for name, value in (("same", "a"), ("old", "b"), ("unmounted", "c")):
        (state.secrets / name).mkdir(parents=True)
        (state.secrets / name / "1").write_text(value)

    assert container.stale_secrets(item, state, {"same": 1, "old": 1, "unmounted": 1, "gone": 1}) == ("old",)


def test_container_that_is_missing_has_no_facts_but_that() -> None:
    assert container.container_facts(None, 600.0, ()).status == "missing"


def test_log_is_read_further_back_where_it_does_not_run_as_it_should() -> None:
    assert _since(HEALTHY) == HEALTHY.now - 900.0
    assert _since(failing()) == HEALTHY.now - 604.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('agroal_awaiting_count{datasource="default"} 2.0', 2.0),
        ("# HELP x\nagroal_awaiting_count 1.2E1\nx 1", 12.0),
        ("agroal_awaiting_count_total 5.0", None),
    ],
)
def test_gauge_is_read_from_metrics(text: str, value: float | None) -> None:
    assert edge.gauge(text, "agroal_awaiting_count") == value


def test_token_tells_when_it_was_issued() -> None:
    part = base64.urlsafe_b64encode(json.dumps({"iat": 1700}).encode()).decode().rstrip("=")

    assert edge.payload(f"a.{part}.c") == {"iat": 1700}


@pytest.mark.parametrize("token", ["", "a.b", "a.b.c", "a.!!!.c", "a.W10.c"])
def test_token_that_is_none_has_no_payload(token: str) -> None:
    assert edge.payload(token) == {}


class Health(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        said = {"/health/ready": b"{}", "/metrics": b"agroal_awaiting_count 2.0\n"}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(said[self.path])

    def log_message(self, *_: Any) -> None: ...


def served(context: ssl.SSLContext | None) -> Any:
    """An engine that connects to a server, with TLS or without; to the port for management alone, since those who wait for a
    connection to the database have every thread of the other one."""

    def connect(slot: str, port: int, *_: Any) -> socket.socket:
        assert (slot, port) == ("keycloak", 9000)
        here, there = socket.socketpair()
        here.settimeout(2.0)

        def answer() -> None:
            with suppress(OSError):
                Health(context.wrap_socket(there, server_side=True) if context else there, ("", 0), cast(Any, None))
            there.close()

        threading.Thread(target=answer, daemon=True).start()
        return here

    return SimpleNamespace(connect=connect)


def test_health_is_asked_over_tls_of_the_service_s_name(tmp_path: Path) -> None:
    state = State(tmp_path)
    state.prepare()
    authority.issue_certificate(state, "cc03", "keycloak", os.getuid(), ("keycloak",))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(state.certs / "keycloak" / "tls.pem")
    roots = state.ca / "root.pem"

    assert edge.inside(served(context), "10.0.0.2", roots) == {
        "ready": 200, "metrics_said": "", "pool_awaiting": 2.0, "pool_active": None
    }  # fmt: skip
    plain = edge.inside(served(None), "10.0.0.2", roots)
    assert (plain["ready"], plain["management_plain"]) == (0, True)


def test_container_that_is_away_is_told() -> None:
    def connect(*_: Any) -> Any:
        raise ConnectionRefusedError("keycloak does not run")

    found = edge.inside(cast(Any, SimpleNamespace(connect=connect)), "10.0.0.2", Path(DEFAULT_CA_BUNDLE_PATH))
    assert (found["ready"], found["ready_said"], found["management_plain"]) == (0, "keycloak does not run", False)


def test_metrics_that_could_not_be_read_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without them, an exhausted pool would look like one that nobody waits for."""
    monkeypatch.setattr(edge, "inside", lambda *_: {"ready": 200, "metrics_said": "timed out"})
    with ThreadPoolExecutor() as pool:
        reads = Reads(pool, time.monotonic() + 5.0)
        project = SimpleNamespace(state=State(tmp_path), engine=None)
        place = Place(cast(Any, project), {"keycloak": {"State": {"Status": "running"}, "NetworkSettings": {}}})

        assert _edge(place, reads, "https://localhost") == {"certificate_elsewhere": False, "ready": 200}
    assert reads.unread == {"metrics (connections to the database)": "timed out"}


def test_read_that_fails_or_is_late_costs_one_fact() -> None:
    def fails() -> int:
        raise OpsError("podman exec", "it is gone", "inv status")

    def breaks() -> int:
        raise ValueError("odd")

    with ThreadPoolExecutor() as pool:
        reads = Reads(pool, time.monotonic() + 0.2)
        given = [reads.result(name, reads.start(read), 7) for name, read in (("a", fails), ("b", breaks), ("c", lambda: 1))]
        late = reads.result("d", reads.start(time.sleep, 0.4), None)

    assert (given, late) == ([7, 7, 1], None)
    assert reads.unread == {"a": "podman exec: it is gone", "b": "ValueError: odd", "d": "no answer within 4.5 s"}


@pytest.mark.parametrize(("found", "status"), [({"keycloak": {"State": {"Status": "running"}}}, "running"), ({}, "missing")])
def test_container_that_is_not_read_in_time_is_not_missing(found: dict[str, dict[str, Any]], status: str) -> None:
    """`inv keycloak.fix` makes a missing one again; a busy host is no reason to."""
    assert unread_container(Place(cast(Project, None), found)).status == status


def test_a_token_that_does_not_come_leaves_the_clock_unread(tmp_path: Path) -> None:
    """Else a diagnosis that could not read Keycloak's clock would say that all is well."""
    place = cast(
        Place, SimpleNamespace(project=SimpleNamespace(state=SimpleNamespace(site_roots=tmp_path)), ops_url="https://ops")
    )
    silent: Future[tuple[edge.Fields, str]] = Future()
    silent.set_result(({"admin": 0, "admin_said": "timed out"}, ""))
    with ThreadPoolExecutor(1) as pool:
        reads = Reads(pool, time.monotonic() + 1)
        _administered(place, reads, silent, PostgresFacts())
    assert list(reads.unread.items()) == [("operations client (Keycloak's clock, locked users)", "timed out")]


def test_mounted_configuration_is_compared_with_the_release(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "keycloak.conf").write_text("# told\nhostname=https://a\ncache=local\n")
        (folder / "realm.json").write_text("{}")
    assert container.edited(here, there) == ()

    (here / "keycloak.conf").write_text("hostname=https://b\ncache=local\nproxy=edge\n")
    assert container.edited(here, there) == ("hostname", "proxy")
    (here / "keycloak.conf").write_text("hostname=https://a\ncache=local\n")
    (here / "realm.json").unlink()
    assert container.edited(here, there) == ("keycloak.conf", "realm.json")
    assert container.edited(here, tmp_path / "none") == ()


def test_secret_without_a_value_is_seen(tmp_path: Path) -> None:
    state = State(tmp_path)
    for name, value in (("good", "x"), ("blank", " \n")):
        (state.secrets / name).mkdir(parents=True)
        (state.secrets / name / "1").write_text(value)

    assert container.empty_secrets(state, {"good": 1, "blank": 1, "gone": 1}) == ("blank", "gone")


def test_log_of_a_container_s_predecessor_is_not_read() -> None:
    down = failing()
    young = replace(down, container=replace(down.container, age_seconds=30.0))

    assert _since(down) < down.now - 600
    assert _since(young) == young.now - 30


def test_last_end_is_asked_for_only_where_the_restart_policy_has_acted() -> None:
    class Host:
        def run(self, argv: object, **options: object) -> Result:
            lines = [json.dumps({"ContainerExitCode": code, "Status": "died"}) for code in (1, 137)]
            return Result((), 0, "\n".join(lines), "", 0.0)

    host: Any = Host()
    assert container.last_exit(host, {"Id": "a", "RestartCount": 3}) == 137
    assert container.last_exit(host, {"Id": "a", "RestartCount": 0}) is None
    assert container.last_exit(host, None) is None


def test_age_is_read_from_podmans_time() -> None:
    now = datetime.now(UTC)
    made = (now - timedelta(seconds=90)).isoformat().replace("+00:00", "123Z")

    assert container.age({"Created": made}) == pytest.approx(90, abs=2)
    assert container.age({}) is None
