#!/usr/bin/env bash
# Makes the class cache (JEP 483, 514, 515) by a first start on a real, empty PostgreSQL of this build stage.
# Usage: train.sh CACHE
set -euo pipefail

readonly cache=$1 work=/run/keycloak
pg=$(echo /usr/lib/postgresql/*/bin)
readonly pg

as_keycloak() { setpriv --reuid=60704 --regid=60704 --clear-groups "$@"; }

install --directory --owner=60704 --group=60704 "$work" "$work/data" "$work/data/tmp"
# TLS on every way, as in production: what only it needs would be loaded at each start otherwise.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout "$work/key" -out "$work/ca.pem" 2>/dev/null
cat "$work/key" "$work/ca.pem" >"$work/tls.pem"
chown 60704:60704 "$work/tls.pem" "$work/ca.pem"
chmod 0600 "$work/tls.pem"
rm "$work/key"
mkdir -p /etc/tls
ln -s "$work/tls.pem" /etc/tls/tls.pem # as tls.options names it
as_keycloak "$pg/initdb" --pgdata="$work/db" --username=keycloak --auth=trust --no-sync >/dev/null
as_keycloak "$pg/pg_ctl" --pgdata="$work/db" --wait --silent --log="$work/db.log" \
  --options="-c unix_socket_directories=$work -c listen_addresses=127.0.0.1 -c fsync=off \
  -c ssl=on -c ssl_cert_file=$work/tls.pem -c ssl_key_file=$work/tls.pem" start
as_keycloak "$pg/createdb" --host="$work" --username=keycloak keycloak

cat >"$work/keycloak.conf" <<CONF
hostname=https://localhost/auth
http-enabled=false
https-certificate-file=$work/tls.pem
https-certificate-key-file=$work/tls.pem
https-certificates-reload-period=-1
proxy-headers=xforwarded
cache=local
db-url-host=127.0.0.1
db-url-properties=?sslmode=verify-full&sslrootcert=$work/ca.pem
db-username=keycloak
db-password=training
bootstrap-admin-username=admin
bootstrap-admin-password=training
log-console-output=json
http-access-log-enabled=true
CONF
touch "$cache"
chown 60704:60704 "$cache" "$(dirname "$cache")"
# More metaspace than in production: the space in which the cache is put together is a part of it, and has to hold all of it.
# Not through the function: a function in the background is one more shell, and the signal below would end that shell.
setpriv --reuid=60704 --regid=60704 --clear-groups java @/opt/keycloak/conf/jvm.options @/opt/keycloak/conf/tls.options \
  -XX:MaxMetaspaceSize=512m -XX:AOTCacheOutput="$cache" \
  io.quarkus.bootstrap.runner.QuarkusEntryPoint --config-file="$work/keycloak.conf" start --optimized \
  >"$work/log" 2>&1 &
server=$!

ready() { curl --fail --silent --max-time 5 --cacert "$work/ca.pem" --output /dev/null https://localhost:9000/health/ready; }
until ready; do
  if ! kill -0 "$server" 2>/dev/null || ((SECONDS > 600)); then
    tail -n 20 "$work/log" >&2
    exit 1
  fi
  sleep 1
done

# What the first users ask for: the discovery document, the keys, the login form, a token by password, the metrics.
readonly realm=https://localhost:8443/auth/realms/master
readonly sampled=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
ask() {
  curl --fail --silent --show-error --cacert "$work/ca.pem" --header 'X-Forwarded-Proto: https' --header "traceparent: $sampled" "$@"
}
get() { ask --output /dev/null "$@"; }
get "$realm/.well-known/openid-configuration"
get "$realm/protocol/openid-connect/certs"
get --get --data-urlencode redirect_uri=https://localhost/auth/admin/master/console/ \
  --data 'client_id=security-admin-console&response_type=code&scope=openid&code_challenge_method=S256' \
  --data code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM "$realm/protocol/openid-connect/auth"
token=$(ask \
  --data 'grant_type=password&client_id=admin-cli&username=admin&password=training' "$realm/protocol/openid-connect/token")
token=${token#*'"access_token":"'} token=${token%%'"'*}
# And what a first deploy asks for, and each later one: a realm is made; it is read, to be compared with its declaration.
readonly admin=https://localhost:8443/auth/admin/realms
as_admin() { get --header "Authorization: Bearer $token" "$@"; }
as_admin --json '{"realm": "training", "enabled": true}' "$admin"
as_admin --request POST "$admin/training/partial-export?exportClients=true&exportGroupsAndRoles=true"
as_admin "$admin/training/clients"
as_admin "$admin/training/users?username=nobody&exact=true"
get https://localhost:9000/metrics

kill "$server"
wait "$server" || [[ $? == 143 ]]
as_keycloak "$pg/pg_ctl" --pgdata="$work/db" --mode=immediate --silent stop
[[ -s $cache ]] || { tail -n 20 "$work/log" >&2; exit 1; }
chown root:root "$cache" "$(dirname "$cache")"
chmod 0644 "$cache"
rm -rf "$work" /etc/tls
