"""One suite of tests, and whether its failure may be no fault of the program's.

An assertion that fails because something could not be carried over is excused, and the tests go
on: a plain wrong result after it still counts.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

from collab.grading.checker.inside import PATCHES, WORDS, OwnFunctions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXCUSE = "excuse"
ERROR = "failed assertion"
METHODS = frozenset(name for kind in (list, dict, set, str, bytes) for name in dir(kind))


class Suite:
    """A suite of tests."""

    def __init__(self, name: str, text: str) -> None:
        self.text = text
        self.file = f"tests {name}"
        self._tree = ast.parse(text)
        self._statements = [node for node in ast.walk(self._tree) if isinstance(node, ast.stmt)]
        asserted = [node for node in self._statements if isinstance(node, ast.Assert)]
        self._asserted = [(node.test, ast.unparse(node.test)) for node in asserted]
        tree = _Excusing().visit(OwnFunctions().visit(ast.parse(text)))
        self.code = compile(ast.fix_missing_locations(tree), self.file, "exec")

    def line(self, number: int) -> str:
        """Return a line of it."""
        lines = self.text.splitlines()
        return lines[number - 1].strip()[:300] if 0 < number <= len(lines) else ""

    def is_excused(self, number: int, noted: set[int]) -> bool:
        """Return whether the statement of a line uses what could not be carried over."""
        if not noted:
            return False
        lost: set[str] = set()
        before = -1
        while len(lost) != before:
            before = len(lost)
            for node in self._statements:
                if _lines(node) & noted or _loaded(node) & lost:
                    lost |= _stored(node)
        return any(
            _lines(node) & noted or _loaded(node) & lost
            for node in self._statements
            if number in _lines(node)
        )

    def looks_inside(self, number: int) -> bool:
        """Return whether the statement of a line looks into an object."""
        return any(
            WORDS.search(ast.unparse(part))
            for node in self._statements
            if number in _lines(node)
            for part in _parts(node)
        )

    def raises_on_purpose(self, number: int) -> bool:
        """Return whether a line raises in a `with` block, whatever the program does."""
        return any(
            number in _lines(one) and _is_sure_to_raise(one)
            for node in self._statements
            if isinstance(node, ast.With | ast.AsyncWith)
            for one in node.body
        )

    def patches(self) -> bool:
        """Return whether it changes modules, which the program's process does not see."""
        return PATCHES.search(self.text) is not None

    def is_literal(self, taken: set[str]) -> bool:
        """Return whether all that it asserts is a comparison with what names nothing.

        Args:
            taken: The names that it takes from the program.
        """
        compared: list[ast.expr] = []
        for test, _ in self._asserted:
            both = isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And)
            compared += test.values if both else [test]  # type: ignore[attr-defined]
        ours = {one.id for one in ast.walk(self._tree) if isinstance(one, ast.Name)} - taken
        return bool(compared) and all(_is_literal(one, ours) for one in compared)


class _Excusing(ast.NodeTransformer):
    """Ask for an excuse where an assertion fails."""

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        ask = ast.Call(ast.Name(EXCUSE, ast.Load()), [ast.Constant(node.lineno)], [])
        handler = ast.ExceptHandler(ast.Name(ERROR, ast.Load()), None, [ast.Expr(ask)])
        return ast.copy_location(ast.Try([node], [handler], [], []), node)


def _parts(node: ast.stmt) -> Iterator[ast.AST]:
    """Yield the parts of a statement that are no statements."""
    for part in ast.iter_child_nodes(node):
        if not isinstance(part, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield part


def _lines(node: ast.stmt) -> set[int]:
    """Return the lines of a statement, without those of the statements in it."""
    inner = [one.lineno for one in ast.walk(node) if isinstance(one, ast.stmt) and one is not node]
    end = min([*inner, (node.end_lineno or node.lineno) + 1])
    return set(range(node.lineno, max(end, node.lineno + 1)))


def _names(node: ast.stmt) -> Iterator[ast.Name]:
    for part in _parts(node):
        yield from (one for one in ast.walk(part) if isinstance(one, ast.Name))


def _loaded(node: ast.stmt) -> set[str]:
    return {one.id for one in _names(node) if isinstance(one.ctx, ast.Load)}


def _stored(node: ast.stmt) -> set[str]:
    """Return the names that a statement gives a value, or changes by a method or an item."""
    stored = {one.id for one in _names(node) if isinstance(one.ctx, ast.Store)}
    targets: list[Any] = list(getattr(node, "targets", []))
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        targets.append(node.value.func)
    for target in targets:
        while isinstance(target, ast.Attribute | ast.Subscript):
            target = target.value
            if isinstance(target, ast.Name):
                stored.add(target.id)
    return stored


def _is_sure_to_raise(node: ast.stmt) -> bool:
    plain = isinstance(node, ast.Expr) and all(hasattr(builtins, name) for name in _loaded(node))
    return isinstance(node, ast.Raise) or plain


def _is_literal(one: ast.expr, ours: set[str]) -> bool:
    """Return whether a comparison is one of identity, or of one result with a literal."""
    if not isinstance(one, ast.Compare) or len(one.comparators) != 1:
        return False
    left, right = one.left, one.comparators[0]
    if isinstance(one.ops[0], ast.Is):
        return _is_result(left, ours) and _is_result(right, ours)
    return any(
        not any(isinstance(node, ast.Name) for node in ast.walk(expected))
        and _is_result(found, ours)
        and not (isinstance(found, ast.Call) and type(getattr(expected, "value", None)) is bool)
        for expected, found in ((left, right), (right, left))
    )


def _is_result(node: ast.expr, ours: set[str]) -> bool:
    """Return whether an expression reads one thing, and compares nothing itself.

    A function of the tests or of Python, and a method of its collections, takes one thing at most.
    """
    match node:
        case ast.Name() | ast.Constant():
            return True
        case ast.Attribute(value=value) | ast.Starred(value=value):
            return _is_result(value, ours)
        case ast.Subscript(value=value, slice=item):
            calls = any(isinstance(part, ast.Call | ast.Compare) for part in ast.walk(item))
            return _is_result(value, ours) and not calls
        case ast.Call(func=function, args=args, keywords=named):
            parts = [*args, *(one.value for one in named)]
            free = all(_is_result(one, ours) for one in parts)
            match function:
                case ast.Name(id=name):
                    return free and (len(parts) < 2 or name not in ours)
                case ast.Attribute(value=value, attr=name):
                    return _is_result(value, ours) and free and (not parts or name not in METHODS)
    return not any(isinstance(part, ast.Name) for part in ast.walk(node))
