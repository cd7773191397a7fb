"""Where each certificate is stored, and at which ports of which containers it is served."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ops.certificates import folder
from ops.certificates.leaves import Leaf
from ops.certificates.served.handshake import Listener
from ops.core.state import State
from ops.stack.model import Allocation, Stack
from ops.stack.render import address, container_name


def file_of(state: State, leaf: Leaf) -> Path:
    return state.certs / leaf.service / (folder.PUBLIC if leaf.public else folder.TLS)


def listeners(state: State, stack: Stack, allocation: Allocation, of: Iterable[Leaf]) -> tuple[Listener, ...]:
    """Every port at which one of these certificates is served, of each container."""
    return tuple(
        Listener(
            name=leaf.name, service=leaf.service, slot=slot, container=container_name(stack.project, slot),
            address=address(allocation, service.listens_on[0], service.address_name(slot)), port=port, protocol=protocol,
            server_name=leaf.server_name, file=str(file_of(state, leaf)), ca=str(state.ca / "root.pem"), public=leaf.public,
        )
        for leaf in of for service in (stack.services[leaf.service],) for slot in leaf.slots
        for port, protocol in leaf.ports.items()
    )  # fmt: skip
