#!/usr/bin/env bash
# Everything that must be green before a change lands: lint and unit tests, then the smoke tests on a live stack of their own
# project, which is started from nothing and removed afterwards with its data (its images stay).
set -euo pipefail
# shellcheck source=scripts/prepare.sh
. "$(dirname "$0")/prepare.sh"
cd "$REPOSITORY"

export CC03_PROJECT="${CC03_PROJECT:-cc03-test}"

remove_stack() {
  "$VENV/bin/inv" destroy --no-keep-data --yes || true
}

prepare_host chromium git
prepare_python requirements.txt
trap remove_stack EXIT
say "removing what an earlier run may have left"
remove_stack
say "images (lint uses the very programs that are deployed)"
"$VENV/bin/inv" build
say "lint and unit tests"
"$VENV/bin/nox"
say "deploying project $CC03_PROJECT"
"$VENV/bin/inv" deploy --yes
say "smoke tests"
"$VENV/bin/nox" -s smoke
