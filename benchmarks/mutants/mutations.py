"""The mistakes: each changes one expression or statement of a module, and leaves it valid Python."""

import ast
import copy
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

Change: TypeAlias = tuple[str, ast.AST, str]
"""Kind of mistake, the node that is replaced, and its new source."""

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
"""The boundary moved, and the opposite."""
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.MatMult: ast.Mult,
}
SYMMETRIC = {"max", "min", "isinstance", "issubclass", "cast", "minimum", "maximum", "allclose"}
"""Functions whose arguments are not swapped: the result is the same, or no result at all."""
ASSERTIONS = {"strict"}
"""Keyword arguments that check what is right anyway, as `zip(strict=True)` does."""
LOGGERS = {"log", "logger"}
"""What is only logged is no behaviour."""


@dataclass(frozen=True)
class Mutation:
    """One mistake in one file."""

    path: str
    """Of the file, from the project's root."""
    kind: str
    original: str
    """The whole file without the mistake."""
    span: tuple[int, int]
    """First byte that is replaced, and the one behind the last."""
    text: str
    """What stands there instead."""
    name: str = ""
    """What a named mutant is called."""

    @property
    def source(self) -> str:
        """The whole file with the mistake."""
        encoded, (first, end) = self.original.encode(), self.span
        return (encoded[:first] + self.text.encode() + encoded[end:]).decode()

    @property
    def lines(self) -> tuple[int, int]:
        """First and last line of what is replaced, counted from 1."""
        encoded, (first, end) = self.original.encode(), self.span
        return encoded.count(b"\n", 0, first) + 1, encoded.count(b"\n", 0, end) + 1

    @property
    def is_valid(self) -> bool:
        """Whether the file is still Python."""
        try:
            compile(self.source, self.path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            return False
        return True

    @property
    def diff(self) -> str:
        """The change, as lines that begin with `-` and `+`."""
        return "\n".join(line for line in self._changed if line.strip("+- "))

    @property
    def before(self) -> str:
        """The changed lines without their indentation, before."""
        return self._side("-")

    @property
    def after(self) -> str:
        """The changed lines without their indentation, after."""
        return self._side("+")

    @property
    def _changed(self) -> list[str]:
        lines = difflib.unified_diff(self.original.splitlines(), self.source.splitlines(), n=0, lineterm="")
        return [line for line in lines if not line.startswith(("---", "+++", "@@"))]

    def _side(self, sign: str) -> str:
        return "\n".join(line[1:].strip() for line in self._changed if line.startswith(sign))


def mutations_of(path: str, source: str) -> list[Mutation]:
    """Return all mistakes that can be made in a module, in the order of its text; a few are no Python.

    Args:
        path: Of the file, from the project's root.
        source: Its text.
    """
    starts = _line_starts(source)
    found = {}
    for kind, node, text in _changes(ast.parse(source)):
        span = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        if source.encode()[slice(*span)] != text.encode():
            found.setdefault((span, text), Mutation(path, kind, source, span, text))
    return sorted(found.values(), key=lambda mutation: mutation.span)


def enclosing_lines(source: str, lines: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield the lines of the statement that holds these lines, then of the function; nothing outside of functions."""
    inside = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.stmt) and node.lineno <= lines[0] and lines[1] <= (node.end_lineno or 0)
    ]
    functions = [node for node in inside if isinstance(node, ast.FunctionDef)]
    if functions:
        statement, function = inside[-1], functions[-1]
        for node in (statement, function):
            yield node.body[0].lineno if node is function else node.lineno, node.end_lineno or node.lineno


def _line_starts(source: str) -> list[int]:
    """Return the offset of each line in bytes, as `ast` counts columns in bytes."""
    starts = [0]
    for line in source.encode().split(b"\n"):
        starts.append(starts[-1] + len(line) + 1)
    return starts


def _expression(node: ast.expr) -> str:
    text = ast.unparse(node)
    return (
        text if isinstance(node, ast.Constant | ast.Name | ast.Call | ast.Dict | ast.List | ast.Tuple) else f"({text})"
    )


def _changes(node: ast.AST) -> Iterator[Change]:
    """Yield the changes of a node and of all below it, but for annotations, decorators, messages and logging."""
    if _is_skipped(node):
        return
    yield from _changes_of(node)
    for child in _children(node):
        yield from _changes(child)


def _is_skipped(node: ast.AST) -> bool:
    match node:
        # Python 3.11 gives wrong positions inside of f-strings.
        case ast.JoinedStr() | ast.Import() | ast.ImportFrom():
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript() | ast.BinOp()) if not name.isupper():
            return name[0].isupper()  # the name of a type
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=name)))) if name in LOGGERS:
            return True
        case _:
            return False


def _children(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield from (default for default in (*node.args.defaults, *node.args.kw_defaults) if default is not None)
            yield from node.body
        case ast.Lambda():
            yield from node.args.defaults
            yield node.body
        case ast.ClassDef():
            yield from node.body
        case ast.AnnAssign():
            if node.value is not None:
                yield node.value
        case ast.Call(func=ast.Name(id="isinstance" | "issubclass")):
            yield node.args[0]
        case ast.keyword(arg=name) if name in ASSERTIONS:
            return
        case ast.Raise() | ast.Assert():
            return  # what a message says is tested where it matters; that it is raised is a mutation of its own
        case _:
            yield from ast.iter_child_nodes(node)


def _changes_of(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare():
            yield from _of_comparison(node)
        case ast.BoolOp():
            yield from _of_boolean(node)
        case ast.BinOp() | ast.AugAssign():
            yield from _of_arithmetic(node)
            if isinstance(node, ast.AugAssign):
                yield "statement dropped", node, "pass"
        case ast.UnaryOp(op=ast.Not() | ast.USub()) if not isinstance(node.operand, ast.Constant):
            yield "sign or not dropped", node, _expression(node.operand)
        case ast.Constant():
            yield from _of_constant(node)
        case ast.If() | ast.IfExp():
            yield "condition negated", node.test, f"(not {_expression(node.test)})"
        case ast.comprehension():
            yield from (("filter dropped", test, "True") for test in node.ifs)
        case ast.Call():
            yield from _of_call(node)
        case ast.Dict():
            yield from _of_dict(node)
        case ast.Tuple() | ast.List() | ast.Set():
            yield from _of_display(node)
        case ast.Subscript(slice=ast.Constant(value=str() as key)):
            yield "constant", node.slice, repr(key + "_")
        case ast.Return(value=value) if value is not None and not _is_none(value):
            yield "return dropped", node, "return None"
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.Raise() | ast.Delete() | ast.Continue() | ast.Break():
            yield "statement dropped", node, "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "statement dropped", node, "pass"
        case _:
            return


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _of_comparison(node: ast.Compare) -> Iterator[Change]:
    for index, operator in enumerate(node.ops):
        for other in COMPARISONS[type(operator)]:
            changed = copy.deepcopy(node)
            changed.ops[index] = other()
            yield "comparison", node, _expression(changed)
    for value in node.comparators:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield "constant", value, repr(value.value + "_")


def _of_boolean(node: ast.BoolOp) -> Iterator[Change]:
    changed = copy.deepcopy(node)
    changed.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    yield "boolean operator", node, _expression(changed)
    for index in range(len(node.values)):
        rest = [value for other, value in enumerate(node.values) if other != index]
        yield "operand dropped", node, _expression(rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest))


def _of_arithmetic(node: ast.BinOp | ast.AugAssign) -> Iterator[Change]:
    sides = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.value,)
    text = any(isinstance(side, ast.JoinedStr) or _is_text(side) for side in sides)
    other = ARITHMETIC.get(type(node.op))
    if other is None or text:
        return
    changed = copy.deepcopy(node)
    changed.op = other()
    yield "arithmetic", node, _expression(changed) if isinstance(changed, ast.expr) else ast.unparse(changed)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


def _of_constant(node: ast.Constant) -> Iterator[Change]:
    match node.value:
        case bool():
            yield "constant", node, repr(not node.value)
        case int():
            yield "constant", node, repr(node.value + 1)
        case float():
            yield "constant", node, repr(node.value * 1.5 if node.value else 1.0)
        case _:
            return


def _of_call(node: ast.Call) -> Iterator[Change]:
    for index, keyword in enumerate(node.keywords):
        if keyword.arg in ASSERTIONS:
            continue
        changed = copy.deepcopy(node)
        del changed.keywords[index]
        yield "keyword argument dropped", node, _expression(changed)
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in SYMMETRIC:
        return
    for index in range(len(node.args) - 1):
        first, second = node.args[index : index + 2]
        if not isinstance(first, ast.Starred) and not isinstance(second, ast.Starred):
            changed = copy.deepcopy(node)
            changed.args[index : index + 2] = second, first
            yield "arguments swapped", node, _expression(changed)
    if name in {"get", "pop", "setdefault"} and node.args and _is_text(node.args[0]):
        yield "constant", node.args[0], repr(node.args[0].value + "_")


def _of_dict(node: ast.Dict) -> Iterator[Change]:
    for index, key in enumerate(node.keys):
        changed = copy.deepcopy(node)
        del changed.keys[index], changed.values[index]
        yield "item dropped", node, _expression(changed)
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield "constant", key, repr(key.value + "_")


def _of_display(node: ast.Tuple | ast.List | ast.Set) -> Iterator[Change]:
    if isinstance(node, ast.Tuple | ast.List) and not isinstance(node.ctx, ast.Load):
        return
    for index in range(len(node.elts)):
        changed = copy.deepcopy(node)
        del changed.elts[index]
        if changed.elts or not isinstance(node, ast.Set):
            yield (
                "item dropped",
                node,
                f"({ast.unparse(changed)})" if isinstance(node, ast.Tuple) else ast.unparse(changed),
            )
