#!/bin/bash
# Starts nginx, or runs it once with other arguments: `entrypoint.sh -t` checks the mounted configuration.
set -euo pipefail

readonly config=/etc/cc03/current/nginx.conf
readonly peers=/run/peers.geo

# Clients on the host itself arrive from the gateway of the published network, the only one with a default route.
# On internal networks the host has no address: there the first one could belong to any container.
# /proc/net/route holds addresses as little-endian hexadecimal.
host_addresses() {
  local destination gateway
  while read -r _ destination gateway _; do
    [[ $destination == 00000000 && $gateway != 00000000 ]] || continue
    printf '%d.%d.%d.%d\n' "0x${gateway:6:2}" "0x${gateway:4:2}" "0x${gateway:2:2}" "0x${gateway:0:2}"
  done </proc/net/route
}

# Read directly: there is no DNS here, and a resolver would wait for one.
addresses_of() {
  local address names
  while read -r address names; do
    [[ $address =~ ^[0-9.]+$ && " ${names%%#*} " == *" $1 "* ]] && echo "$address"
  done </etc/hosts
  return 0
}

write_peers() {
  local draft
  draft=$(mktemp "$peers.XXXXXX")
  {
    echo "127.0.0.1 self;"
    host_addresses | sort -u | sed 's/$/ host;/'
    addresses_of prometheus | sort -u | sed 's/$/ monitoring;/'
  } >"$draft"
  mv "$draft" "$peers"
}

# Podman gives a container that is stopped and started a new network, and leaves those who share it in the old one, without an
# address. Then this one ends: the restart policy starts it in the new one. Twice in a row, since a holder that is restarted
# is away for half a second, and a start in between would fail. Only words of the shell itself: a program a second would cost.
end_without_network() {
  local interfaces never missed=0
  exec {never}<> <(:)
  while ((missed < 2)); do
    read -rt 1 -u "$never" || true
    mapfile -t interfaces </proc/net/dev
    # Two lines of heading and the loopback.
    if ((${#interfaces[@]} > 3)); then missed=0; else missed=$((missed + 1)); fi
  done
  echo "its network is gone: it ends, to be started in the new one of edge" >&2
  kill -TERM 1
}

write_peers
(($#)) || end_without_network &
# -e: the path compiled in lies on the read-only root.
exec nginx -e stderr -c "$config" "$@"
