"""What a typed model of a YAML file accepts: rows for the reference, and a JSON schema for editors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from ops.stack.yaml_model import annotation_at, form_of, names, opened


@dataclass(frozen=True)
class Row:
    """One key of a model, for the reference. default: None where it has none."""

    key: str
    meaning: str
    form: str
    default: Any
    required: bool = False


def rows(model: type[BaseModel], prefix: str = "", each: str = "NAME") -> Iterator[Row]:
    """Every key of a model, in its order.

    Parameters
    ----------
    prefix: what stands before each key. each: what stands for the key of a mapping by names.
    """
    for name, one in model.model_fields.items():
        key, (kind, _) = f"{prefix}{name}", opened(one)
        if get_origin(kind) is dict:
            key, (kind, _) = f"{key}.{each}", opened(get_args(kind)[1])
            if one.description:
                yield Row(key, one.description, form_of(annotation_at(one, ("any",))), None)
        elif not names(kind):
            default = None if one.is_required() else one.get_default(call_default_factory=True)
            yield Row(key, one.description or "", form_of(one), default, one.is_required())
        if get_origin(kind) in (tuple, list) and names(opened(get_args(kind)[0])[0]):
            key, (kind, _) = f"{key}[]", opened(get_args(kind)[0])
        if names(kind):
            if one.description and get_origin(one.annotation) is not dict and not isinstance(one.default, tuple):
                yield Row(key, one.description, form_of(one), None)
            yield from rows(kind, f"{key}.", each)


class _Schema(GenerateJsonSchema):
    """Without titles, which repeat the keys; and with each name of a mapping as a key of its own, which editors complete."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def dict_schema(self, schema: Any) -> dict[str, Any]:
        found = super().dict_schema(schema)
        names = found.get("propertyNames", {}).get("enum")
        if not names:
            return found
        return {
            "type": "object",
            "properties": dict.fromkeys(names, found["additionalProperties"]),
            "additionalProperties": False,
        }


def json_schema(model: type[BaseModel], title: str) -> dict[str, Any]:
    """The JSON schema that editors complete and check by."""
    found = model.model_json_schema(schema_generator=_Schema)
    return {"$schema": _Schema.schema_dialect, **found, "title": title}
