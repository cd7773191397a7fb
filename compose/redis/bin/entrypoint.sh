#!/bin/bash
# Writes the users (hashes only) to a tmpfs and becomes redis-server.
set -euo pipefail
umask 077
mkdir -p /run/redis
# Of the user `keeper`: nobody outside this container ever knows it.
head -c 32 /dev/urandom | sha256sum | cut -d' ' -f1 >/run/redis/keeper
write-acl >/run/redis/users.acl
exec redis-server /etc/cc03/current/redis.conf
