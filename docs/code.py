"""Write docs/code.md: every module with its one idea, in the order of the layers.

The layers are those that import-linter checks (pyproject.toml), the ideas the modules' own first
lines: `python docs/code.py`.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEAD = """# The map of the code

The packages from top to bottom, each with its modules. A package imports only packages below it,
which `make lint` checks, and policies alone import the facade `collab`. Start with
`collab/episode/engine.py`; it is read in one sitting.
"""
TAIL = """## Outside the package

| folder | what it holds |
|---|---|
| `policies/` | the policies; `collab/policies` is a symlink to it |
| `conf/` | one file a choice; `collab.conf` when installed |
| `examples/` | a policy and a package of one's own |
| `benchmarks/` | speed, as ratios within one run; verdicts |
| `tests/` | the tests |
"""


def page() -> str:
    """Return what docs/code.md is to hold."""
    sections = (_section(ROOT / "collab" / name) for name in layers())
    return "\n".join([HEAD, *sections, TAIL])


def layers() -> list[str]:
    """Return the packages of `collab` from top to bottom."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (found,) = (c for c in config["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    return [name.strip() for layer in found["layers"] for name in layer.split("|")]


def _section(path: Path) -> str:
    if not path.is_dir():
        path = path.with_suffix(".py")
        return f"## `{_name(path)}`\n\n{_idea(path)}.\n"
    rows = (f"| `{_name(module)}` | {_idea(module)} |" for module in _modules(path))
    lines = [f"## `{_name(path)}/`", "", f"{_idea(path / '__init__.py')}.", ""]
    return "\n".join([*lines, "| module | its one idea |", "|---|---|", *rows, ""])


def _modules(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            yield path
    for inner in sorted(folder.glob("*/__init__.py")):
        yield inner
        yield from _modules(inner.parent)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _idea(module: Path) -> str:
    said = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    first = " ".join(said.split("\n\n")[0].split())
    return first.rstrip(".").replace("|", "\\|")


if __name__ == "__main__":
    (ROOT / "docs" / "code.md").write_text(page(), encoding="utf-8")
