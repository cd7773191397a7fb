"""A YAML document -> a typed model. What does not fit is refused with file, line and a suggestion. Pure.

ops/reference.py tells the reference and editors what the models accept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, ErrorDetails

from ops.core.errors import UsageProblem, did_you_mean

LONGEST_SHOWN = 100
"""Characters of a value that a message repeats."""
Path = tuple[str | int, ...]
KEY = "[key]"
"""How Pydantic names the key of a mapping, in the place of an error."""


class Keys(BaseModel):
    """A mapping of known keys. Nothing is converted: `"80"` is no port, and `yes` no text."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Model = TypeVar("Model", bound=Keys)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def load_yaml(text: str) -> Any:
    """What a YAML document says, by libyaml where PyYAML has it: 8 times as fast. Raises yaml.YAMLError."""
    return yaml.load(text, Loader=_LOADER)  # noqa: S506  (both are safe)


def dump_yaml(value: Any, **options: Any) -> str:
    """A YAML document with the keys in their order. options: as of yaml.dump."""
    text: str = yaml.dump(value, Dumper=_DUMPER, sort_keys=False, width=120, **options)
    return text


@dataclass(frozen=True)
class Form:
    """What a value must be, in words, for messages, the reference and editors."""

    text: str

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(core_schema), "patternErrorMessage": f"must be {self.text}"}


# ---- From text to values with their lines


@dataclass
class Document:
    """A parsed file: its values, and the line of each key and of each value by their path."""

    source: str
    content: Any = None
    keys: dict[Path, int] = field(default_factory=dict)
    values: dict[Path, int] = field(default_factory=dict)

    def line(self, path: Path, *, of_key: bool = False) -> int:
        """The line of a value or key, or else of what is around it."""
        lines = self.keys if of_key else self.values
        return lines[path] if path in lines else self.line(path[:-1]) if path else 1


def parse_yaml(text: str, source: str) -> Document:
    """Raises UsageProblem, with its line, for what is no YAML or names a key twice. An empty file has no keys."""
    found = Document(source)
    loader = yaml.SafeLoader(text)
    try:
        root = loader.get_single_node()
        found.content = {} if root is None else _value(root, (), found, loader, ())
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        said = getattr(problem, "problem", None) or problem
        raise UsageProblem(
            f"{source}:{line} is not valid YAML", str(said), f"correct line {line}, then run the command again"
        ) from problem
    return found


