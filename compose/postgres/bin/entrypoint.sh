#!/bin/bash
# Prepares /run (a tmpfs) and becomes the supervisor of PostgreSQL, the pgBackRest server and the log stream.
set -euo pipefail

# PostgreSQL writes JSON logs to files only. Its files are this pipe, whose other end is the container's stdout
# (s6/log/run). PID 1 keeps it open, so a restarted reader loses nothing and no writer ever sees a broken pipe.
rm -rf /run/postgresql # on Kubernetes it outlives the container
mkdir -p /run/postgresql/log
rm -f /run/log.pipe
mkfifo -m 0600 /run/log.pipe
ln -sf /run/log.pipe /run/postgresql/log/postgresql.json
ln -sf /run/log.pipe /run/postgresql/log/postgresql.log
exec 3<>/run/log.pipe

rm -rf /run/s6
cp -Rs /etc/s6 /run/s6 # links: nothing below /run can be executed
if [[ -n ${PATRONI_NAME:-} ]]; then
    # Patroni runs PostgreSQL, and has the roles applied where it is the primary (on-role).
    rm /run/s6/postgres/down-signal
    touch /run/s6/roles/down
fi
exec s6-svscan /run/s6
