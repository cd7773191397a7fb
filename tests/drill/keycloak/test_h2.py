"""A real H2 database of Keycloak moved into PostgreSQL; damaged ones, one in use and one of another H2 refused."""

from __future__ import annotations

import fcntl
import re
import struct
import time
from pathlib import Path

import pytest
import requests

from ops.core.files import host_ca_bundle, sha256
from ops.core.process import until
from ops.core.records import entries
from ops.engines.engine import OneOff
from ops.engines.podman import argv as podman
from ops.engines.podman.host import Host
from ops.keycloak.h2 import file as h2
from ops.keycloak.schema.dump import ask, databases
from ops.keycloak.schema.observed import schema_of
from tests.drill.conftest import Record
from tests.drill.keycloak.people import People, rows
from tests.drill.stack import Drill, begun, inv
from tests.smoke.accounts import Login
from tests.smoke.live import Live

MAKE_SECONDS = 900.0
USERS = 8
PASSWORD = "Passw0rd-of-the-drill"
MAKE = r"""set -euo pipefail
export KC_BOOTSTRAP_ADMIN_USERNAME=admin KC_BOOTSTRAP_ADMIN_PASSWORD="$2" KC_HEALTH_ENABLED=true
/opt/keycloak/bin/kc.sh start-dev >/tmp/log 2>&1 &
api=http://localhost:8080
until curl -fsS -o /dev/null http://localhost:9000/health/ready 2>/dev/null; do
  kill -0 $! || { tail /tmp/log; exit 1; }
  sleep 1
done
token() {
  curl -fsS -d "grant_type=password&client_id=admin-cli&username=admin&password=$1" \
    "$api/realms/master/protocol/openid-connect/token" | sed 's/.*"access_token":"\([^"]*\)".*/\1/'
}
post() {
  curl -fsS -o /dev/null -H "Authorization: Bearer $token" -H 'Content-Type: application/json' -d "$2" "$api/admin/realms$1"
}
for realm in cc03 shop; do
  token=$(token "$2"); post "" "{\"realm\":\"$realm\",\"enabled\":true}"
  token=$(token "$2")
  post "/$realm/roles" '{"name":"buyer"}'
  post "/$realm/clients" '{"clientId":"web","publicClient":true,"directAccessGrantsEnabled":true}'
  for i in $(seq "$1"); do
    names="\"username\":\"user$i\",\"firstName\":\"Jürgen\",\"lastName\":\"日本\",\"email\":\"user$i@$realm.invalid\""
    credentials="[{\"type\":\"password\",\"value\":\"$2\"}]"
    post "/$realm/users" "{$names,\"enabled\":true,\"emailVerified\":true,\"credentials\":$credentials}"
  done
done
kill %1
wait %1 || true
"""


def distribution(host: Host, drill: Drill) -> str:
    """Keycloak's whole distribution, as `inv keycloak.migrate-h2` builds it."""
    image = drill.project.images["keycloak"]
    tag = image.tag.replace("/keycloak:", "/keycloak-distribution:")
    args = {f"BASE_{suite.upper()}": base for suite, base in image.bases}
    argv = podman.image_build(Path(image.context), tag, args, host_ca_bundle(), target="distribution")
    host.run(argv, timeout=MAKE_SECONDS)
    return tag


