"""From a source file to its mutants."""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Mutant", "mutants"]


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes
    ----------
    what
        The change, in a line.
    source
        The whole file with the change.
    """

    path: Path
    line: int
    what: str
    source: str

    def __str__(self) -> str:
        """Return where and what."""
        return f"{self.path.name}:{self.line}: {self.what}"


def mutants(path: Path) -> Iterator[Mutant]:
    """Yield every mutant of a file, in the order of its lines."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [(node, change) for node in ast.walk(tree) for change in _changes(node)]
    for node, (what, new) in sorted(found, key=lambda pair: pair[0].lineno):  # type: ignore[attr-defined]
        line = node.lineno  # type: ignore[attr-defined]
        yield Mutant(path, line, what, ast.unparse(_replaced(tree, node, new)))


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Yield what a condition or a boolean operation can be replaced by."""
    if isinstance(node, ast.If | ast.IfExp) and not isinstance(node.test, ast.Constant):
        for value in (True, False):
            yield f"`if {_short(node.test)}` is always {value}", ast.Constant(value)
    if isinstance(node, ast.BoolOp):
        word = "and" if isinstance(node.op, ast.And) else "or"
        for index, operand in enumerate(node.values):
            rest = [value for position, value in enumerate(node.values) if position != index]
            new = rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
            yield f"without `{word} {_short(operand)}`", new


def _replaced(tree: ast.Module, node: ast.AST, new: ast.expr) -> ast.Module:
    """Return a copy of the tree in which the condition of ``node``, or ``node`` itself, is ``new``."""
    memo: dict[int, object] = {}
    changed = copy.deepcopy(tree, memo)
    twin = memo[id(node)]
    if isinstance(twin, ast.If | ast.IfExp):
        twin.test = new
        return changed
    for parent in ast.walk(changed):
        for name, value in ast.iter_fields(parent):
            if value is twin:
                setattr(parent, name, new)
            elif isinstance(value, list) and any(item is twin for item in value):
                setattr(parent, name, [new if item is twin else item for item in value])
    return changed


def _short(node: ast.expr) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 90 else f"{text[:87]}..."
