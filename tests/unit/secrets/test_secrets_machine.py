"""What is written down about a secret before and after who checks it is told, and how values are looked for."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_private_key

from ops import composition
from ops.core import files
from ops.core.errors import HostLacks, OpsError
from ops.core.process import Result
from ops.core.state import State
from ops.project import Project
from ops.secrets import facts, verifiers
from ops.secrets.facts import first_release
from ops.secrets.search import Found, _look, forms, places
from ops.secrets.steps import SetCredential
from ops.secrets.table import TARGETS
from ops.stack.model import Account
from ops.store import versions

SECRET = "postgres-app"
VALUE = b"Zx9-_Qw3rTyUiOpAsDfGhJkL1234567890abcdefgh"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    state = State(tmp_path)
    (state.secrets / SECRET).mkdir(parents=True)
    for number in (1, 2):
        (state.secrets / SECRET / str(number)).write_text(f"value-{number}")
    return cast(Project, SimpleNamespace(state=state, name="cc03", engine=SimpleNamespace()))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, project: Project) -> list[Any]:
    """What the account was told, and what was written down at that moment."""
    found: list[Any] = []

    def tell(project: Project, name: str, values: Sequence[tuple[int, str]]) -> None:
        found.append((name, values, versions.accepted(project.state, SECRET)))

    monkeypatch.setitem(composition.VERIFIERS, "pair", verifiers.Verifier(tell, lambda *_: True))
    return found


def hand(version: int, beside: int = 0) -> SetCredential:
    return SetCredential("hand", "", secret=SECRET, version=version, to=Account("pair", "app"), beside=beside)


def test_only_what_is_sure_is_written_down_at_every_moment(project: Project, told: list[Any]) -> None:
    verifiers.set_credential(project, hand(2, beside=1))
    assert told[-1] == ("app", [(1, "value-1"), (2, "value-2")], (0, 1))
    assert versions.accepted(project.state, SECRET) == (1, 2)

    verifiers.set_credential(project, hand(2))
    # Killed here, the old one may still be accepted: it is told once more.
    assert told[-1] == ("app", [(2, "value-2")], (0, 2))
    assert versions.accepted(project.state, SECRET) == (2,)

    # Back: neither is sure while it is told.
    verifiers.set_credential(project, hand(1))
    assert told[-1][2] == (0,)
    assert versions.accepted(project.state, SECRET) == (1,)
    assert (project.state.secrets / SECRET / versions.ACCEPTED).stat().st_mode & 0o777 == 0o600


def test_nothing_is_claimed_where_telling_fails(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any) -> None:
        raise OpsError("refused", "", "")

    monkeypatch.setitem(composition.VERIFIERS, "pair", verifiers.Verifier(refuses, lambda *_: True))
    with pytest.raises(OpsError):
        verifiers.set_credential(project, hand(2))
    assert versions.accepted(project.state, SECRET) == (0,)


def test_number_that_was_taken_back_is_not_used_again(project: Project) -> None:
    versions.withdraw(project.state, SECRET, 2)

    assert versions.numbers(project.state, SECRET) == [1]
    assert versions.next_version(project.state, SECRET) == 3
    with pytest.raises(HostLacks):
        versions.value_of(project.state, SECRET, 3)


def test_what_was_taken_back_is_still_accepted_while_containers_leave_it(project: Project, told: list[Any]) -> None:
    verifiers.set_credential(project, hand(2))
    versions.withdraw(project.state, SECRET, 2)
    verifiers.set_credential(project, hand(1, beside=2))

    assert told[-1] == ("app", [(2, "value-2"), (1, "value-1")], (0, 2))
    assert versions.accepted(project.state, SECRET) == (1, 2)


@pytest.mark.parametrize(("values", "roles"), [([(1, "a"), (2, "b")], ["app_2"]), ([(2, "b")], ["app", "app_2"])])
def test_while_both_are_accepted_only_the_role_of_the_new_one_changes(
    project: Project, monkeypatch: pytest.MonkeyPatch, values: list[tuple[int, str]], roles: list[str]
) -> None:
    changed: list[str] = []
    monkeypatch.setattr("ops.secrets.verifiers._set_roles", lambda project, names, value, user: changed.extend(names))
    verifiers.set_pair(project, "app", values)

    assert changed == roles


@pytest.mark.parametrize(("version", "refused"), [(1, "app_2"), (2, "app")])
def test_a_role_that_is_not_in_use_hinders_no_way_back(
    project: Project, monkeypatch: pytest.MonkeyPatch, version: int, refused: str
) -> None:
    """The change is put back because of it: too many connections, say."""
    monkeypatch.setattr("ops.secrets.verifiers._refused", lambda project, name, value: "FATAL" if name == refused else "")
    told: list[str] = []
    monkeypatch.setattr("ops.engines.postgres.execute", lambda *args: told.append(args[2]))
    verifiers.set_pair(project, "app", [(version, "a")])

    assert told == [f"ALTER ROLE {refused} PASSWORD :'value';"]
    with pytest.raises(OpsError, match=f"refuses {refused} "):
        verifiers.set_pair(project, "app", [(version, "a"), (version + 1, "b")])


@pytest.mark.parametrize("shift", range(6))
def test_a_value_is_found_in_base64_wherever_it_begins(shift: int) -> None:
    text = base64.b64encode(b"x" * shift + VALUE + b"tail")

    assert any(form in text for form in forms(VALUE))
    assert not any(form in base64.b64encode(b"x" * shift + VALUE[::-1]) for form in forms(VALUE))


def test_a_value_is_found_across_pieces_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.secrets.search.CHUNK", 600)
    path = tmp_path / "file"
    path.write_bytes(b"." * 580 + VALUE + b"." * 900)
    found = Found()
    _look(found, {"one": forms(VALUE), "other": forms(VALUE[::-1])}, "here", path)

    assert [(leak.secret, leak.where) for leak in found.leaks] == [("one", "here")]
    assert VALUE.decode() not in str(found.as_json())


def test_places_name_processes_by_their_container_and_leave_out_what_holds_secrets(project: Project) -> None:
    (project.state.root / "logs").mkdir()
    (project.state.root / "logs" / "redis.log").write_text("x")
    gone = {"State": {"Pid": 0}}
    found = dict(places(project.state, {"redis": gone}))

    assert found["redis (inspect)"] == b'{"State": {"Pid": 0}}'
    assert found[f"process {os.getpid()} (cmdline)"] == Path("/proc/self/cmdline").read_bytes()
    assert found["logs/redis.log"] == project.state.root / "logs" / "redis.log"
    assert not any(name.startswith("secrets/") for name in found)


def test_since_which_release() -> None:
    sealed = {1: {"a": 1}, 2: {"a": 2}, 3: {"a": 2}, 5: {"a": 2}}

    assert first_release(sealed, "a", 2) == 2
    assert first_release(sealed, "a", 3) is None


def test_public_key_is_that_of_the_private_one_which_the_container_makes(project: Project) -> None:
    der = bytes.fromhex("302e020100300506032b657004220420") + hashlib.sha256(b"value-1").digest()
    private = load_der_private_key(der, None)

    assert versions.public_key("value-1") == private.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    ).decode()  # fmt: skip


@pytest.mark.parametrize(
    ("code", "said", "opens"),
    [(0, '{"opens": ["local"], "away": []}', True), (1, '{"opens": [], "away": ["vault"]}', False)],
)
def test_key_of_the_backups_is_tried_on_the_repositories_themselves(
    project: Project, capsys: pytest.CaptureFixture[str], code: int, said: str, opens: bool
) -> None:
    asked: list[Any] = []

    def run(slot: str, argv: Sequence[str], **more: Any) -> Result:
        asked.append((slot, argv, more["stdin"]))
        return Result((), code, said, "", 0.1)

    project.engine.exec = run  # type: ignore[method-assign]
    assert verifiers.cipher_accepts(project, "backup", 2, "value") is opens
    # Never in argv.
    assert asked == [("backup", ("backup", "opens"), "value\n")]
    assert ("vault does not answer" in capsys.readouterr().out) is (not opens)


@pytest.mark.parametrize(("code", "said"), [(2, '{"opens": ["local"], "opens a part of": ["vault"]}'), (125, ""), (1, "")])
def test_key_that_opens_a_part_or_could_not_be_tried_is_neither_accepted_nor_refused(
    project: Project, code: int, said: str
) -> None:
    project.engine.exec = lambda *_, **__: Result((), code, said, "no such container", 0.1)  # type: ignore[method-assign]
    with pytest.raises(OpsError, match="does not open all"):
        verifiers.cipher_accepts(project, "backup", 2, "value")


def test_all_that_have_ever_signed_are_handed_to_the_backup(project: Project) -> None:
    project.state.backup.mkdir()
    folder = project.state.secrets / versions.SIGNING
    folder.mkdir()
    for name in ("1", "2", "3.withdrawn"):
        (folder / name).write_text(f"value-{name}")
    versions.write_signers(project.state)

    assert verifiers.signer_accepts(project, "backup", 1, "value-1") and verifiers.signer_accepts(
        project, "backup", 2, "value-2"
    )
    assert not verifiers.signer_accepts(project, "backup", 3, "value-3.withdrawn")
    assert "value" not in (project.state.backup / versions.SIGNERS).read_text()


def test_age_is_that_of_the_newest_version_and_of_what_can_be_rotated(project: Project) -> None:
    project.state.metrics.mkdir()
    once = project.state.secrets / "operator-password"
    once.mkdir()
    (once / "1").write_text("value")
    os.utime(project.state.secrets / SECRET / "2", (1000, 1000))
    facts.write_metrics(project.state)

    lines = (project.state.metrics / facts.METRICS).read_text().splitlines()
    assert lines[2:] == ['cc03_secret_created_timestamp_seconds{secret="postgres-app",service="postgres"} 1000']


# ---- Former versions


RELEASE = '{"secrets": {"postgres-app": 2, "backup-signing": 2, "backup-cipher": 2, "grafana-admin": 2, "redis-app": 2}}'


class Engine:
    """What retiring asks of the engine. `opens`: answer of the backup container about the key."""

    def __init__(self, stored: str, opens: str = '{"away": []}') -> None:
        self.stored, self.opens, self.removed = stored, opens, list[str]()

    def secrets(self) -> frozenset[str]:
        return frozenset(self.stored.split())

    def remove_secret(self, name: str) -> None:
        self.removed.append(name)

    def exec(self, slot: str, argv: Sequence[str], **_: Any) -> Result:
        return Result(tuple(argv), 0, self.opens, "", 0.0)


@pytest.fixture
def rotated(project: Project) -> Project:
    """Each of these has gone from version 1 to 2; of redis-app version 1 may still be accepted."""
    state = project.state
    for secret in ("backup-signing", "backup-cipher", "grafana-admin", "redis-app"):
        for number in (1, 2):
            files.write(_folder(state, secret) / str(number), f"{secret}-value-{number}", mode=0o600)
    for secret in ("postgres-app", "backup-signing", "backup-cipher"):
        versions.note(state, secret, [2])
    versions.note(state, "redis-app", [1, 2])
    (state.releases / "7").mkdir(parents=True)
    (state.releases / "7" / "release.json").write_text(RELEASE)
    state.current.symlink_to("7")
    state.backup.mkdir()
    return project


def _folder(state: State, secret: str) -> Path:
    (state.secrets / secret).mkdir(exist_ok=True)
    return state.secrets / secret


def test_former_versions_go_from_the_state_folder_and_from_the_engine(rotated: Project) -> None:
    state = rotated.state
    signed = versions.public_key("backup-signing-value-1")
    object.__setattr__(rotated, "engine", engine := Engine("cc03-postgres-app-1\ncc03-postgres-app-2\ncc03-redis-app-1\n"))
    assert verifiers.retire(rotated) == ["backup-cipher 1", "backup-signing 1", "grafana-admin 1", "postgres-app 1"]

    assert [versions.numbers(state, one) for one in ("postgres-app", "redis-app")] == [[2], [1, 2]]
    assert engine.removed == ["cc03-postgres-app-1"]
    kept = "".join(path.read_text() for path in state.secrets.rglob("*") if path.is_file())
    assert "value-1" not in kept.replace("redis-app-value-1", "")
    assert versions.next_version(state, "postgres-app") == 3, "the number stays taken"
    versions.write_signers(state)
    assert signed in (state.backup / versions.SIGNERS).read_text(), "what it has signed stays provable"
    assert verifiers.retire(rotated) == []


@pytest.mark.parametrize("opens", ['{"away": ["offsite"]}', ""])
def test_former_key_of_the_repositories_stays_while_one_may_need_it(rotated: Project, opens: str) -> None:
    object.__setattr__(rotated, "engine", Engine("", opens))
    verifiers.retire(rotated)

    assert versions.numbers(rotated.state, "backup-cipher") == [1, 2]


def test_nothing_is_retired_while_the_release_has_another_version(rotated: Project) -> None:
    (rotated.state.releases / "7" / "release.json").write_text(RELEASE.replace("2", "1"))
    object.__setattr__(rotated, "engine", Engine(""))

    assert verifiers.retire(rotated) == []
    assert versions.numbers(rotated.state, SECRET) == [1, 2]


def test_secret_that_no_release_has_is_left_alone(rotated: Project) -> None:
    """The recovery key is in the state folder, and nobody logs in with it."""
    (rotated.state.secrets / "backup-recovery").mkdir()
    for number in ("1", "2"):
        files.write(rotated.state.secrets / "backup-recovery" / number, "key\n")
    object.__setattr__(rotated, "engine", Engine(""))
    verifiers.retire(rotated)

    assert versions.numbers(rotated.state, "backup-recovery") == [1, 2]


def test_withdrawn_version_is_retired_too(rotated: Project) -> None:
    versions.withdraw(rotated.state, SECRET, 1)
    object.__setattr__(rotated, "engine", Engine(""))
    verifiers.retire(rotated)

    assert versions.taken(rotated.state, SECRET) == [1, 2]
    with pytest.raises(HostLacks):
        versions.value_of(rotated.state, SECRET, 1)


def test_each_secret_that_can_be_rotated_has_a_verifier() -> None:
    """Whatever a command has imported: those of Keycloak's accounts were missing in `inv secrets.rotate`."""
    assert {kind: verifiers.verifier_of(kind) for kind in {one.kind for one in TARGETS if one.can_rotate}}
    assert verifiers.OWN.keys() < composition.VERIFIERS.keys()


def test_containers_log_in_with_the_version_of_their_release_and_commands_with_the_newest(tmp_path: Path) -> None:
    """A rotation that was interrupted before the release has made a version that no container has."""
    state = State(tmp_path)
    for secret, count in {"postgres-app": 3, "keycloak-probe-user": 3, "redis-app": 1, "of-another-release": 1}.items():
        (state.secrets / secret).mkdir(parents=True)
        for number in range(1, count + 1):
            (state.secrets / secret / str(number)).write_text("value")
    deployed = SimpleNamespace(
        stack=SimpleNamespace(secrets=("postgres-app", "keycloak-probe-user", "redis-app")),
        versions={"postgres-app": 2, "keycloak-probe-user": 2, "redis-app": 1},
    )

    assert facts.present(cast(Project, SimpleNamespace(state=state, deployed=deployed))) == {
        "postgres-app": 2, "keycloak-probe-user": 3, "redis-app": 1,
    }  # fmt: skip
