"""TLS with the neighbours: the certificate that this replica shows, as a server and as a client, and the roots that it trusts."""

import ssl
from pathlib import Path


class Tls:
    """How this replica serves and how it asks; both can be renewed while connections go on.

    `client` is another context after each renewal: one that is there never forgets a root. PostgreSQL's library reads the files by
    itself at each connection: `files`.
    """

    def __init__(self, folder: Path) -> None:
        """Raises OSError (ssl.SSLError is one) where the files are not there or do not fit each other."""
        self.files = Files(folder)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.minimum_version = ssl.TLSVersion.TLSv1_3
        self.reload()

    def reload(self) -> None:
        """Take up what the files hold now; the next handshakes use it. Raises as above, and then nothing is changed."""
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.load_verify_locations(self.files.roots)
        client.load_cert_chain(self.files.certificate)
        self.server.load_cert_chain(self.files.certificate)
        self.client = client


class Files:
    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "tls.pem"
        """Key and chain in one file, replaced by one rename."""
        self.roots = folder / "ca.pem"
