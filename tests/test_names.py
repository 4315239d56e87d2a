"""The names of the code."""

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]


def classes(module: Path) -> list[str]:
    """Return the public classes and type aliases that a module defines; a type variable is none."""
    found = []
    for node in ast.parse(module.read_text("utf-8")).body:
        match node:
            case ast.ClassDef(name=name):
                found.append(name)
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if not typevar(value):
                found.append(name)
    return [name for name in found if name[0].isupper() and not name.isupper()]


def typevar(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func) in ("TypeVar", "ParamSpec")


def test_no_public_class_name_is_there_twice() -> None:
    homes = defaultdict[str, list[str]](list)
    for folder in ("collab", "policies"):
        for module in (ROOT / folder).rglob("*.py"):
            if (ROOT / "collab" / "policies") not in module.parents:
                for name in classes(module):
                    homes[name].append(str(module.relative_to(ROOT)))
    twice = {name: modules for name, modules in homes.items() if len(modules) > 1}
    assert not twice
