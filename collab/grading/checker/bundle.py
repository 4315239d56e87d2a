"""Join the modules of the checker to one program, which a sandbox runs."""

from functools import cache
from importlib.resources import files

PACKAGE = "collab.grading.checker"
MODULES = (
    *("kinds", "lent", "in_place", "flow", "handle", "like", "errors", "objects", "coder"),
    *("peer", "program", "numbers", "inside", "blame", "suites", "start"),
)
"""The modules, each after those that it imports."""
LOADER = """
import sys
for name in ("collab", "collab.grading", {package!r}):
    sys.modules[name] = type(sys)(name)
    sys.modules[name].__path__ = []
for name, text in {sources!r}:
    module = sys.modules[name] = type(sys)(name)
    exec(compile(text, name, "exec"), vars(module))
sys.modules["{package}.start"].main()
"""


@cache
def bundle() -> str:
    """Return the program."""
    folder = files(PACKAGE)
    sources = [
        (f"{PACKAGE}.{name}", folder.joinpath(f"{name}.py").read_text("utf-8")) for name in MODULES
    ]
    return LOADER.format(package=PACKAGE, sources=sources)
