#!/bin/bash
# Completes pgbackrest.conf with the key of the repository, on a tmpfs only, and becomes the supervisor of the
# pgBackRest server and the scheduler.
set -euo pipefail
umask 077
mkdir -p /run/pgbackrest/{lock,drill,spool} /run/backup /var/lib/pgbackrest/postgres
backup write-config
# Before PostgreSQL's archiver asks. What goes wrong is told by the first job, which tries again.
backup settle-keys || true
rm -rf /run/s6
cp -Rs /etc/s6 /run/s6 # links: nothing below /run can be executed
exec s6-svscan /run/s6
