#!/usr/bin/env bash
# From a fresh machine to the live stack. May be interrupted and run again; on a live stack it changes nothing.
set -euo pipefail
# shellcheck source=scripts/prepare.sh
. "$(dirname "$0")/prepare.sh"
cd "$REPOSITORY"

prepare_host git
prepare_python requirements.txt
say "deploying"
"$VENV/bin/inv" deploy --yes
say "status"
"$VENV/bin/inv" status
say "where everything is"
"$VENV/bin/inv" open
