"""The guard in conftest.py itself: every way out of a unit test is shut."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
from collections.abc import Callable

import pytest

from ops.core.process import run

WAYS: dict[str, Callable[[], object]] = {
    "subprocess": lambda: subprocess.run(["true"], check=False),
    "ops.core.process": lambda: run(["true"], timeout=1),
    "os.system": lambda: os.system("true"),  # noqa: S605
    "http": lambda: http.client.HTTPConnection("127.0.0.1", 9, timeout=1).request("GET", "/"),
    "connect": lambda: socket.create_connection(("127.0.0.1", 9), timeout=1),
    "listen": lambda: socket.create_server(("127.0.0.1", 0)),
    "resolve": lambda: socket.getaddrinfo("localhost", 80),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
def test_unit_test_cannot_reach_a_host_by(way: Callable[[], object]) -> None:
    with pytest.raises(pytest.fail.Exception, match="reached the host"):
        way()
