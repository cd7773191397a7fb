#!/bin/bash
# backend serve (default) | migrate
set -euo pipefail

case "${1:-serve}" in
  serve) exec python3 -m app.server ;;
  migrate) exec python3 -m app.migrate ;;
  *)
    echo "usage: backend [serve|migrate]" >&2
    exit 2
    ;;
esac
