"""The health supervisor's check of certificates: what is served, whether it is what is stored, and the renewal when it is due.

It renews by `inv certs.rotate --due`, and what is issued by ACME by `inv certs.acme --due`, in the checkout that last changed
this project: certificates are made by the program there, this is standard library only. Where the checkout has gone, it
fails, and an alert tells of that ten days before the end.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ops.certificates.served.handshake import Served, difference, look, stored
from ops.certificates.served.renewal import pause_after
from ops.core import files
from ops.core.errors import LockHeld, OpsError
from ops.engines.podman.supervisor.command import read, run_command
from ops.engines.podman.supervisor.health import state_of
from ops.stack.listener import Listener


@dataclass(frozen=True)
class Renewal:
    """How renewals have gone. Times are seconds of the epoch; 0: never. `failures`: in a row."""

    failures: int = 0
    tried: float = 0.0
    succeeded: float = 0.0
    why: str = ""

    def ready(self, now: float) -> bool:
        """Whether the pause after the last failure is over."""
        return not self.failures or now >= self.tried + pause_after(self.failures)


class Renewer:
    """Runs one command, such as `certs.rotate --due`. `state`: the project's folder. `say`: writes a line into the supervisor's
    log. `kept`: file in the supervisor's folder that remembers. `timeout`: seconds that the command may take."""

    def __init__(self, state: Path, say: Callable[[str], None], kept: str, command: tuple[str, ...], timeout: float) -> None:
        self.state, self.say, self.kept = state, say, state / "ticker" / kept
        self.command, self.timeout = command, timeout

    def went(self) -> Renewal:
        return Renewal(**read(self.kept))

    def attempt(self, why: str) -> Renewal:
        """Run it once. That another command holds the lock is no failure: that one may be renewing, and the next look tells."""
        before = self.went()
        self.say(f"inv {' '.join(self.command)}: {why}")
        try:
            run_command(self.state, self.command, self.timeout)
            after = Renewal(succeeded=time.time(), tried=time.time())
        except LockHeld:
            return before
        except (OpsError, OSError, KeyError) as problem:
            said = getattr(problem, "why", "") or f"{type(problem).__name__}: {problem}"
            self.say(f"inv {' '.join(self.command)} failed: {said}")
            after = Renewal(before.failures + 1, time.time(), before.succeeded, said)
        return self.note(after)

    def forget(self) -> Renewal:
        """A person has done it meanwhile."""
        return self.note(Renewal(succeeded=self.went().succeeded))

    def note(self, renewal: Renewal) -> Renewal:
        files.write(self.kept, json.dumps(asdict(renewal)))
        return renewal


LOOK_SECONDS = 300.0
"""Between two looks at all listeners: a handful of handshakes."""
RENEWAL_SECONDS = 300.0
"""What a renewal may take: 20 s are promised, on a host that is not overloaded."""
ACME_SECONDS = 1200.0
"""The same where issuers are asked, one after the other, and a hook sets records in the DNS."""
BOOK = "acme/book.json"
"""What is known of the issuers and of what they issued: ops/certificates/acme/store.py writes it."""

Seen = tuple[Listener, Served, str]


class CertificateWatch:
    """`say` writes a line into the supervisor's log."""

    def __init__(self, state: Path, say: Callable[[str], None]) -> None:
        self.state = state
        self.looked = float("-inf")
        self.own = Renewer(state, say, "renewal.json", ("certs.rotate", "--due", "--yes"), RENEWAL_SECONDS)
        self.acme = Renewer(state, say, "acme.json", ("certs.acme", "--due", "--yes"), ACME_SECONDS)
        self.asking: threading.Thread | None = None

    def round(self, wanted: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]], *, busy: bool) -> None:
        """Look, where it is time to; renew what is due; write down what was found. While a command holds the lock (`busy`), it
        may be replacing some."""
        listeners = [Listener.from_json(item) for item in wanted.get("listeners", ())]
        now = time.monotonic()
        if not listeners or busy or now - self.looked < LOOK_SECONDS:
            return
        self.looked = now
        seen = self._look(listeners, found)
        renewal = self.own.went()
        why = self._due(seen)
        if why and renewal.ready(time.time()):
            renewal = self.own.attempt(why)
            seen = self._look(listeners, found)
        elif not why and renewal.failures:
            renewal = self.own.forget()
        self._ask_issuers(seen, time.time())
        lines = exposition(seen, renewal, self.acme.went(), read(self.state / "ca/expires.json"), self._book())
        files.write(self.state / "metrics" / "certificates.prom", lines, durable=False)

    def _look(self, listeners: Sequence[Listener], found: Mapping[str, Mapping[str, Any]]) -> list[Seen]:
        running = [at for at in listeners if at.container in found and state_of(found[at.container]) == "running"]

        def one(listener: Listener) -> Seen:
            served = look(listener, int(found[listener.container]["State"]["Pid"]))
            return listener, served, difference(listener, served)

        with ThreadPoolExecutor(max_workers=4) as pool:
            return list(pool.map(one, running))

    def _due(self, seen: Sequence[Seen]) -> str:
        """Why a renewal is to be run; empty where it is not."""
        if left := sorted((self.state / "certs").glob("*/.*.previous")):
            return f"a rotation was interrupted: {left[0].name} of {left[0].parent.name}"
        return next((due for listener, served, _ in seen if (due := due_of(listener, served, time.time()))), "")

    def _ask_issuers(self, seen: Sequence[Seen], now: float) -> None:
        """Where the site has a certificate by ACME, and it is time: beside this thread, since an issuer may keep silent for
        minutes, and containers have to be watched meanwhile."""
        book = self._book()
        issued = next((known for listener, _, _ in seen if (known := issued_of(listener, book))), None)
        if issued is None or (self.asking and self.asking.is_alive()):
            return
        went = self.acme.went()
        if now >= float(book.get("look_at", 0.0)) and went.ready(now):
            self.asking = threading.Thread(target=self._ask, daemon=True)
            self.asking.start()
        elif went.failures and now < float(issued["renew_at"]):
            self.acme.forget()

    def _ask(self) -> None:
        self.acme.attempt("it is time to renew, or to ask the issuer when")
        # How it went is told by the next round, not by the one in five minutes.
        self.looked = float("-inf")

    def _book(self) -> dict[str, Any]:
        return read(self.state / BOOK)


