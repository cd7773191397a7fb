"""Types of the values that stack.yaml and compose.yaml hold, each with what it must be in words. Pure."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from ops.stack.yaml_model import Form

Duration = Annotated[
    str, Field(pattern=r"^\d{1,6}[smhd]$"), Form("a duration such as 90s, 15m, 6h or 1d; 0s turns it off")
]  # fmt: skip
Age = Annotated[str, Field(pattern=r"^\d+[dwy]$"), Form("an age such as 15d, 8w or 1y")]
HostName = Annotated[
    str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"), Form("a host name such as shop.example.com")
]  # fmt: skip
Folder = Annotated[str, Field(pattern=r"^\S+$"), Form("a folder")]
Email = Annotated[str, Field(pattern=r"^([^@\s,]+@[^@\s,]+)?$"), Form("an e-mail address, or empty")]
Program = Annotated[str, Field(pattern=r"^(/[\x21-\x7e]+)?$"), Form("the absolute path of a program, or empty")]
UrlPath = Annotated[str, Field(pattern=r"^(/[\x21-\x7e]*)?$"), Form("a path such as /api/v1/probe, or empty")]
Cores = Annotated[float, Field(ge=0.05, le=64), Form("a number of cores from 0.05 to 64")]


def age_days(age: str) -> int:
    """`14d`, `8w`, `1y` -> days."""
    return int(age[:-1]) * {"d": 1, "w": 7, "y": 365}[age[-1]]


def _time(value: Any) -> Any:
    """YAML 1.1 takes 10:30 for a number to the base of 60."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1440:
        return f"{value // 60:02}:{value % 60:02}"
    return value


Time = Annotated[
    str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$"), BeforeValidator(_time), Form("a time of day (UTC) such as 02:30")
]  # fmt: skip

LEAST_MEMORY = 16 << 20
"""No service starts with less; and 0 would mean no limit at all."""
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
MEMORY = "an amount of memory such as 512m or 2g"


def memory_bytes(value: Any) -> int:
    """`512m`, `2g` -> bytes. Raises ValueError for anything else."""
    match = re.fullmatch(r"(\d+)([kmg]?)b?", str(value).lower())
    if not match or isinstance(value, bool):
        raise ValueError(MEMORY)
    return int(match[1]) * UNITS[match[2]]


def _memory_limit(value: Any) -> int:
    if (amount := memory_bytes(value)) < LEAST_MEMORY:
        raise ValueError("16m at the least")
    return amount


Memory = Annotated[
    int, BeforeValidator(_memory_limit), Form(MEMORY),
    WithJsonSchema({"type": ["string", "integer"], "pattern": r"^\d+[kmgKMG]?[bB]?$"}),
]  # fmt: skip

LEAST_DISK = 100 << 20
DISK = "an amount of disk space such as 500m, 20g or 1t, at least 100m"


def disk_bytes(value: Any) -> int:
    """`500m`, `20g`, `1t` -> bytes. Raises ValueError for anything else, and for less than 100 MB."""
    match = re.fullmatch(r"(\d{1,6})([mgt])", str(value))
    amount = int(match[1]) << {"m": 20, "g": 30, "t": 40}[match[2]] if match else 0
    if amount < LEAST_DISK:
        raise ValueError(DISK)
    return amount


def _disk_size(value: str) -> str:
    disk_bytes(value)
    return value


DiskSize = Annotated[str, Field(pattern=r"^\d{1,6}[mgt]$"), AfterValidator(_disk_size), Form(DISK)]

DESTINATIONS = "a list of hosts with a port, such as [smtp.example.com:587, 192.0.2.7:443]"
_DESTINATION = r"^[a-zA-Z0-9]([a-zA-Z0-9.-]{0,251}[a-zA-Z0-9])?:[1-9]\d{0,4}$"


def _port_in_range(value: str) -> str:
    if int(value.rpartition(":")[2]) > 65535:
        raise ValueError(DESTINATIONS)
    return value


Destination = Annotated[str, Field(pattern=_DESTINATION), AfterValidator(_port_in_range), Form(DESTINATIONS)]
Destinations = Annotated[
    tuple[Destination, ...], Field(strict=False), AfterValidator(lambda found: tuple(dict.fromkeys(found))), Form(DESTINATIONS)
]  # fmt: skip

NETWORKS = "a list of addresses and networks such as [192.0.2.7, 198.51.100.0/24]"


def _network(value: str) -> str:
    """One of all addresses is refused: whoever it was, would be believed."""
    try:
        if ip_network(value).prefixlen:
            return value
    except ValueError:
        pass
    raise ValueError(NETWORKS)


Networks = Annotated[
    tuple[Annotated[str, AfterValidator(_network), Form(NETWORKS)], ...], Field(strict=False), Form(NETWORKS)
]  # fmt: skip
