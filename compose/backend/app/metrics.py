"""What Prometheus scrapes at /metrics on the service port; nginx passes /api/ only, so it stays inside."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from psycopg_pool import AsyncConnectionPool

# A second series for each counter that nothing here asks for.
disable_created_metrics()
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

REQUESTS = Counter(
    "http_requests_total", "Requests by route template.", ["method", "route", "status"], registry=REGISTRY
)
LATENCY = Histogram(
    "http_request_duration_seconds",
    "Time until the response was handed to the network.",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=REGISTRY,
)
IN_FLIGHT = Gauge("http_requests_in_flight", "Requests being answered now.", registry=REGISTRY)
CACHE = Counter("cache_reads_total", "Cached reads by outcome.", ["outcome"], registry=REGISTRY)
TOTALS = Counter(
    "item_totals_total", "Totals of item lists by outcome: counted, kept, unneeded.", ["outcome"], registry=REGISTRY
)
CACHE_UP = Gauge("cache_up", "1 while redis answers, 0 while the circuit is open.", registry=REGISTRY)
DEPENDENCY_UP = Gauge("dependency_up", "1 while readiness calls it ok, else 0.", ["dependency"], registry=REGISTRY)
TOKENS_REFUSED = Counter("auth_tokens_refused_total", "Tokens refused, by reason.", ["reason"], registry=REGISTRY)
KEYS = Gauge("auth_realm_keys", "Signing keys of the realm known now.", registry=REGISTRY)
KEYS_FETCHED = Gauge(
    "auth_realm_keys_fetched_timestamp_seconds", "When the realm's keys were last fetched.", registry=REGISTRY
)
BROWSER_ERRORS = Counter(
    "browser_errors_total", "Errors that browsers reported, by what became of them.", ["outcome"], registry=REGISTRY
)
# The bounds of web.dev between good, middling and poor are among them.
WEB_VITALS = Histogram(
    "browser_web_vitals_seconds",
    "How long browsers took, one page load in ten: lcp (largest content), inp (interactions), ttfb (first byte).",
    ["metric"],
    buckets=(0.1, 0.2, 0.5, 0.8, 1.8, 2.5, 4, 10),
    registry=REGISTRY,
)
LAYOUT_SHIFT = Histogram(
    "browser_layout_shift",
    "How much pages moved while users looked (CLS).",
    buckets=(0.1, 0.25, 0.5),
    registry=REGISTRY,
)
WEBSOCKETS = Gauge("websocket_clients", "Authenticated WebSocket clients.", registry=REGISTRY)
BUILD = Gauge("backend_build_info", "Always 1; the label tells the release.", ["release"], registry=REGISTRY)

# Label children are looked up once per combination; the lookup in prometheus_client takes a lock and is not free.
_children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}


def observe_request(method: str, route: str, status: int, seconds: float | None) -> None:
    """Count a request; seconds None leaves it out of the latencies."""
    key = (method, route, status)
    child = _children.get(key)
    if child is None:
        child = _children[key] = (REQUESTS.labels(method, route, str(status)), LATENCY.labels(method, route))
    child[0].inc()
    if seconds is not None:
        child[1].observe(seconds)


class PoolCollector(Collector):
    """Reads the pool when scraped, so that nothing has to be kept in step."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    def collect(self) -> Iterator[GaugeMetricFamily]:
        stats = self._pool.get_stats()
        connections = GaugeMetricFamily("database_pool_connections", "Connections by state.", labels=["state"])
        size, idle = stats.get("pool_size", 0), stats.get("pool_available", 0)
        connections.add_metric(["idle"], idle)
        connections.add_metric(["used"], size - idle)
        yield connections
        yield GaugeMetricFamily("database_pool_max", "The pool's ceiling.", value=stats.get("pool_max", 0))
        yield GaugeMetricFamily(
            "database_pool_waiting", "Requests that wait for a connection.", value=stats.get("requests_waiting", 0)
        )


def render() -> bytes:
    return generate_latest(REGISTRY)
