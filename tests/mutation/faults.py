"""What faults there are in a file, as mutmut makes them, and how one is put into the module that is loaded.

Left out is what no test ought to notice: words for a person (texts with a space in them, and all that makes an error or is
printed), and `encoding=`, which is that of every host that this runs on.
"""

from __future__ import annotations
import __future__

import difflib
import inspect
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

WORDS = ("print", "log")
"""Calls whose parameters are words for a person, as those of every class named ...Error, ...Problem and of
`ops.core.errors` are."""


@dataclass(frozen=True)
class Fault:
    """`path`: name of the function, after that of its class. `lines`: of the statement that is changed, `line`: of the change.
    `before`: the function, and `render`: the changed one, each as text, at its line and in its class."""

    path: tuple[str, ...]
    lines: range
    line: int
    defaults: bool
    before: str
    render: Callable[[], str]

    def shown(self, text: str) -> str:
        """What `render` has changed, for a person."""
        both = (self.before.strip().splitlines(), text.strip().splitlines())
        changed = [line for line in difflib.unified_diff(*both, lineterm="", n=0) if line[0] in "+-"][2:]
        gone = " ".join(line[1:].strip() for line in changed if line[0] == "-")
        new = " ".join(line[1:].strip() for line in changed if line[0] == "+")
        return f"{'.'.join(self.path)}, line {self.line}: {gone}  =>  {new}"


def faults(source: str) -> Iterator[Fault]:
    """Every fault that mutmut knows for the functions of a file, but for those in words and in `encoding=`."""
    import libcst
    from libcst.metadata import MetadataWrapper, PositionProvider

    wrapper = MetadataWrapper(libcst.parse_module(source))
    at = wrapper.resolve(PositionProvider)
    for statement in wrapper.module.body:
        if isinstance(statement, libcst.FunctionDef):
            yield from _of_function(wrapper.module, at, statement, ())
        elif isinstance(statement, libcst.ClassDef):
            for method in statement.body.body:
                if isinstance(method, libcst.FunctionDef):
                    yield from _of_function(wrapper.module, at, method, (statement.name.value,))


def _of_function(module: Any, at: Any, function: Any, above: tuple[str, ...]) -> Iterator[Fault]:
    from mutmut.mutation.file_mutation import deep_replace

    bare = function.with_changes(decorators=[], leading_lines=[], lines_after_decorators=[])
    first = at[function.name].start.line
    whole = range(first + 1, at[function].end.line + 1)
    spans = list(_statements(at, function))

    def text_of(changed: Any) -> str:
        lines = str(module.code_for_node(changed)).strip("\n").splitlines()
        if above:
            # One line above: a class of the same name, for `super` and for names with two underscores.
            return "\n" * int(first - 2) + f"class {above[0]}:\n" + "\n".join(f" {line}" for line in lines)
        return "\n" * int(first - 1) + "\n".join(lines)

    before = text_of(bare)
    for part in (bare.params, bare.body):
        for node, new in _changes(part):
            line = at[node].start.line
            # A default is used by whoever calls, wherever in the function it shows.
            lines = whole if part is bare.params else min((span for span in spans if line in span), key=len, default=whole)

            def render(node: Any = node, new: Any = new) -> str:
                return text_of(deep_replace(bare, node, new))

            yield Fault((*above, function.name.value), lines, line, part is bare.params, before, render)


def _statements(at: Any, node: Any) -> Iterator[range]:
    """The lines of each statement; of one that has a body, the lines above that."""
    import libcst

    if isinstance(node, libcst.BaseCompoundStatement | libcst.SimpleStatementLine):
        last = at[node].end.line
        body = getattr(node, "body", None)
        if isinstance(body, libcst.IndentedBlock):
            last = at[body.body[0]].start.line - 1
        yield range(at[node].start.line, last + 1)
    for child in node.children:
        yield from _statements(at, child)


def _changes(node: Any) -> Iterator[tuple[Any, Any]]:
    import libcst
    from mutmut.mutation.mutators import mutation_operators

    if _left_out(node):
        return
    for kind, operator in mutation_operators:
        if isinstance(node, kind):
            for new in operator(node):
                if not (isinstance(node, libcst.Call) and _of_encoding(node, new)):
                    yield node, new
    for child in node.children:
        yield from _changes(child)


def _left_out(node: Any) -> bool:
    import libcst

    if isinstance(node, libcst.Annotation):
        return True
    if isinstance(node, libcst.Param):
        return node.default is not None and not isinstance(node.default, libcst.Name | libcst.BaseNumber | libcst.BaseString)
    if isinstance(node, libcst.Arg):
        return node.keyword is not None and node.keyword.value == "encoding"
    if isinstance(node, libcst.SimpleString):
        return " " in node.value or node.value.startswith(('"""', "'''"))
    if isinstance(node, libcst.Call):
        name = node.func.attr.value if isinstance(node.func, libcst.Attribute) else getattr(node.func, "value", "")
        return name in ("len", "isinstance", *WORDS) or _is_error(str(name))
    return False


def _is_error(name: str) -> bool:
    from ops.core import errors

    return name.endswith(("Error", "Problem")) or inspect.isclass(getattr(errors, name, None)) or name == "Unreached"


def _of_encoding(node: Any, new: Any) -> bool:
    kept = {id(arg) for arg in getattr(new, "args", ())}
    return any(id(arg) not in kept and arg.keyword and arg.keyword.value == "encoding" for arg in node.args)


def put_in(fault: Fault, text: str, module: types.ModuleType) -> None:
    """Exchange the code of the function. Raises whatever keeps it from that."""
    namespace = dict(vars(module))
    flags = __future__.annotations.compiler_flag
    exec(compile(text, str(module.__file__), "exec", flags=flags, dont_inherit=True), namespace)  # noqa: S102
    old, new = vars(module)[fault.path[0]], namespace[fault.path[0]]
    if len(fault.path) > 1:
        old, new = vars(old)[fault.path[1]], vars(new)[fault.path[1]]
    function, new = _function(old), _function(new)
    function.__code__ = new.__code__
    if fault.defaults:
        function.__defaults__, function.__kwdefaults__ = new.__defaults__, new.__kwdefaults__


def _function(found: Any) -> Any:
    """The function below its decorators."""
    for name in ("__func__", "fget", "func"):
        found = getattr(found, name, found) if not isinstance(found, types.FunctionType) else found
    return inspect.unwrap(found)
