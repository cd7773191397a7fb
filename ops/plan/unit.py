"""The systemd unit of a project: containers up in order at boot, then the health ticker for as long as the host runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def unit_name(project: str) -> str:
    return f"cc03-{project}.service"


def unit(project: str, state: Path, environment: Mapping[str, str]) -> str:
    """Text of the unit.

    Parameters
    ----------
    state: the project's state folder; the ticker's code is there, so that the unit needs no checkout.

    The ticker itself starts whatever does not run (after a boot: everything), databases first, and then keeps watch. While a
    process that `inv deploy` has started holds the ticker's lock, the unit waits for it: there is never a second one.
    """
    lines = [f"Environment={name}={value}" for name, value in sorted(environment.items())]
    return f"""\
[Unit]
Description=Containers of project {project}, started in order and watched
Wants=network-online.target
After=network-online.target
RequiresMountsFor={state} /var/lib/containers

[Service]
Type=exec
{chr(10).join(lines)}
Environment=PYTHONPATH={state}/ticker/code
ExecStart=/usr/bin/python3 -P -m ops.machine.ticker {state} --boot
Restart=always
RestartSec=5
KillMode=process
TimeoutStopSec=120

[Install]
WantedBy=multi-user.target
"""
