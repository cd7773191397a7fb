#!/usr/bin/env bash
set -euo pipefail
# One instance: no gossip. The external URL is what the links in notifications begin with. Metrics tell receivers apart, which
# `inv alerts.test` needs. Silences and what was sent are written down each 30 s: by default that is done each 15 minutes, and a crash
# forgets an answer that somebody gave since.
exec prometheus-alertmanager \
  --config.file=/etc/cc03/current/alertmanager.yml \
  --storage.path=/var/lib/alertmanager \
  --data.retention=120h \
  --data.maintenance-interval=30s \
  --cluster.listen-address= \
  --web.listen-address="${CC03_LISTEN:-}:9093" \
  --web.config.file=/etc/cc03/current/web.yml \
  --web.external-url="$(</etc/cc03/current/external-url)" \
  --web.route-prefix=/alertmanager \
  --enable-feature=receiver-name-in-metrics \
  --log.format=json
