"""The stack renews its certificates by itself, and what another hand has put in their place."""

from __future__ import annotations

import datetime as dt
import time

from cryptography import x509

from ops.certificates import folder, pki
from ops.certificates.authority import authority, new_leaf
from ops.certificates.facts import leaves_of
from ops.certificates.plan import chosen
from ops.core.process import until
from tests.drill.certs.strict import shown
from tests.drill.conftest import Record
from tests.drill.stack import Drill, inv, kill

PATIENCE = 120.0


def made_old(stack: Drill, name: str, days: int) -> int:
    """Have a service show a certificate of that age; its serial."""
    project = stack.project
    (leaf,) = chosen(leaves_of(project), [name])
    _, signer = authority(project.state, project.name)
    issued = pki.issue(signer, leaf.service, leaf.names, dt.datetime.now(dt.UTC) - dt.timedelta(days=days))
    folder.stage(leaf.file(project.state.root), issued.key + issued.certificate + signer.certificate, leaf.owner)
    folder.swap(leaf.file(project.state.root))
    # As a rotation that was killed: the next one completes it, and this one is due at once.
    answer = inv("certs.rotate", "--due", "--yes")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return x509.load_pem_x509_certificate(issued.certificate).serial_number


def ticker_again(stack: Drill) -> None:
    """It looks at certificates in its first round."""
    kill(stack.ticker_pid())
    answer = inv("start")
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_certificate_that_is_due_is_renewed_by_the_stack(stack: Drill, record: Record) -> None:
    old = made_old(stack, "postgres", 25)
    assert old in shown(stack).values()
    began = time.monotonic()
    ticker_again(stack)

    assert not until(lambda: "still the old one" if old in shown(stack).values() else "", PATIENCE)
    record("a certificate that is due, renewed by the stack", time.monotonic() - began, note="from the ticker's start")
    metrics = stack.project.state.metrics / "certificates.prom"
    assert not until(lambda: "" if "cc03_certificate_renewal_failures 0" in metrics.read_text() else "not written", PATIENCE)
    assert inv("certs").returncode == 0


def test_rotation_that_was_killed_is_completed_by_the_stack(stack: Drill) -> None:
    project = stack.project
    (leaf,) = chosen(leaves_of(project), ["postgres"])
    file = leaf.file(project.state.root)
    before = shown(stack)
    folder.stage(file, new_leaf(project.state, project.name, leaf.service, leaf.names), leaf.owner)
    folder.swap(file)
    ticker_again(stack)

    assert not until(lambda: "not yet" if folder.pending(file) else "", PATIENCE)
    assert not set(before.values()) & {serial for at, serial in shown(stack).items() if at.startswith("postgres")}
