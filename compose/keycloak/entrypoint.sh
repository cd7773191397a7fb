#!/usr/bin/env bash
# Fills the secrets into copies on a tmpfs (never argv, never the environment) and becomes Keycloak.
# The JVM is started without bin/kc.sh, which stays in front of it as PID 1 and writes lines that are not JSON.
set -euo pipefail

readonly settings=/etc/cc03/current
readonly state=/run/keycloak

fail() {
  printf '{"level":"FATAL","loggerName":"entrypoint","message":"%s"}\n' "$1" >&2
  exit 1
}

# Usage: fill_in SOURCE TARGET
fill_in() {
  local text name value
  text=$(<"$1")
  while [[ $text =~ @secret:([a-z-]+)@ ]]; do
    name=${BASH_REMATCH[1]}
    [[ -r /run/secrets/$name ]] || fail "$1 needs the secret $name, and /run/secrets/$name cannot be read"
    value=$(</run/secrets/"$name")
    [[ $value =~ ^[A-Za-z0-9._~-]+$ ]] || fail "the secret $name is empty or holds characters that are not URL-safe"
    text=${text//"@secret:$name@"/"$value"}
  done
  printf '%s\n' "$text" >"$2"
}

umask 077
mkdir -p "$state/data/tmp"
fill_in "$settings/keycloak.conf" "$state/keycloak.conf"

read -r nginx _ < <(getent ahostsv4 nginx) || fail "the name nginx is unknown here, so there is no proxy to trust"
printf 'proxy-trusted-addresses=%s\n' "$nginx" >>"$state/keycloak.conf"

exec java @/opt/keycloak/conf/jvm.options @/opt/keycloak/conf/tls.options -XX:AOTCache=/opt/keycloak/lib/keycloak.aot \
  io.quarkus.bootstrap.runner.QuarkusEntryPoint --config-file="$state/keycloak.conf" start --optimized
