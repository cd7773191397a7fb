"""Files of certificates and of their authority: whole at every moment, and brought to an end wherever a command was killed."""

from __future__ import annotations

import datetime as dt
import os
import stat
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography import x509

from ops.backup import host_archive as archive
from ops.certificates import authority, commands, facts, folder, pki
from ops.certificates.authority import issue_certificate
from ops.cli.execute import Operation
from ops.core import files
from ops.core.errors import HostLacks, NeedsPerson, OpsError
from ops.core.plan import Plan
from ops.core.state import State
from ops.execution import Execution
from ops.project import Project
from ops.stack.certificates import Leaf
from tests.unit.certificates.openssl import accepted

NAMES = ("nginx", "localhost", "127.0.0.1", "shop.example.com")


class Killed(BaseException):
    """As kill -9: nothing that stands after it runs, but for the tests' own."""


@pytest.fixture
def state(tmp_path: Path) -> State:
    made = State(tmp_path / "cc03")
    made.prepare()
    issue_certificate(made, "cc03", "nginx", os.getuid(), NAMES)
    return made


def serial(file: Path) -> int:
    return pki.certificates_in(file.read_bytes())[0].serial_number


def tls(state: State) -> Path:
    return state.certs / "nginx" / "tls.pem"


def roots(state: State, name: str = "root.pem") -> list[x509.Certificate]:
    return pki.certificates_in((state.ca / name).read_bytes())


def staged(state: State) -> int:
    """Prepare another certificate; its serial."""
    folder.stage(tls(state), authority.new_leaf(state, "cc03", "nginx", NAMES), os.getuid())
    return serial(folder.next_of(tls(state)))


def test_issued_certificate_is_one_file_for_its_reader_alone(state: State) -> None:
    file = tls(state)
    content = file.read_bytes()

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert pki.problems(pki.certificates_in(content), pki.key_in(content), NAMES, roots(state), dt.datetime.now(dt.UTC)) == []
    assert (file.with_name("key.pem").readlink(), file.with_name("public.pem").readlink()) == (Path("tls.pem"), Path("tls.pem"))
    assert b"PRIVATE" not in file.with_name("cert.pem").read_bytes()
    assert folder.good_names(state) == {"nginx": NAMES}


def test_swap_can_be_put_back_and_settled(state: State) -> None:
    file = tls(state)
    old = serial(file)
    new = staged(state)

    folder.swap(file)
    assert (serial(file), serial(folder.previous_of(file)), folder.pending(file)) == (new, old, True)
    assert folder.good_names(state) == {}, "half replaced"
    assert folder.restore(file) and serial(file) == old == serial(file.with_name("cert.pem")) and not folder.pending(file)
    assert not folder.restore(file)

    new = staged(state)
    folder.swap(file)
    # Sealed releases of before have programs read these two.
    assert serial(file.with_name("cert.pem")) == new and file.with_name("key.pem").read_bytes() == file.read_bytes()
    folder.settle(file)
    assert serial(file) == new == serial(file.with_name("cert.pem"))
    assert list(file.parent.glob(".*.next")) == list(file.parent.glob(".*.previous")) == []
    assert not folder.pending(file) and not folder.next_of(file).exists()


