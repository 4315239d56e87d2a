"""The map of the code is the code's own."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def test_the_map_names_every_module_once_in_the_order_of_the_layers() -> None:
    spec = importlib.util.spec_from_file_location("code_map", DOCS / "code.py")
    assert spec is not None
    assert spec.loader is not None
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    written = (DOCS / "code.md").read_text(encoding="utf-8")
    assert written == code.page(), "docs/code.md is out of date: python docs/code.py"
    modules = {
        path.relative_to(DOCS.parent).as_posix() for path in code.ROOT.glob("collab/**/*.py")
    }
    named = [line.split("`")[1] for line in written.splitlines() if line.startswith("| `collab/")]
    assert len(named) == len(set(named))
    top = {f"collab/{name}" for name in ("__init__.py", "__main__.py", "errors.py")}
    packages = {f"collab/{name}/__init__.py" for name in code.layers()}
    assert modules - set(named) - packages == top
