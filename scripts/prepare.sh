#!/usr/bin/env bash
# Sourced by quick-deploy.sh and run-tests.sh: has what the commands need on this host, and nothing else.
# prepare_host     Podman and its parts, by the distribution's packages
# prepare_python   .venv from the hash-pinned lock files given as arguments
set -euo pipefail

REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV="$REPOSITORY/.venv"
# netavark and runc are named because Podman only recommends them; mmdebstrap and the keyring make base images where no
# registry answers; uidmap, iptables, nftables and iproute2 are what netavark and Podman call.
PACKAGES=(podman netavark runc conmon catatonit mmdebstrap debian-archive-keyring uidmap iptables nftables iproute2
  ca-certificates python3-venv)

fail() { # what, why, next
  printf 'failed: %s\n   why: %s\n  next: %s\n' "$1" "$2" "$3" >&2
  exit 3
}

say() { printf '\n== %s\n' "$1"; }

supported_system() {
  # shellcheck source=/dev/null
  . /etc/os-release
  case "${ID:-}:${VERSION_ID:-}" in
    debian:12 | debian:13 | ubuntu:24.04) return 0 ;;
    *) return 1 ;;
  esac
}

missing_packages() {
  local package
  for package in "$@"; do
    dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || printf '%s\n' "$package"
  done
}

prepare_host() {
  local missing
  [ "$(id -u)" -eq 0 ] || fail "not root" "packages, fixed addresses and low ports need root" "sudo $0"
  if ! supported_system; then
    command -v podman >/dev/null && command -v runc >/dev/null && return
    fail "this system is not Debian 12, Debian 13 or Ubuntu 24.04" "packages are installed by apt-get with those systems' names" \
      "install yourself: Podman 4.3 or newer, netavark, runc, conmon, mmdebstrap, iptables, nftables, Python 3.11 with venv; run it again"
  fi
  mapfile -t missing < <(missing_packages "${PACKAGES[@]}" "$@")
  [ "${#missing[@]}" -gt 0 ] || return 0
  say "installing ${missing[*]}"
  apt-get update -qq || fail "cannot read the package lists" "apt-get update failed, see above" "check the network and /etc/apt"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    fail "cannot install ${missing[*]}" "apt-get failed, see above" "apt-get install ${missing[*]}"
}

python_program() {
  local candidate
  for candidate in python3.13 python3.12 python3.11 python3; do
    if command -v "$candidate" >/dev/null &&
      "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s' "$candidate"
      return
    fi
  done
  fail "no Python 3.11 or newer with venv" "the commands are written in it" "apt-get install python3 python3-venv"
}

prepare_python() {
  local python stamp lock requirements=()
  for lock in "$@"; do requirements+=(--requirement "$REPOSITORY/$lock"); done
  stamp=$(cd "$REPOSITORY" && sha256sum "$@")
  if [ -x "$VENV/bin/inv" ] && [ "$(cat "$VENV/.locked" 2>/dev/null)" = "$stamp" ]; then return; fi
  say "installing the commands into .venv"
  python=$(python_program)
  [ -x "$VENV/bin/python" ] || "$python" -m venv "$VENV"
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes "${requirements[@]}" ||
    fail "cannot install the Python packages" "pip failed, see above" "check the network, then run it again"
  printf '%s\n' "$stamp" >"$VENV/.locked"
}
