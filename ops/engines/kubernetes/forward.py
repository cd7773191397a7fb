"""A port of a pod as a port of this machine's loopback, as long as a block runs."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ops.engines.kubernetes.api import Api

CHUNK = 65536


@contextmanager
def forwarded(api: Api, pod: str, port: int) -> Iterator[int]:
    """Yields a port of 127.0.0.1. Each connection to it is a stream of its own to the pod, by way of the API server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(api, pod, port, listener), daemon=True).start()
        yield int(listener.getsockname()[1])
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)


def _accept(api: Api, pod: str, port: int, listener: socket.socket) -> None:
    while True:
        try:
            here, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_carry, args=(api, pod, port, here), daemon=True).start()


def _carry(api: Api, pod: str, port: int, here: socket.socket) -> None:
    from kubernetes.client.exceptions import ApiException
    from kubernetes.stream import portforward

    with here, suppress(ApiException, OSError):
        stream = portforward(api.core().connect_get_namespaced_pod_portforward, pod, api.namespace, ports=str(port))
        there = stream.socket(port)
        back = threading.Thread(target=_pump, args=(there, here), daemon=True)
        back.start()
        _pump(here, there)
        back.join()
        stream.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
