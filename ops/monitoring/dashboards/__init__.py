"""One description of the dashboards, rendered for Grafana and for the operator's own pages (docs/how-to/monitoring.md)."""

from ops.monitoring.dashboards.edges import EDGE, MONITORING
from ops.monitoring.dashboards.model import Dashboard
from ops.monitoring.dashboards.operations import BACKUPS, CERTIFICATES, LOGS, RELEASES, SLO
from ops.monitoring.dashboards.overview import OVERVIEW
from ops.monitoring.dashboards.resources import CONTAINERS, HOST
from ops.monitoring.dashboards.services import API, LOGIN, POSTGRESQL, REDIS

BOARDS: tuple[Dashboard, ...] = (
    OVERVIEW, SLO, EDGE, API, LOGIN, POSTGRESQL, REDIS, CONTAINERS, HOST, LOGS, BACKUPS, RELEASES, CERTIFICATES, MONITORING,
)  # fmt: skip
"""In the order of the navigation."""
