#!/usr/bin/env bash
# From a fresh machine to the live stack. May be interrupted and run again; on a live stack it changes nothing.
set -euo pipefail
# shellcheck source=scripts/prepare.sh
. "$(dirname "$0")/prepare.sh"
cd "$REPOSITORY"

prepare_host git
# An environment that holds the test tools as well is left as it is.
if ! grep -qs 'requirements-dev.txt' "$VENV/.locked" || [ "$(cat "$VENV/.locked")" != "$(sha256sum requirements.txt requirements-dev.txt)" ]; then
  prepare_python requirements.txt
fi
say "deploying"
"$VENV/bin/inv" deploy --yes
say "status"
"$VENV/bin/inv" status
say "where everything is"
"$VENV/bin/inv" open
