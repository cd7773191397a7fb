"""moto behind TLS: python -m tests.drill.backup.s3_server PORT CERTIFICATE KEY

moto's own program closes each connection without saying so by TLS. pgBackRest rightly takes that for a cut-off answer.
"""

from __future__ import annotations

import sys
from contextlib import suppress

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, run_simple

GOODBYE_SECONDS = 2.0
"""For a client that does not answer it."""


class SaysGoodbye(WSGIRequestHandler):
    """Ends the connection by TLS before it closes it, as every real server does."""

    def finish(self) -> None:
        super().finish()
        self.connection.settimeout(GOODBYE_SECONDS)
        with suppress(OSError):
            self.connection.unwrap()


def main(port: str, certificate: str, key: str) -> None:
    application = DomainDispatcherApplication(create_backend_app)
    # Every address: containers reach this host by another one than its own programs do.
    run_simple(
        "0.0.0.0", int(port), application, threaded=True, request_handler=SaysGoodbye, ssl_context=(certificate, key)  # noqa: S104
    )  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