def test_swap_killed_between_its_two_renames_leaves_the_old_one_and_goes_on(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tls(state)
    old, new = serial(file), staged(state)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            folder.swap(file)
    assert serial(file) == old and folder.pending(file) and folder.next_of(file).exists()

    folder.swap(file)
    assert (serial(file), serial(folder.previous_of(file))) == (new, old)


def test_swap_killed_between_the_two_files_is_settled_whole(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tls(state)
    new = staged(state)
    replace = Path.replace
    done: list[Path] = []

    def dying(path: Path, target: Path) -> Path:
        if done:
            raise Killed
        done.append(path)
        return replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", dying)
        with pytest.raises(Killed):
            folder.swap(file)
    assert (serial(file), folder.next_of(file).exists()) == (new, False)
    folder.settle(file)
    assert serial(file.with_name("cert.pem")) == new
    assert list(file.parent.glob(".*.next")) == list(file.parent.glob(".*.previous")) == []


def test_put_back_of_a_swap_that_did_nothing_leaves_one_file(state: State) -> None:
    file = tls(state)
    old = serial(file)
    os.link(file, folder.previous_of(file))

    assert folder.restore(file)
    assert serial(file) == old and not folder.pending(file)


def test_public_one_is_swapped_without_touching_nginx_own_and_goes_back_to_it(state: State) -> None:
    public = tls(state).with_name("public.pem")
    own = serial(tls(state))
    folder.stage(public, authority.new_leaf(state, "cc03", "nginx", ("shop.example.com",)), os.getuid())
    folder.swap(public)
    folder.settle(public)
    assert serial(tls(state)) == own != serial(public) and not public.is_symlink()

    folder.stage_link(public, "tls.pem")
    folder.swap(public)
    assert public.is_symlink() and folder.pending(public)
    assert folder.restore(public) and not public.is_symlink()


def test_failed_command_reverts_what_was_not_seen_on_the_wire_and_forgets_what_was_prepared(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, public = (Leaf(name, "nginx", os.getuid(), NAMES, "nginx", {}, ()) for name in ("nginx", "public"))
    asked: list[Operation] = []
    monkeypatch.setattr(commands, "execute", asked.append)
    project = cast(Project, SimpleNamespace(state=state, engine=SimpleNamespace(containers=dict), stack=None))
    commands.replace_certificates(project, "certs.rotate", lambda: Plan("certs.rotate"), (own, public), False, True, "done")
    revert = asked[0].decide().revert
    assert revert and not revert.interrupts and revert.decide() is None, "nothing was put in place"

    old = serial(tls(state))
    staged(state)
    folder.stage(public.file(state.root), tls(state).read_bytes(), os.getuid())
    folder.swap(tls(state))
    back = revert.decide()
    assert back and [step.title for step in back.plan.steps] == ["restore the previous certificate of nginx"]
    assert not folder.next_of(public.file(state.root)).exists()

    monkeypatch.setattr("ops.certificates.facts.must_be_served", lambda *_: None)
    back.plan.steps[0].run(cast(Execution, SimpleNamespace(state=state, project=project)))
    assert serial(tls(state)) == old and not folder.pending(tls(state))


def test_full_disk_leaves_the_one_in_place(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    old = serial(tls(state))
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))

    with pytest.raises(OSError, match="No space"):
        staged(state)
    assert serial(tls(state)) == old and not folder.next_of(tls(state)).exists()
    assert list(tls(state).parent.glob(".*")) == []


def test_key_of_the_root_is_encrypted_and_its_passphrase_is_for_root_alone(state: State) -> None:
    assert pki.encrypted((state.ca / "root.key").read_bytes())
    assert stat.S_IMODE((state.ca / "passphrase").stat().st_mode) == 0o600
    assert authority.signing_root(state) is not None


def test_authority_of_an_earlier_version_is_kept_and_its_key_encrypted(tmp_path: Path) -> None:
    state = State(tmp_path / "old")
    state.prepare()
    now = dt.datetime.now(dt.UTC)
    root = pki.make_root("cc03", now)
    signer = pki.make_intermediate(root, "cc03", now)
    for name, one in (("root", root), ("intermediate", signer)):
        (state.ca / f"{name}.pem").write_bytes(one.certificate)
        (state.ca / f"{name}.key").write_bytes(one.key)

    roots, kept = authority.authority(state, "cc03")
    assert (roots, kept) == (root.certificate, signer)
    assert pki.encrypted((state.ca / "root.key").read_bytes())
    assert authority.signing_root(state) == root


def test_leaves_are_issued_without_the_root_key_and_an_intermediate_is_not(state: State) -> None:
    (state.ca / "root.key").unlink()
    issue_certificate(state, "cc03", "nginx", os.getuid(), NAMES)

    (state.ca / "intermediate.pem").unlink()
    with pytest.raises(NeedsPerson, match="intermediate"):
        authority.authority(state, "cc03")


def test_intermediate_is_renewed_by_itself_and_goes_on_where_the_key_is_away(state: State) -> None:
    root = authority.signing_root(state)
    assert root
    old = pki.make_intermediate(root, "cc03", dt.datetime.now(dt.UTC) - dt.timedelta(days=1500))
    files.write(state.ca / "intermediate.pem", old.certificate)
    files.write(state.ca / "intermediate.key", old.key)
    (state.ca / "passphrase").rename(state.ca / "away")
    assert authority.authority(state, "cc03")[1].certificate == old.certificate

    (state.ca / "away").rename(state.ca / "passphrase")
    assert authority.authority(state, "cc03")[1].certificate != old.certificate


def test_exported_root_comes_back_and_another_one_is_refused(state: State, tmp_path: Path) -> None:
    copy = tmp_path / "root-copy.pem"
    root = authority.signing_root(state)
    authority.export_root(state, copy, remove=True)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600 and not (state.ca / "root.key").exists()
    assert pki.encrypted(copy.read_bytes())

    authority.import_root(state, copy)
    assert authority.signing_root(state) == root

    passphrase = (state.ca / "passphrase").read_bytes().strip()
    copy.write_bytes(pki.encrypt(pki.make_root("cc03", dt.datetime.now(dt.UTC)).key, passphrase))
    with pytest.raises(OpsError, match="another root"):
        authority.import_root(state, copy)
    (state.ca / "passphrase").unlink()
    with pytest.raises(HostLacks, match="cannot read the key"):
        authority.signing_root(state)


def test_another_root_takes_the_place_of_the_present_one(state: State) -> None:
    (old,) = roots(state)
    issue_certificate(state, "cc03", "nginx", os.getuid(), NAMES)
    assert (facts.authority_seen(state).prepared, facts.authority_seen(state).signs) == (False, False)

    authority.make_next(state, "cc03", bridged=True)
    assert (facts.authority_seen(state).prepared, facts.authority_seen(state).signs) == (True, False)
    authority.trust_both(state)
    authority.distribute_roots(state)
    authority.trust_both(state)
    assert roots(state)[0] == old and len(roots(state)) == 2, "the old one signs"
    assert tls(state).with_name("ca.pem").read_bytes() == (state.ca / "root.pem").read_bytes()

    authority.promote_next(state)
    new = roots(state)[0]
    assert new != old and roots(state)[1] == old
    assert (facts.authority_seen(state).prepared, facts.authority_seen(state).signs) == (False, True)
    signing = authority.signing_root(state)
    assert signing and x509.load_pem_x509_certificate(signing.certificate) == new
    issue_certificate(state, "cc03", "nginx", os.getuid(), NAMES)
    chain = pki.certificates_in(tls(state).read_bytes())
    assert accepted(tls(state), [old], "nginx") and accepted(tls(state), [new], "nginx")

    # Java, which takes no chain that forks, is sent one way: that by the new root, vouched for by the old one.
    issue_certificate(state, "cc03", "keycloak", os.getuid(), ("keycloak",))
    sent = pki.certificates_in((state.certs / "keycloak" / "tls.pem").read_bytes())
    assert len(chain) == len(sent) + 1 == 4 and all(one.issuer == by.subject for one, by in pairwise(sent))
    assert accepted(state.certs / "keycloak" / "tls.pem", [old], "keycloak") and accepted(
        state.certs / "keycloak" / "tls.pem", [new], "keycloak"
    )

    authority.drop_old(state)
    assert roots(state) == [new] and facts.authority_seen(state).under_way is False
    issue_certificate(state, "cc03", "nginx", os.getuid(), NAMES)
    assert not accepted(tls(state), [old], "nginx") and accepted(tls(state), [new], "nginx")


def test_without_the_old_key_the_new_root_is_not_vouched_for(state: State) -> None:
    (state.ca / "root.key").unlink()
    with pytest.raises(HostLacks, match="cross-sign"):
        authority.make_next(state, "cc03", bridged=True)
    assert not (state.ca / "next").exists() and not list(state.ca.glob(".next*"))
    (state.ca / ".next.killed").mkdir()
    authority.make_next(state, "cc03", bridged=False)
    assert not list(state.ca.glob(".next*"))
    authority.promote_next(state)
    assert not (state.ca / "bridge.pem").exists() and authority.signing_root(state)


@pytest.mark.parametrize("moment", range(1, 7))
def test_promotion_killed_anywhere_is_completed_by_the_next_command_that_signs(
    state: State, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    (old,) = roots(state)
    authority.make_next(state, "cc03", bridged=True)
    authority.trust_both(state)
    writes, write = 0, files.write

    def dying(*args: Any, **kwargs: Any) -> None:
        nonlocal writes
        writes += 1
        if writes > moment:
            raise Killed
        write(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(files, "write", dying)
        try:
            authority.promote_next(state)
        except Killed:
            assert (state.ca / "next" / "promote").exists()
    # As a new process: its locks are free.
    issue_certificate(state, "cc03", "nginx", os.getuid(), NAMES)

    assert len(roots(state)) == 2 and roots(state)[1] == old and not (state.ca / "next").exists()
    signing = authority.signing_root(state)
    assert signing and pki.key_in(signing.key).public_key() == roots(state)[0].public_key()
    content = tls(state).read_bytes()
    chain = pki.certificates_in(content)
    assert pki.problems(chain, pki.key_in(content), NAMES, roots(state)[:1], dt.datetime.now(dt.UTC)) == []


def test_backup_has_the_certificate_in_place_and_no_other(state: State) -> None:
    staged(state)
    folder.swap(tls(state))
    assert folder.pending(tls(state))

    kept = {name for _, name in archive._members(state, state.root / "no-checkout") if "/certs/" in name}
    # A second name of the same file would be a link within the archive, which unpacks elsewhere than it was packed.
    assert kept == {f"state/certs/nginx{name}" for name in ("", "/tls.pem", "/cert.pem", "/key.pem", "/ca.pem", "/public.pem")}
