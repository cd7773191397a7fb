"""Where things lie in this container."""

from pathlib import Path

VOLUME = Path("/var/lib/pgbackrest")
"""The volume of the local repository. Everything that a job needs of disk is on it: the other folders are tmpfs of 16 MB."""
POSTGRES = VOLUME / "postgres"
FILES = VOLUME / "files"
STAGE = VOLUME / "stage"
SCRATCH = VOLUME / "scratch"
CACHE = VOLUME / "cache"
RECEIVED = VOLUME / "received"
"""WAL as it is written, where the receiver is on (receiver.py)."""
TEMPORARY = VOLUME / "tmp"

DATA = Path("/var/lib/cc03-data")
"""Volumes of other services, read-only: prometheus/, logs/, alertmanager/."""
HOST = Path("/var/lib/cc03-host")
"""What the host hands over, read-only: host.tar, escrowed, signers.pem."""

CONFIG = Path("/etc/cc03/current")
CERTIFICATES = Path("/etc/tls")
OWN_CERTIFICATE = CERTIFICATES / "tls.pem"
"""Key and chain."""
ROOTS = CERTIFICATES / "ca.pem"
"""What is trusted."""
SECRETS = Path("/run/secrets")
CIPHER = SECRETS / "backup-cipher"
RUN = Path("/run/backup")
"""A tmpfs: files with secrets that the tools want in a form of their own."""
PGBACKREST_CONF = Path("/run/pgbackrest/pgbackrest.conf")
GIVEN_CONF = Path("/run/pgbackrest/given.conf")
"""As the other, with credentials that somebody gave for one job."""
DRILL_CONF = Path("/run/pgbackrest/drill.conf")
"""As the other, but PostgreSQL lies in the scratch space of this container: what a restore needs."""
POSTGRES_BIN = Path("/usr/lib/postgresql/15/bin")
