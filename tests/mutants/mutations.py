"""From a source file to its mutants.

A mutant is one function with one change, compiled: it is put into a running process and never written to a file.
"""

import ast
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Final

__all__ = ["FunctionId", "Mutant", "mutants"]

FunctionId = tuple[str, str, int]
"""File, qualified name and first line of a function: where live functions and code objects meet."""

_CONDITIONS: Final = ((ast.If, "test"), (ast.IfExp, "test"), (ast.While, "test"), (ast.comprehension, "ifs"))
"""Where an expression decides whether something happens."""
_COVERED: Final = (ast.BoolOp, ast.UnaryOp, ast.Assert)
"""Parents of a comparison that have changes of their own, or are no guard."""


@dataclass(frozen=True)
class Mutant:
    """One change of one function.

    Attributes
    ----------
    function
        The outermost function around the change, with the names of its classes.
    what
        The change, in a line.
    occurrence
        1, or higher where the same change is possible at several places of the function.
    digest
        Of the function without the change.
    code
        The function with the change.
    """

    path: Path
    line: int
    function: str
    what: str
    occurrence: int
    digest: str
    code: CodeType

    @property
    def id(self) -> FunctionId:
        """Say which function it changes."""
        return (str(self.path), self.function, self.code.co_firstlineno)

    def key(self, root: Path) -> str:
        """Return what names it in a list, whatever its line: file, function, change, occurrence."""
        again = f" #{self.occurrence}" if self.occurrence > 1 else ""
        return f"{self.path.relative_to(root)}: {self.function}: {self.what}{again}"


@dataclass(frozen=True)
class _Place:
    """Where an expression stands: a field of its parent, or an item of one that is a list."""

    parent: ast.AST
    field: str
    index: int | None
    node: ast.expr
    function: ast.AST
    qualified: str

    def put(self, node: ast.expr) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def mutants(path: Path) -> Iterator[Mutant]:
    """Yield every mutant of a file in the order of its lines. What stands outside of functions is not changed."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    seen: Counter[tuple[str, str]] = Counter()
    for place in sorted(_places(tree), key=lambda one: (one.node.lineno, one.node.col_offset)):
        for what, new in _changes(place):
            place.put(ast.fix_missing_locations(ast.copy_location(new, place.node)))
            code = _code_of(compile(tree, str(path), "exec"), place)
            place.put(place.node)
            seen[place.qualified, what] += 1
            occurrence = seen[place.qualified, what]
            yield Mutant(path, place.node.lineno, place.qualified, what, occurrence, _digest(place.function), code)


def _places(
    node: ast.AST, names: tuple[str, ...] = (), function: ast.AST | None = None, qualified: str = ""
) -> Iterator[_Place]:
    """Yield every expression inside of a function."""
    if function is None and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        names = (*names, node.name)
        if not isinstance(node, ast.ClassDef):
            function, qualified = node, ".".join(names)
    for field, value in ast.iter_fields(node):
        for index, child in enumerate(value) if isinstance(value, list) else ((None, value),):
            if not isinstance(child, ast.AST):
                continue
            # Decorators and defaults of a function belong to what is around it.
            inside = node is not function or field == "body"
            if isinstance(child, ast.expr) and function is not None and inside:
                yield _Place(node, field, index, child, function, qualified)
            if inside or function is None:
                yield from _places(child, names, function, qualified)


def _changes(place: _Place) -> Iterator[tuple[str, ast.expr]]:
    """Yield what an expression can be replaced by, with the change in words."""
    node, parent = place.node, place.parent
    condition = any(isinstance(parent, kind) and place.field == field for kind, field in _CONDITIONS)
    if condition and not isinstance(node, ast.Constant):
        for value in (True, False):
            yield f"`if {_short(node)}` is always {value}", ast.Constant(value)
    if isinstance(node, ast.BoolOp):
        word = "and" if isinstance(node.op, ast.And) else "or"
        for index, operand in enumerate(node.values):
            rest = [value for position, value in enumerate(node.values) if position != index]
            new = rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
            yield f"without `{word} {_short(operand)}`", new
    elif not condition and not isinstance(parent, _COVERED):
        if isinstance(node, ast.Compare):
            yield f"`{_short(node)}` is inverted", ast.UnaryOp(ast.Not(), node)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield f"`{_short(node)}` is inverted", node.operand


def _digest(function: ast.AST) -> str:
    return hashlib.sha256(ast.unparse(function).encode()).hexdigest()[:12]


def _code_of(module: CodeType, place: _Place) -> CodeType:
    """Return the code of the function around a place."""
    assert isinstance(place.function, ast.FunctionDef | ast.AsyncFunctionDef)
    first = min(node.lineno for node in (place.function, *place.function.decorator_list))
    waiting = [module]
    while waiting:
        code = waiting.pop()
        if (code.co_qualname, code.co_firstlineno) == (place.qualified, first):
            return code
        waiting += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    raise LookupError(f"no code of {place.qualified} in line {first}")


def _short(node: ast.expr) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else f"{text[:87]}..."
