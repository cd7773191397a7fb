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

write_peers
# -e: the path compiled in lies on the read-only root.
exec nginx -e stderr -c "$config" "$@"
