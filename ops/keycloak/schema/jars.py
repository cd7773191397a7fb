"""Jars of a Keycloak as they lie in its container or image: where they are, and which change sets they hold."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from ops.keycloak.schema.plan import changesets_of

if TYPE_CHECKING:
    from ops.keycloak.probe.container import Files

LIBRARIES = "opt/keycloak/lib/lib/main"
MODEL, MIGRATIONS = "org.keycloak.keycloak-model-jpa-", "org.keycloak.keycloak-model-storage-private-"
"""Jars with the schema's change log, and with the migrations of the model (since 23; before, in server-spi-private)."""


def jar(files: Files, prefix: str) -> Path:
    """Raises KeyError where there is none."""
    folder = files.find(LIBRARIES)
    found = sorted(folder.glob(f"{prefix}[0-9]*.jar")) if folder else []
    if not found:
        raise KeyError(f"no {prefix}*.jar in it")
    return found[0]


def changesets(files: Files) -> frozenset[str]:
    """`id|author|file` of every change set; empty where they cannot be read."""
    try:
        with zipfile.ZipFile(jar(files, MODEL)) as model:
            return changesets_of(model.read)
    except (OSError, KeyError, zipfile.BadZipFile):
        return frozenset()
