"""What Keycloak gives a realm and its parts where nothing is said: which keys there are, and what nobody has changed.

The data is in defaults.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ops.stack.yaml_model import load_yaml

_DOCUMENT = load_yaml(Path(__file__).with_name("defaults.yaml").read_text(encoding="utf-8"))
REALM: Mapping[str, Any] = _DOCUMENT["realm"]
"""Settings of the realm itself -> default. None: there is no such setting unless somebody makes it."""
CLIENT: Mapping[str, Any] = _DOCUMENT["client"]
REQUIRED_ACTIONS: Mapping[str, tuple[bool, bool]] = {key: tuple(two) for key, two in _DOCUMENT["required actions"].items()}
"""Alias -> enabled, asked of every new user."""
OWN: Mapping[str, tuple[str, ...]] = {kind: tuple(names) for kind, names in _DOCUMENT["own"].items()}
"""Keycloak's own: they are never pruned, and no export names them."""
OWN_CLIENTS, OWN_SCOPES, OWN_FLOWS = OWN["clients"], OWN["client scopes"], OWN["flows"]
DEFAULT_SCOPES: Mapping[str, tuple[str, ...]] = {
    "defaultDefaultClientScopes": ("role_list", "saml_organization", *CLIENT["defaultClientScopes"]),
    "defaultOptionalClientScopes": tuple(CLIENT["optionalClientScopes"]),
}
"""Client scopes that a new client gets."""
