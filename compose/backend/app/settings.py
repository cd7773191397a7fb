"""Settings: plain values from CC03_* variables, secrets from files. A wrong value stops the start with its name."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class SettingsError(Exception):
    """A setting is missing or has a value that cannot be used."""


class Secret:
    """A value that never shows itself in a log line, a traceback or a debugger."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "[REDACTED]"


@dataclass(frozen=True)
class Settings:
    issuer: str
    jwks_url: str
    audience: str
    database_host: str
    database_port: int
    database_name: str
    database_user: str
    database_password: Secret
    database_pool_max: int
    statement_timeout_ms: int
    redis_host: str
    redis_port: int
    redis_user: str
    redis_password: Secret
    redis_timeout_ms: int
    cache_ttl_seconds: int
    tls: Path
    drain_seconds: float
    websocket_limit: int
    log_level: str
    release: str

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ, secrets: Path = Path("/run/secrets")) -> "Settings":
        def value(name: str, default: str | None = None) -> str:
            found = environ.get(name) or default
            if found is None:
                raise SettingsError(f"{name} is not set")
            return found

        def number(name: str, default: T, kind: Callable[[str], T], low: float, high: float) -> T:
            raw = value(name, str(default))
            try:
                parsed = kind(raw)
            except ValueError as error:
                raise SettingsError(f"{name}={raw!r} is not a number") from error
            if not low <= parsed <= high:  # type: ignore[operator]
                raise SettingsError(f"{name}={raw!r} is outside {low:g} to {high:g}")
            return parsed

        level = value("CC03_LOG_LEVEL", "INFO").upper()
        if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise SettingsError(f"CC03_LOG_LEVEL={level!r} is none of DEBUG, INFO, WARNING, ERROR")
        return cls(
            issuer=value("CC03_ISSUER"),
            jwks_url=value("CC03_JWKS_URL"),
            audience=value("CC03_AUDIENCE", "cc03-backend"),
            database_host=value("CC03_DATABASE_HOST", "postgres"),
            database_port=number("CC03_DATABASE_PORT", 5432, int, 1, 65535),
            database_name=value("CC03_DATABASE_NAME", "app"),
            database_user=value("CC03_DATABASE_USER", "app"),
            database_password=read_secret(secrets / "postgres-app"),
            database_pool_max=number("CC03_DATABASE_POOL_MAX", 5, int, 1, 50),
            statement_timeout_ms=number("CC03_STATEMENT_TIMEOUT_MS", 5000, int, 100, 60000),
            redis_host=value("CC03_REDIS_HOST", "redis"),
            redis_port=number("CC03_REDIS_PORT", 6379, int, 1, 65535),
            redis_user=value("CC03_REDIS_USER", "app"),
            redis_password=read_secret(secrets / "redis-app"),
            # Under 250 ms a merely busy machine looks like a dead Redis; a dead one costs this a few times only.
            redis_timeout_ms=number("CC03_REDIS_TIMEOUT_MS", 250, int, 10, 5000),
            cache_ttl_seconds=number("CC03_CACHE_TTL_SECONDS", 60, int, 1, 3600),
            tls=Path(value("CC03_TLS", "/etc/tls")),
            # A little more than nginx keeps an idle connection (1 s, config/nginx/upstreams.conf).
            drain_seconds=number("CC03_DRAIN_SECONDS", 1.2, float, 0, 20),
            websocket_limit=number("CC03_WEBSOCKET_LIMIT", 1000, int, 0, 10000),
            log_level=level,
            release=value("CC03_RELEASE", "dev"),
        )


def read_secret(path: Path) -> Secret:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"cannot read the secret {path}: {error.strerror}") from error
    if not text:
        raise SettingsError(f"the secret {path} is empty")
    return Secret(text)
