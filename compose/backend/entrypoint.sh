#!/bin/bash
# backend serve (default) | migrate [--check | --allow-contracting]
set -euo pipefail

case "${1:-serve}" in
  serve) exec python3 -m app.server ;;
  migrate) exec python3 -m app.migrate "${@:2}" ;;
  *)
    echo "usage: backend [serve | migrate [--check | --allow-contracting]]" >&2
    exit 2
    ;;
esac