@pytest.fixture(scope="module")
def file(drill: Drill, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by the very Keycloak of this checkout, with its default database: two realms with users, clients and roles."""
    host, data = drill.project.host, tmp_path_factory.mktemp("h2")
    make = OneOff(
        distribution(host, drill), ("bash", "-c", MAKE, "make", str(USERS), PASSWORD), "drill-h2",
        mounts={data: "/opt/keycloak/data"}, fixed=False,
    )  # fmt: skip
    drill.project.engine.run(make, timeout=MAKE_SECONDS)
    return h2.find(data)


def fletcher(content: bytes) -> int:
    """H2's checksum of a file header (DataUtils.getFletcher32)."""
    low = high = 0xFFFF
    content += b"\0" * (len(content) % 2)
    for (word,) in struct.iter_unpack(">H", content):
        low = (low + word) % 0xFFFF
        high = (high + low) % 0xFFFF
    return (high or 0xFFFF) << 16 | (low or 0xFFFF)


def of_another_h2(content: bytes) -> bytes:
    """Both copies of the header say a format that this H2 does not know, under a checksum that is right."""
    changed = bytearray(content)
    for start in (0, 4096):
        header = content[start : start + 4096].split(b"\n")[0]
        body = header.partition(b",fletcher:")[0].replace(b"format:3", b"format:9")
        fresh = body + b",fletcher:%x\n" % fletcher(body)
        changed[start : start + 4096] = fresh.ljust(4096, b"\0")
    return bytes(changed)


BROKEN = {
    "cut short": lambda content: content[: len(content) // 3],
    "zeroed in the middle": lambda content: content[:8192] + bytes(len(content) - 16384) + content[-8192:],
    "not a database": lambda content: b"<html>" * 1000,
    "of another H2": of_another_h2,
}  # fmt: skip


@pytest.mark.parametrize("kind", BROKEN)
def test_file_that_cannot_be_read_is_refused_and_nothing_is_changed(
    kind: str, untouched: Drill, file: Path, tmp_path: Path
) -> None:
    before = rows(untouched)
    broken = tmp_path / "keycloakdb.mv.db"
    broken.write_bytes(BROKEN[kind](file.read_bytes()))
    answer = inv("keycloak.migrate-h2", str(broken), "--yes")

    assert answer.returncode == 1
    assert re.search(
        r"failed: .* cannot be read\n +why: .*it was not touched, and neither was PostgreSQL\n +next: ", answer.stderr
    )
    assert rows(untouched) == before


def test_file_in_use_is_refused(untouched: Drill, file: Path) -> None:
    with file.open("r+b") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        answer = inv("keycloak.migrate-h2", str(file), "--yes")

    assert (answer.returncode, "is in use" in answer.stderr) == (1, True)


def log_in(live: Live, realm: str, username: str) -> requests.Response:
    grant = {"grant_type": "password", "client_id": "web", "username": username, "password": PASSWORD}
    # The public site has the one realm of the product; the operator's listener has every one.
    listener = live.site if realm == "cc03" else live.ops
    return listener("POST", f"/auth/realms/{realm}/protocol/openid-connect/token", data=grant)


def limit(stack: Drill, connections: int) -> None:
    """How many sessions PostgreSQL grants to Keycloak's role from now on."""
    project = stack.project
    ask(project.engine, "postgres", f"ALTER ROLE keycloak CONNECTION LIMIT {connections};")


def await_step(stack: Drill, since: int, step: str) -> None:
    reason = until(lambda: "" if stack.step_began(since, step) else f"{step} has not begun", MAKE_SECONDS)
    assert not reason, reason


@pytest.mark.parametrize("step", ["import", "start keycloak"])
def test_move_that_fails_leaves_keycloak_as_it_was(step: str, stack: Drill, file: Path, tmp_path: Path) -> None:
    """PostgreSQL refuses Keycloak's role while the move is at that step: before the swap, and after it."""
    people = People(stack)
    people.make(users=2)
    before, log = rows(stack), tmp_path / "move.log"
    since = len(list(entries(stack.project.state.journal)))
    try:
        with begun("keycloak.migrate-h2", str(file), "--yes", log=log) as process:
            await_step(stack, since, step)
            limit(stack, 0)
            await_step(stack, since, "swap back" if step == "start keycloak" else "tidy")
            limit(stack, 30)
            code = process.wait(MAKE_SECONDS)
    finally:
        limit(stack, 30)

    assert code == 1, log.read_text()
    assert "Keycloak serves what it served before" in log.read_text()
    assert rows(stack) == before
    assert databases(stack.project.engine, "keycloak_") == []
    people.assert_everybody_gets_in()
    people.remove()


def test_everything_moves_and_what_was_there_is_dumped(stack: Drill, file: Path, record: Record) -> None:
    digest, engine = sha256(file), stack.project.engine
    planned = inv("keycloak.migrate-h2", str(file), "--plan")
    assert "(cc03, master, shop)" in planned.stdout, planned.stdout + planned.stderr
    assert "destroys: what Keycloak keeps in PostgreSQL now" in planned.stdout

    began = time.monotonic()
    answer = inv("keycloak.migrate-h2", str(file), "--yes")
    record("Keycloak moved from H2", time.monotonic() - began)

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert sha256(file) == digest
    schema = schema_of(engine)
    assert schema
    # The two administrators' accounts of H2 and of the operations client stand beside the users.
    assert (schema.counts["realms"], schema.counts["users"]) == (3, 2 * USERS + 2)
    assert databases(engine, "keycloak_") == []
    assert not (stack.project.state.root / "h2").exists()
    live = Live(stack.project)
    for realm in ("cc03", "shop"):
        answered = log_in(live, realm, "user1")
        assert answered.status_code == 200, f"{realm}: {answered.status_code} {answered.text[:200]}"
    # A browser goes through another flow, with authenticators that this build may lack. Our clients come with the next deploy.
    browser = Login(live, "account-console")
    browser.redirect = f"{live.site.base}/auth/realms/cc03/account/"
    assert browser.tokens("user1", PASSWORD)["access_token"]
    operations = {"grant_type": "client_credentials", "client_id": "cc03-ops", "client_secret": live.secret("keycloak-ops")}
    assert live.ops("POST", "/auth/realms/master/protocol/openid-connect/token", data=operations).status_code == 200
