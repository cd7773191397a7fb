"""How a replica stops: nobody who is on the way to it is turned away."""

import signal
import socket
import ssl
import threading
import time
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
from fastapi import FastAPI

from app.middleware import RequestContext
from app.server import LAST_REQUEST_SECONDS, DrainingServer, configuration

SECONDS = 20.0
LONGER = 2 * LAST_REQUEST_SECONDS
ASK = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Running:
    """A server in this thread, and what a client does meanwhile in another."""

    def __init__(self, tls, drain_seconds):
        app = FastAPI()
        app.add_api_route("/", lambda: "here")
        nothing = SimpleNamespace(drain=lambda: None)
        app.state.readiness, app.state.events, app.state.probes = SimpleNamespace(draining=False), nothing, nothing
        context = RequestContext(app)
        self.server = DrainingServer(configuration(context, tls, "127.0.0.1", 0), context, tls, drain_seconds)
        self.client = ssl.create_default_context(cafile=tls.files.roots)

    def meanwhile(self, act):
        """What `act` returns. The server ends for what it does, or because it is over."""
        done = Future()

        def run():
            try:
                self.until(lambda: self.server.started)
                done.set_result(act())
            except Exception as problem:
                done.set_exception(problem)
                self.server.should_exit = True

        thread = threading.Thread(target=run)
        thread.start()
        self.server.run()
        thread.join(SECONDS)
        return done.result(0)

    def until(self, holds):
        deadline = time.monotonic() + SECONDS
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def stop(self):
        self.server.handle_exit(signal.SIGTERM, None)

    def connect(self):
        return socket.create_connection(self.address, SECONDS)

    @property
    def address(self):
        return self.server.servers[0].sockets[0].getsockname()

    def ask(self, secured):
        secured.sendall(ASK)
        answer = b""
        while not answer.endswith(b'"here"'):
            part = secured.recv(4096)
            assert part, f"ended after {answer!r}"
            answer += part
        return answer


@pytest.fixture
def running(tls):
    return Running(tls, drain_seconds=SECONDS)


def test_who_shakes_hands_while_the_last_door_closes_is_answered(running):
    def act():
        plain = running.connect()
        address = running.address
        running.stop()
        running.until(lambda: socket.socket().connect_ex(address) != 0)
        time.sleep(LONGER)
        with running.client.wrap_socket(plain, server_hostname="localhost") as secured:
            return running.ask(secured)

    assert running.meanwhile(act).startswith(b"HTTP/1.1 200")


def test_kept_connection_is_answered_once_more_and_told_to_end(running):
    def act():
        with running.client.wrap_socket(running.connect(), server_hostname="localhost") as secured:
            kept = running.ask(secured)
            running.stop()
            running.until(lambda: running.server._context.draining)
            time.sleep(LONGER)
            return kept, running.ask(secured), secured.recv(1)

    kept, last, end = running.meanwhile(act)
    assert b"connection: close" not in kept.lower()
    assert b"connection: close" in last.lower() and end == b""


def test_nothing_is_waited_for_where_nobody_has_a_connection_to_use_again(tls):
    running = Running(tls, drain_seconds=3600)

    def act():
        with running.client.wrap_socket(running.connect(), server_hostname="localhost") as secured:
            secured.sendall(ASK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            while secured.recv(4096):
                pass
        running.stop()
        running.until(lambda: running.server.should_exit)

    running.meanwhile(act)
