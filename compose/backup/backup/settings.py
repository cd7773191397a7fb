"""backup.toml as frozen values. Unknown keys and unreadable values are refused with their place."""

import difflib
import re
import tomllib
from dataclasses import dataclass, fields
from datetime import time, timedelta
from pathlib import Path

from .paths import CONFIG

PATH = CONFIG / "backup.toml"
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class SettingsError(Exception):
    """backup.toml or repositories.json cannot be used; the text says where and why."""


@dataclass(frozen=True)
class Sets:
    full_at: time
    full_every: timedelta
    diff_every: timedelta
    incr_every: timedelta
    jitter: timedelta
    keep: int


@dataclass(frozen=True)
class Proof:
    check_every: timedelta
    verify_at: time
    verify_remote_every: timedelta
    drill_at: time


@dataclass(frozen=True)
class Health:
    grace: timedelta
    max_backup_age: timedelta
    max_check_age: timedelta
    max_drill_age: timedelta


@dataclass(frozen=True)
class Receiver:
    synchronous: bool


@dataclass(frozen=True)
class Settings:
    sets: Sets
    receiver: Receiver
    proof: Proof
    health: Health


def duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d+)([smhd])", str(text))
    if not match:
        raise ValueError(f"{text!r} is not a duration like 90s, 15m, 24h or 7d")
    return timedelta(**{UNITS[match[2]]: int(match[1])})


def clock(text: str) -> time:
    match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", str(text))
    if not match:
        raise ValueError(f"{text!r} is not a time of day like 02:30")
    return time(int(match[1]), int(match[2]))


def count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{value!r} is not a whole number of at least 1")
    return value


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


READERS = {time: clock, timedelta: duration, int: count, bool: flag}


def parse(text: str) -> Settings:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"not valid TOML: {error}") from None
    same_keys(document, [field.name for field in fields(Settings)], "")
    return Settings(**{part.name: _section(part.type, part.name, document[part.name]) for part in fields(Settings)})


def load(path: Path = PATH) -> Settings:
    return parse(path.read_text())


def _section(kind: type, name: str, table: dict) -> object:
    same_keys(table, [field.name for field in fields(kind)], f"{name}.")
    values = {}
    for field in fields(kind):
        try:
            values[field.name] = READERS[field.type](table[field.name])
        except ValueError as error:
            raise SettingsError(f"{name}.{field.name}: {error}") from None
    return kind(**values)


def same_keys(table: dict, expected: list[str], place: str, optional: tuple[str, ...] = ()) -> None:
    """Raises SettingsError for a key that is not known, and for one that is missing."""
    for key in table:
        if key not in expected and key not in optional:
            close = difflib.get_close_matches(key, [*expected, *optional], n=1)
            hint = f"; did you mean {place}{close[0]}?" if close else ""
            raise SettingsError(f"unknown key {place}{key}{hint}")
    for key in expected:
        if key not in table:
            raise SettingsError(f"missing key {place}{key}")
