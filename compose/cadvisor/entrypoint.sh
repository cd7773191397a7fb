#!/usr/bin/env bash
set -euo pipefail
# s6 keeps its state beside the service definitions, and the root file system is read-only.
mkdir -p /run/s6
cp -Rsf /etc/s6/. /run/s6/ # links: nothing below /run can be executed
exec s6-svscan /run/s6