def due_of(listener: Listener, served: Served, now: float) -> str:
    """Why the certificate that was shown has to be renewed by this stack; empty where it has not."""
    if foreign(listener):
        return ""
    if served.refused:
        return f"{listener.service}:{listener.port}: {served.refused}"
    return f"{listener.name} is due" if served.renew_after is not None and served.renew_after <= now else ""


def foreign(listener: Listener) -> bool:
    """Whether its certificate is from elsewhere: then it is a file of its own, not a link to the internal one."""
    return listener.public and not Path(listener.file).is_symlink()


def issued_of(listener: Listener, book: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is known of its certificate where an issuer of ours has issued it."""
    if not foreign(listener):
        return None
    known: dict[str, Any] | None = book.get("issued", {}).get(hashlib.sha256(stored(Path(listener.file))).hexdigest())
    return known


GAUGES = {
    "cc03_certificate_served": "Whether the stored certificate is shown, and a client that verifies accepts it.",
    "cc03_certificate_expires_timestamp_seconds": "End of the certificate that is shown.",
    "cc03_certificate_renewal_failures": "Renewals by the stack itself that failed in a row.",
    "cc03_certificate_renewal_last_success_timestamp_seconds": "When one last succeeded; 0: never yet.",
    "cc03_authority_expires_timestamp_seconds": "End of the internal authority's own certificates.",
}
ACME_GAUGES = {
    "cc03_acme_renewal_failures": "Renewals by ACME that failed in a row, whichever issuer was asked.",
    "cc03_acme_renewal_timestamp_seconds": "When the certificate in place is to be renewed.",
    "cc03_acme_issuer_failures": "Times in a row that an issuer did not issue.",
}
"""Where an issuer was ever asked."""


def exposition(
    seen: Sequence[Seen], renewal: Renewal, acme: Renewal, authority: Mapping[str, float], book: Mapping[str, Any]
) -> str:  # fmt: skip
    """In Prometheus' text format, for node_exporter's textfile collector."""
    gauges = {**GAUGES, **(ACME_GAUGES if book else {})}
    lines = [line for name, text in gauges.items() for line in (f"# HELP {name} {text}", f"# TYPE {name} gauge")]
    lines += [
        f"cc03_certificate_renewal_failures {renewal.failures}",
        f"cc03_certificate_renewal_last_success_timestamp_seconds {renewal.succeeded:.0f}",
        *(f'cc03_authority_expires_timestamp_seconds{{authority="{name}"}} {at:.0f}' for name, at in sorted(authority.items())),
    ]
    lines += [f"cc03_acme_renewal_failures {acme.failures}"] if book else []
    for name, said in sorted(book.get("issuers", {}).items()):
        lines.append(f'cc03_acme_issuer_failures{{issuer="{name}"}} {said["failures"]}')
    for listener, served, wrong in seen:
        labels = (
            f'certificate="{listener.name}",service="{listener.service}",listener="{listener.slot}:{listener.port}",'
            f'source="{source_of(listener, book)}"'
        )
        lines.append(f"cc03_certificate_served{{{labels}}} {int(not wrong)}")
        if served.expires is not None:
            lines.append(f"cc03_certificate_expires_timestamp_seconds{{{labels}}} {served.expires:.0f}")
        if issued := issued_of(listener, book):
            whose = f'certificate="{listener.name}",issuer="{issued["issuer"]}"'
            lines.append(f"cc03_acme_renewal_timestamp_seconds{{{whose}}} {float(issued['renew_at']):.0f}")
    return "\n".join(lines) + "\n"


def source_of(listener: Listener, book: Mapping[str, Any]) -> str:
    if issued_of(listener, book):
        return "acme"
    return "imported" if foreign(listener) else "internal"
