#!/usr/bin/env bash
# Puts vertx-core.patch into the Vert.x of a Keycloak distribution.
# Usage: mend-vertx.sh KEYCLOAK SOURCES SHA256   (the folder, and the sources jar of that very version of vertx-core)
set -euo pipefail

readonly keycloak=$1 sources=$2 expected=$3 class=io/vertx/core/net/impl/TCPServerBase
here=$(dirname "$(readlink -f "$0")") work=$(mktemp -d)
readonly here work
trap 'rm -rf "$work"' EXIT

sum=$(sha256sum "$sources")
if [[ ${sum%% *} != "$expected" ]]; then
  echo "${sources##*/}: the download is not the pinned one: sha256 ${sum%% *}, expected $expected" >&2
  exit 1
fi
version=${sources##*/vertx-core-}
version=${version%-sources.jar}
library=$keycloak/lib/lib/main/io.vertx.vertx-core-$version.jar
# An older Keycloak, to move data out of, or a newer one that may need this no more. tests/smoke asks whether it is there.
if [[ ! -f $library ]]; then
  echo "note: Keycloak has another Vert.x than $version, which is left as it is:" \
    "$(cd "${library%/*}" && echo io.vertx.vertx-core-*.jar)"
  exit 0
fi

cd "$work"
jar --extract --file "$sources" "$class.java"
patch --strip=1 --quiet <"$here/vertx-core.patch"
# The release that Vert.x itself is compiled for need not be known: the server's Java is newer than this.
javac --release 17 -proc:none -nowarn -Xlint:none -d made -classpath "${library%/*}/*" "$class.java"
# The time of the entries would make each build another one.
jar --update --date=2020-01-01T00:00:00Z --file "$library" -C made .
cp "$here/vertx-core.patch" "$keycloak/lib/"
