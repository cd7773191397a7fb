"""TLS with the neighbours: the certificate that this replica shows, as a server and as a client, and the roots that it trusts."""

import ssl
from pathlib import Path


class Tls:
    """Two contexts that can be renewed while connections go on.

    PostgreSQL's library reads the files by itself at each connection: `files`. A root that is trusted no longer is forgotten
    with the process.
    """

    def __init__(self, folder: Path) -> None:
        """Raises OSError (ssl.SSLError is one) where the files are not there or do not fit each other."""
        self.files = Files(folder)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.reload()

    def reload(self) -> None:
        """Take up what the files hold now; the next handshakes use it. Raises as above, and then nothing is changed."""
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.files.certificate)
        for context in (self.server, self.client):
            context.load_verify_locations(self.files.roots)
            context.load_cert_chain(self.files.certificate)


class Files:
    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "tls.pem"
        """Key and chain in one file, replaced by one rename."""
        self.roots = folder / "ca.pem"
