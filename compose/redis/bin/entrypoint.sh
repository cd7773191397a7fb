#!/bin/bash
# Writes the users (hashes only) and becomes redis-server. They are kept with the data: a rotation changes them, and a restart
# must not take that back.
set -euo pipefail
umask 077
mkdir -p /run/redis
# Of the user `local`, which serves this container's own programs and is made anew at each start.
head -c 32 /dev/urandom | sha256sum | head -c 64 >/run/redis/local
users=/var/lib/redis/users.acl taken=/var/lib/redis/users.taken
write-acl "$users" "$taken" >"$users.new"
mv "$users.new" "$users"
mv "$taken.new" "$taken"
exec redis-server /etc/cc03/current/redis.conf
