#!/bin/bash
# Writes the users (hashes only) to a tmpfs and becomes redis-server.
set -euo pipefail
umask 077
mkdir -p /run/redis
write-acl >/run/redis/users.acl
exec redis-server /etc/cc03/current/redis.conf
