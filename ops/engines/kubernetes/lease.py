"""One operation on a cluster's project at a time, whoever's machine it runs on: a Lease, renewed while the operation lasts."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from ops.core.errors import OpsError
from ops.core.process import account, until
from ops.engines.kubernetes.api import Absent, Api, Conflict
from ops.engines.kubernetes.objects import Kind, Object, labels

LEASES = Kind("/apis/coordination.k8s.io/v1", "leases")
NAME = "operation"
SECONDS = 30
"""After so long without a renewal its holder counts as gone: killed, or cut off."""
RENEWAL = 8.0
LONGEST_WAIT = 4 * 3600.0
TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


def _now() -> str:
    return datetime.now(UTC).strftime(TIME)


def identity(verb: str) -> str:
    return f"inv {verb} by {account()}@{socket.gethostname()} (process {os.getpid()})"


def _held(api: Api, holder: str) -> Object:
    spec = {"holderIdentity": holder, "leaseDurationSeconds": SECONDS, "acquireTime": _now(), "renewTime": _now()}
    return {
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME, "labels": labels(api.project)},
        "spec": spec,
    }  # fmt: skip


class _Watch:
    """Takes the lease once nobody renews it any more. By this machine's own clock: those of others may differ."""

    def __init__(self, api: Api, holder: str, say: Callable[[str], None]) -> None:
        self.api, self.holder, self.say = api, holder, say
        self.seen: tuple[Any, float] = (None, 0.0)
        self.told = ""

    def taken(self) -> str:
        """Why it is not this operation's yet; empty: it is."""
        try:
            found = self.api.ask("GET", LEASES.path(self.api.namespace, NAME))
        except Absent:
            return self._tried("POST", LEASES.path(self.api.namespace), _held(self.api, self.holder))
        spec = found["spec"]
        if renewed := spec.get("holderIdentity") and (spec["holderIdentity"], spec.get("renewTime")):
            if renewed != self.seen[0]:
                self.seen = renewed, time.monotonic()
            if time.monotonic() - self.seen[1] < float(spec.get("leaseDurationSeconds") or SECONDS):
                return self._waiting(str(spec["holderIdentity"]), str(spec.get("acquireTime", "?")))
        wanted = _held(self.api, self.holder)
        wanted["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        return self._tried("PUT", LEASES.path(self.api.namespace, NAME), wanted)

    def _tried(self, method: str, path: str, wanted: Object) -> str:
        try:
            self.api.ask(method, path, wanted)
        except Conflict:
            return "another operator was faster"
        return ""

    def _waiting(self, holder: str, since: str) -> str:
        if holder != self.told:
            self.told = holder
            self.say(f"waiting for {holder}, which holds the cluster's lock since {since[:19]}Z")
        return holder


@contextmanager
def hold(api: Api, verb: str, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lease while the block runs; wait for whoever holds it. say: told once whom this waits for.

    Raises OpsError where it is not free in time.
    """
    holder = identity(verb)
    if who := until(_Watch(api, holder, say).taken, LONGEST_WAIT, longest_pause=2.0):
        raise OpsError(
            "another operation is under way on this cluster", f"the lock is held by {who}", "wait until it has ended"
        )
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(api, holder, ended), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        # Where the cluster is out of reach it ends by itself.
        with suppress(OpsError):
            _release(api, holder)


def _renew(api: Api, holder: str, ended: threading.Event) -> None:
    while not ended.wait(RENEWAL):
        with suppress(OpsError):
            found = api.ask("GET", LEASES.path(api.namespace, NAME))
            if found["spec"].get("holderIdentity") != holder:
                return
            found["spec"]["renewTime"] = _now()
            api.ask("PUT", LEASES.path(api.namespace, NAME), found)


def _release(api: Api, holder: str) -> None:
    found = api.ask("GET", LEASES.path(api.namespace, NAME))
    if found["spec"].get("holderIdentity") == holder:
        found["spec"] = {"leaseDurationSeconds": SECONDS}
        api.ask("PUT", LEASES.path(api.namespace, NAME), found)
