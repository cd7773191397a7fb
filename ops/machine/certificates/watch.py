"""The health ticker's eye on certificates: what is served, whether it is what is stored, and the renewal when it is due.

It renews by `inv certs.rotate --due` in the checkout that last changed this project: certificates are made by the program
there, this is standard library only. Where the checkout has gone, the renewal fails, and an alert tells of it ten days before
the end.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ops.errors import LockHeld, OpsError
from ops.machine.certificates.wire import Listener, Served, difference, look
from ops.machine.health import state_of
from ops.machine.run import run
from ops.renewal import pause_after

LOOK_SECONDS = 300.0
"""Between two looks at all listeners: a handful of handshakes."""
RENEWAL_SECONDS = 300.0
"""What a renewal may take: 20 s are promised, on a host that is not overloaded."""
COMMAND = "command.json"
"""In the ticker's folder: Python and checkout of the last command that changed something."""

Seen = tuple[Listener, Served, str]


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


class CertificateWatch:
    """`say` writes a line into the ticker's log."""

    def __init__(self, state: Path, say: Callable[[str], None]) -> None:
        self.state, self.say = state, say
        self.looked = float("-inf")

    def round(self, listeners: Sequence[Listener], found: Mapping[str, Mapping[str, Any]], *, busy: bool) -> None:
        """Look, where it is time to; renew what is due; write down what was found.

        Parameters
        ----------
        found: container -> what Podman says of it. busy: whether a command holds the lock, which may be replacing some.
        """
        now = time.monotonic()
        if not listeners or busy or now - self.looked < LOOK_SECONDS:
            return
        self.looked = now
        seen = self._look(listeners, found)
        renewal = self._renewal()
        wanted = self._wanted(seen)
        if wanted and renewal.ready(time.time()):
            renewal = self._renew(wanted, renewal)
            seen = self._look(listeners, found)
        elif not wanted and renewal.failures:
            # A person has done it meanwhile.
            renewal = self._note(Renewal(succeeded=renewal.succeeded))
        write(self.state / "metrics" / "certificates.prom", exposition(seen, renewal, self._read("ca/expires.json")))

    def _look(self, listeners: Sequence[Listener], found: Mapping[str, Mapping[str, Any]]) -> list[Seen]:
        running = [at for at in listeners if at.container in found and state_of(found[at.container]) == "running"]

        def one(listener: Listener) -> Seen:
            served = look(listener, int(found[listener.container]["State"]["Pid"]))
            return listener, served, difference(listener, served)

        with ThreadPoolExecutor(max_workers=4) as pool:
            return list(pool.map(one, running))

    def _wanted(self, seen: Sequence[Seen]) -> str:
        """Why a renewal is to be run; empty where it is not."""
        if left := sorted((self.state / "certs").glob("*/.*.previous")):
            return f"a rotation was broken off: {left[0].name} of {left[0].parent.name}"
        return next((due for listener, served, _ in seen if (due := due_of(listener, served, time.time()))), "")

    def _renew(self, why: str, before: Renewal) -> Renewal:
        self.say(f"renewing certificates: {why}")
        try:
            self._run()
            after = Renewal(succeeded=time.time(), tried=time.time())
        except LockHeld:
            # The one who holds it may be renewing; the next look tells.
            return before
        except (OpsError, OSError, KeyError) as problem:
            said = getattr(problem, "why", "") or f"{type(problem).__name__}: {problem}"
            self.say(f"the renewal of certificates failed: {said}")
            after = Renewal(before.failures + 1, time.time(), before.succeeded, said)
        return self._note(after)

    def _note(self, renewal: Renewal) -> Renewal:
        write(self.state / "ticker" / "renewal.json", json.dumps(asdict(renewal)))
        return renewal

    def _run(self) -> None:
        command = self._read(f"ticker/{COMMAND}")
        if "repository" not in command:
            raise OpsError("certificates cannot be renewed", f"there is no {COMMAND} beside {__name__}", "inv deploy writes it")
        repository = str(command["repository"])
        argv = (str(command["python"]), "-P", "-m", "invoke", "--search-root", repository, "certs.rotate", "--due", "--yes")
        env = {"PYTHONPATH": repository, "CC03_PROJECT": self.state.name, "CC03_STATE": str(self.state.parent)}
        answer = run(argv, timeout=RENEWAL_SECONDS, ok=None, env=env)
        if answer.returncode == LockHeld.exit_code:
            raise LockHeld("another operation is under way", answer.last_words(), "wait")
        if answer.returncode:
            raise OpsError("certificates were not renewed", answer.last_words(), "inv certs.rotate --due")

    def _renewal(self) -> Renewal:
        return Renewal(**self._read("ticker/renewal.json"))

    def _read(self, name: str) -> dict[str, Any]:
        try:
            value = json.loads((self.state / name).read_text())
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}


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


def write(path: Path, content: str) -> None:
    """Whole, or not at all; readable by the exporter."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(content)
    fresh.chmod(0o644)
    fresh.replace(path)


def exposition(seen: Sequence[Seen], renewal: Renewal, authority: Mapping[str, float]) -> str:
    """In Prometheus' text format, for node_exporter's textfile collector."""
    lines = [
        "# HELP cc03_certificate_served Whether the stored certificate is shown, and a client that verifies accepts it.",
        "# TYPE cc03_certificate_served gauge",
        "# HELP cc03_certificate_expires_timestamp_seconds End of the certificate that is shown.",
        "# TYPE cc03_certificate_expires_timestamp_seconds gauge",
        "# HELP cc03_certificate_renewal_failures Renewals by the stack itself that failed in a row.",
        "# TYPE cc03_certificate_renewal_failures gauge",
        f"cc03_certificate_renewal_failures {renewal.failures}",
        "# HELP cc03_certificate_renewal_last_success_timestamp_seconds When one last succeeded; 0: never yet.",
        "# TYPE cc03_certificate_renewal_last_success_timestamp_seconds gauge",
        f"cc03_certificate_renewal_last_success_timestamp_seconds {renewal.succeeded:.0f}",
        "# HELP cc03_authority_expires_timestamp_seconds End of the internal authority's own certificates.",
        "# TYPE cc03_authority_expires_timestamp_seconds gauge",
        *(f'cc03_authority_expires_timestamp_seconds{{authority="{name}"}} {at:.0f}' for name, at in sorted(authority.items())),
    ]
    for listener, served, wrong in seen:
        labels = (
            f'certificate="{listener.name}",service="{listener.service}",listener="{listener.slot}:{listener.port}",'
            f'source="{"imported" if foreign(listener) else "internal"}"'
        )
        lines.append(f"cc03_certificate_served{{{labels}}} {int(not wrong)}")
        if served.expires is not None:
            lines.append(f"cc03_certificate_expires_timestamp_seconds{{{labels}}} {served.expires:.0f}")
    return "\n".join(lines) + "\n"
