"""Write docs/code.md: every module with its purpose, in the order of the layers.

The layers come from import-linter's contracts (pyproject.toml), the purposes from the first lines
of the modules' docstrings. Run `python docs/code.py`.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEAD = """# The map of the code

This page lists the packages from top to bottom, each with its modules. A package imports only
packages below it; `make lint` checks that. Only policies import the facade `collab`. Start with
`collab/episode/engine.py`, which you can read in one sitting.
"""
TAIL = """## Outside the package

| folder | content |
|---|---|
| `policies/` | the policies; `collab/policies` is a symlink to it |
| `conf/` | the settings, one file per option; `collab.conf` when installed |
| `examples/` | a policy, and a package with a policy and a scenario |
| `benchmarks/` | measurements of speed, as ratios within one run, and of verdicts |
| `tests/` | the tests |
"""


def page() -> str:
    """Return the content of docs/code.md."""
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
        return f"## `{_name(path)}`\n\n{_purpose(path)}.\n"
    rows = (f"| `{_name(module)}` | {_purpose(module)} |" for module in _modules(path))
    lines = [f"## `{_name(path)}/`", "", f"{_purpose(path / '__init__.py')}.", ""]
    return "\n".join([*lines, "| module | purpose |", "|---|---|", *rows, ""])


def _modules(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            yield path
    for inner in sorted(folder.glob("*/__init__.py")):
        yield inner
        yield from _modules(inner.parent)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _purpose(module: Path) -> str:
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    first = " ".join(docstring.split("\n\n")[0].split())
    return first.rstrip(".").replace("|", "\\|")


if __name__ == "__main__":
    (ROOT / "docs" / "code.md").write_text(page(), encoding="utf-8")