def _value(node: yaml.Node, path: Path, found: Document, loader: yaml.SafeLoader, above: tuple[yaml.Node, ...]) -> Any:
    line = found.values[path] = node.start_mark.line + 1
    if node in above:
        raise UsageProblem(
            f"{found.source}:{line} {spelled(path)} contains itself", "an alias is below its anchor", "remove it"
        )
    if isinstance(node, yaml.SequenceNode):
        return [_value(one, (*path, number), found, loader, (*above, node)) for number, one in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        try:
            return loader.construct_object(node)
        except (yaml.YAMLError, ValueError) as problem:
            what = f"{found.source}:{line} {spelled(path)} cannot be read"
            raise UsageProblem(what, str(problem).splitlines()[0], f"correct line {line}") from problem
    for key, _ in node.value:
        at = (*path, str(key.value))
        if at in found.keys and key.value != "<<":
            what = f'{found.source}:{key.start_mark.line + 1} "{key.value}" is there twice'
            raise UsageProblem(what, "only one of the two can be meant", "remove one")
        found.keys[at] = key.start_mark.line + 1
    loader.flatten_mapping(node)
    return {str(key.value): _value(one, (*path, str(key.value)), found, loader, (*above, node)) for key, one in node.value}


def spelled(path: Path) -> str:
    """`backup.repositories[0].name`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


# ---- From values to a model


def read(model: type[Model], document: Document, reference: str) -> Model:
    """The document as this model.

    reference: the page that lists the keys, for messages.
    Raises UsageProblem for the first line that does not fit.
    """
    try:
        return model.model_validate(document.content)
    except ValidationError as refused:
        problems = [_problem(model, error, document, reference) for error in refused.errors(include_url=False)]
        raise min(problems, key=lambda one: one[0])[1] from None


def refusal(model: type[BaseModel], refused: ValidationError) -> str:
    """What the first refused value must be, with its key, for values that are in no file."""
    error = refused.errors(include_url=False)[0]
    if error["type"] == "missing":
        return _missing(model, error["loc"][:-1])
    if error["type"] == "extra_forbidden":
        *parent, key = error["loc"]
        return f'"{key}" is not known: {did_you_mean(str(key), names(type_at(model, tuple(parent))))}'
    return f"{spelled(error['loc'])}: {_must(model, error)}".removeprefix(": ")


def misfits(model: type[BaseModel], refused: ValidationError) -> Iterator[tuple[str, str, str]]:
    """Key, what is wrong with it and the cure, for each value that does not fit."""
    for error in refused.errors(include_url=False):
        place = tuple(part for part in error["loc"] if part != KEY)
        if error["type"] == "extra_forbidden":
            yield spelled(place), "is not known", did_you_mean(str(place[-1]), names(type_at(model, place[:-1])))
        elif error["type"] == "missing":
            yield spelled(place[:-1]), f"has no {place[-1]}", _missing(model, place[:-1])
        else:
            yield spelled(place), f"is {error['input']!r}", f"it must be {_must(model, error)}"


def _problem(model: type[BaseModel], error: ErrorDetails, document: Document, reference: str) -> tuple[int, UsageProblem]:
    place, given = tuple(part for part in error["loc"] if part != KEY), error["input"]
    parent = place[:-1]
    if error["type"] == "extra_forbidden" or KEY in error["loc"]:
        return _unknown(place, document, reference, did_you_mean(str(place[-1]), names(type_at(model, parent))))
    if error["type"] == "missing":
        line = document.line(parent)
        return line, UsageProblem(f"{document.source}:{line} {spelled(parent)} has no {place[-1]}",
                                  _missing(model, parent), f"add {place[-1]}; {reference} shows the form")  # fmt: skip
    line, wanted = document.line(place), type_at(model, place)
    if names(wanted) and not isinstance(given, Mapping):
        what = f"{document.source}:{line} {spelled(place)} needs keys below it"
        return line, UsageProblem(what, f"found {given!r}", f"{reference} shows the form")
    if isinstance(given, Mapping) and given and not names(wanted):
        return _unknown((*place, next(iter(given))), document, reference, f"{spelled(place)} takes a single value")
    shown = "does not fit" if isinstance(given, Mapping) or len(repr(given)) > LONGEST_SHOWN else f"is {given!r}"
    said = "has no value" if given is None else shown
    return line, UsageProblem(
        f"{document.source}:{line} {spelled(place)} {said}", f"it must be {_must(model, error)}", f"correct line {line}"
    )


def _unknown(place: Path, document: Document, reference: str, why: str) -> tuple[int, UsageProblem]:
    line = document.line(place, of_key=True)
    where = spelled(place[:-1]) or "the top level"
    what = f'{document.source}:{line} unknown setting "{place[-1]}" in {where}'
    return line, UsageProblem(what, why, f"correct the key; {reference} lists them all")


def _must(model: type[BaseModel], error: ErrorDetails) -> str:
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return form_of(annotation_at(model, error["loc"]))


def _missing(model: type[BaseModel], parent: Path) -> str:
    wanted = type_at(model, parent)
    return f"{', '.join(name for name, one in wanted.model_fields.items() if one.is_required())} must be there"


# ---- What a model accepts


def opened(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without what is around it, and its annotations."""
    if isinstance(annotation, FieldInfo):
        inner, more = opened(annotation.annotation)
        return inner, (*annotation.metadata, *more)
    if get_origin(annotation) is Annotated:
        inner, more = opened(get_args(annotation)[0])
        own = [part for one in get_args(annotation)[1:] for part in (one.metadata if isinstance(one, FieldInfo) else (one,))]
        return inner, (*own, *more)
    if get_origin(annotation) in (Union, UnionType):
        return opened(next(one for one in get_args(annotation) if one is not type(None)))
    return annotation, ()


def annotation_at(model: Any, path: Path) -> Any:
    """The annotation of what stands at a path."""
    found = model
    for part in path:
        kind, _ = opened(found)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found = kind.model_fields[str(part)]
        else:
            found = get_args(kind)[0 if get_origin(kind) in (tuple, list) else 1]
    return found


def type_at(model: type[BaseModel], path: Path) -> Any:
    return opened(annotation_at(model, path))[0]


def names(kind: Any) -> tuple[str, ...]:
    """The keys that are known below a type; none: it is a single value."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return tuple(kind.model_fields)
    if get_origin(kind) is dict:
        keys = opened(get_args(kind)[0])[0]
        return get_args(keys) if get_origin(keys) is Literal else ("NAME",)
    return ()


def form_of(annotation: Any) -> str:
    """What a value must be, in words."""
    kind, metadata = opened(annotation)
    if named := next((one.text for one in metadata if isinstance(one, Form)), ""):
        return named
    least, most = (next((getattr(one, name) for one in metadata if isinstance(one, of)), None) for of, name in BOUNDS)
    if kind is bool:
        return "true or false"
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    if get_origin(kind) in (tuple, list):
        return "a list"
    if names(kind):
        return "a mapping"
    if kind in (int, float):
        return f"{'a whole number' if kind is int else 'a number'} from {least} to {most}"
    raise TypeError(f"{annotation} has no Form: nobody could say what it must be")


BOUNDS = ((Ge, "ge"), (Le, "le"))
