"""Functions that look into an object: `type`, `callable` and those of `dataclasses`."""

from __future__ import annotations

import ast
import re

from collab.grading.checker.flow import on
from collab.grading.checker.handle import is_handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

OURS = {"type": "type of", "callable": "is callable"}
"""The names under which tests call them; no program can define a name with a space."""
FIELDS = ("asdict", "astuple", "fields", "replace", "is_dataclass")
WORDS = re.compile(
    r"\b(inspect\.|pickle\.|iscoroutine|isgenerator|getsizeof|dir\(|case )"
    r"|__(?!name|qualname|class|dict|doc|module|bases|mro|slots|annotations)\w+__"
)
"""What says that a statement looks into an object in another way."""
PATCHES = re.compile(r"\bpatch(\.object|\.dict)?\((?!\s*['\"](builtins\.(input|print)|sys\.std))")
"""What changes something in the tests' process that the program does not see."""


class OwnFunctions(ast.NodeTransformer):
    """Let tests call these functions instead of the builtin ones."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Rename the function of a call with one argument."""
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in OURS and len(node.args) == 1:
            node.func.id = OURS[node.func.id]
        return node


def functions() -> dict[str, Callable[..., Any]]:  # any: whatever they find
    """Return the functions by name."""
    return {"type of": _type_of, "is callable": _is_callable}


def guard(text: str) -> None:
    """Let the functions of `dataclasses` see the program's objects, if tests name them."""
    if "dataclasses" in text:
        import dataclasses

        for name in FIELDS:
            setattr(dataclasses, name, _looking(name, getattr(dataclasses, name)))


def _type_of(it: Any) -> Any:  # any: an object, and its class
    return it.__class__ if is_handle(it) else type(it)


def _is_callable(it: object) -> bool:
    return on(it, "callable") is True if is_handle(it) else callable(it)


def _looking(name: str, ours: Callable[..., Any]) -> Callable[..., Any]:  # any: as `dataclasses`
    if ours.__module__ == __name__:
        return ours

    def look(it: Any, **named: Any) -> Any:
        return on(it, "look", name, named) if is_handle(it) else ours(it, **named)

    return look
