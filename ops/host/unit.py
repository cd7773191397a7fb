"""The systemd unit of a project: containers up in order at boot, then the health ticker for as long as the host runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def unit_name(project: str) -> str:
    return f"cc03-{project}.service"


def quoted(text: str, *, variables: bool = False) -> str:
    """A word of a unit file as systemd reads it (systemd.syntax(7), systemd.service(5)): spaces, quotes and % stand for
    themselves, and in a command line, where `variables` are replaced, $ as well."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text.replace("$", "$$") if variables else text}"'


def unit(project: str, state: Path, environment: Mapping[str, str]) -> str:
    """Text of the unit.

    state: the project's state folder; the ticker's code is there, so that the unit needs no checkout.

    The ticker itself starts whatever does not run (after a boot: everything), databases first, and then keeps watch. While a
    process that `inv deploy` has started holds the ticker's lock, the unit waits for it: there is never a second one.
    """
    variables = {**environment, "PYTHONPATH": f"{state}/ticker/code"}
    lines = [f"Environment={quoted(f'{name}={value}')}" for name, value in variables.items()]
    return f"""\
[Unit]
Description=Containers of project {project}, started in order and watched
Wants=network-online.target
After=network-online.target
RequiresMountsFor={quoted(str(state))} /var/lib/containers

[Service]
Type=exec
{chr(10).join(lines)}
ExecStart=/usr/bin/python3 -P -m ops.supervisor {quoted(str(state), variables=True)} --boot
Restart=always
RestartSec=5
KillMode=process
TimeoutStopSec=120

[Install]
WantedBy=multi-user.target
"""
