"""Whether a dashboard is what Grafana's schema describes: known keys alone, values of the declared types.

The types are those of grafana-foundation-sdk, which is generated from that schema. Keys that the JSON leaves out are no
problem: Grafana fills them in.
"""

from __future__ import annotations

import importlib
import re
import types
import warnings
from collections.abc import Iterator
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

with warnings.catch_warnings():
    # It recommends the second version of the schema, which is experimental in Grafana 12.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.cog.variants import Dataquery
    from grafana_foundation_sdk.models.dashboard import Dashboard, Panel, RowPanel

SCALARS = {str: (str,), bool: (bool,), int: (int,), float: (int, float), types.NoneType: (types.NoneType,)}


def board_problems(board: Any) -> Iterator[str]:
    """What Grafana 12 does not understand, each after the keys that lead there."""
    return problems(board, Dashboard, "")


def problems(value: Any, kind: Any, where: str) -> Iterator[str]:
    """What of a value is not of this type."""
    inside = get_args(kind)
    match get_origin(kind):
        case origin if origin in (Union, types.UnionType):
            # Those of the type that the value resembles most.
            likely = [one for one in inside if value is None or one is not types.NoneType]
            if RowPanel in likely:
                likely = [RowPanel if isinstance(value, dict) and value.get("type") == "row" else Panel]
            yield from min((list(problems(value, one, where)) for one in likely), key=len)
        case origin if origin in (list, dict):
            if not isinstance(value, origin):
                yield f"{where}: {value!r} is no {origin.__name__}"
                return
            for key, one in value.items() if isinstance(value, dict) else enumerate(value):
                yield from problems(one, inside[-1], f"{where}.{key}")
        case origin if origin is Literal or (isinstance(kind, type) and issubclass(kind, Enum)):
            known = inside or [one.value for one in kind]
            if value not in known:
                yield f"{where}: {value!r} is none of {', '.join(map(repr, known))}"
        case _ if kind in SCALARS:
            if not isinstance(value, SCALARS[kind]) or (isinstance(value, bool) and kind is not bool):
                yield f"{where}: {value!r} is no {kind.__name__}"
        case _ if kind not in (Any, object):
            yield from _of_class(value, kind, where)


def _of_class(value: Any, kind: type, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where}: {value!r} is no {kind.__name__}"
        return
    if kind is Dataquery:
        kind = plugin(value.get("datasource", {}).get("type", ""), "Dataquery")
    if kind is Panel:
        yield from _of_plugin(value, where)
    declared = get_type_hints(kind)
    for key, one in value.items():
        # The names of the types are those of the schema in Python's spelling, and words that Python uses itself have a suffix.
        name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower()
        name = name if name in declared else f"{name}_val"
        if name in declared:
            yield from problems(one, declared[name], f"{where}.{key}")
        else:
            yield f"{where}: {kind.__name__} has no {key}"


def _of_plugin(panel: dict[str, Any], where: str) -> Iterator[str]:
    """What the schema itself leaves to the kind of the panel."""
    name = panel.get("type", "")
    if plugin(name, "variant_config") is Nothing:
        yield f"{where}: there is no kind of panel {name!r}"
        return
    yield from problems(panel.get("options", {}), plugin(name, "Options"), f"{where}.options")
    custom = panel.get("fieldConfig", {}).get("defaults", {}).get("custom", {})
    yield from problems(custom, plugin(name, "FieldConfig"), f"{where}.fieldConfig.defaults.custom")


class Nothing:
    """What a panel has that takes no options, or that Grafana does not know."""


def plugin(name: str, part: str) -> Any:
    """A part of the schema of a plugin: of a kind of panel, or of data source."""
    try:
        module = importlib.import_module(f"grafana_foundation_sdk.models.{name.replace('-', '') or '-'}")
    except ModuleNotFoundError:
        return Nothing
    return getattr(module, part, Nothing)
