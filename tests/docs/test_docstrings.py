"""Examples in docstrings run, in what they take for granted."""

import ast
import doctest
import importlib
import re
from pathlib import Path
from textwrap import dedent, indent

import pytest

import collab
from collab.runs.run_folder import RunFolder
from collab.scenarios.base import Scenario
from tests.docs.pages import ROOT, Step
from tests.docs.reader import Reader

CODE = re.compile(
    r"^( *)(?:import collab|from collab import|from collab\.\w+ import|async with).*"
    r"(?:\n(?: *\n)*\1.+)*",
    re.M,
)
POLICY = """\
from collab import Decision, Settings, Stop, View

class MyPolicy(Settings):
    patience: int

    async def decide(self, view: View) -> Decision:
        return Stop("enough")

{code}
test_my_policy_keeps_its_contract()
"""
SERVER = """\
import asyncio
import httpx2
from collab.endpoints.scripted import ScriptedServer

async def main():
{code}

asyncio.run(main())
"""
CLIENT = """\
async with httpx2.AsyncClient(base_url=server.url) as client:
        await client.post("/v1/completions", json={"prompt": "What is 2+2?", "stop": ["."]})"""
AROUND = {
    "collab/app/plan.py": "{code}",
    "collab/app/plan_sweep.py": "{code}",
    "collab/app/play.py": "{code}",
    "collab/app/run.py": "{code}",
    "collab/app/sweep.py": "{code}",
    "collab/report/notebook.py": "{code}",
    "collab/testing/__init__.py": POLICY,
    "collab/endpoints/scripted/__init__.py": SERVER,
}
"""What stands around the code of each module's example."""
EXPLAINED = (
    "Policy View Write Insert Edit Rewind Branch Fork Choose Close Stop Boundary Sentence "
    "Paragraph Tokens Words Tag Regex End Answer Share Length Condition Trajectory Unit Recording "
    "Question Message Settings Scenario"
)
"""Public protocols and values whose docstrings show how they are used."""
HOMES = (getattr(getattr(collab, name), "__module__", "") for name in collab.__all__)
PUBLIC = sorted({*(home for home in HOMES if home.startswith("collab.")), Scenario.__module__})
"""The modules of the public names, and of the protocol of scenarios."""
DEMO = "collab run twin=recoverability_small questions.count=4 budget=400 name=demo"


def examples() -> dict[str, str]:
    """Return the code in docstrings, by module."""
    found = {}
    for path in sorted((ROOT / "collab").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                said = CODE.search(ast.get_docstring(node) or "")
                if said and "policies" not in path.parts:
                    found[str(path.relative_to(ROOT))] = dedent(said[0])
    return found


def test_every_docstring_with_an_example_is_tried() -> None:
    assert sorted(examples()) == sorted(AROUND)


@pytest.mark.parametrize("name", EXPLAINED.split())
def test_a_public_value_shows_an_example(name: str) -> None:
    shown = getattr(collab, name, Scenario).__doc__
    assert ">>> " in (shown or "")


@pytest.mark.parametrize("module", PUBLIC)
def test_the_examples_of_a_public_module_give_what_they_show(module: str) -> None:
    names = {"__name__": "example"}  # an example imports all that it uses
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(verbose=False)
    said: list[str] = []
    for example in finder.find(importlib.import_module(module), globs=names):
        runner.run(example, out=said.append)
    assert not runner.summarize(verbose=False).failed, "".join(said)


@pytest.mark.long
@pytest.mark.usefixtures("launched")
@pytest.mark.parametrize("module", AROUND)
def test_the_example_of_a_docstring_runs(module: str, tmp_path: Path) -> None:
    reader = Reader(tmp_path, "")
    code = examples()[module]
    if "runs/demo" in code:
        reader.do(Step("command", DEMO))
    if "middle-…" in code:
        (some, *_) = (path for path in tmp_path.glob("runs/demo/*") if path.is_dir())
        code = code.replace("middle-…/steer", next(iter(RunFolder(some).scores())))
    if AROUND[module] is SERVER:
        code = indent(re.sub(r"\.\.\.  #.*", CLIENT, code), "    ")
    reader.do(Step("session", AROUND[module].format(code=code)))
    assert not reader.faults, "".join(map(str, reader.faults))
