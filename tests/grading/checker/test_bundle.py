import subprocess
import sys
from pathlib import Path

import collab.grading.checker as package
from collab.grading.checker.bundle import MODULES, bundle


def test_the_bundle_holds_every_module_that_runs_in_the_sandbox() -> None:
    there = {path.stem for path in Path(package.__path__[0]).glob("*.py")}
    assert sorted(MODULES) == sorted(there - {"__init__", "bundle"})


def test_the_bundle_runs_without_the_package(tmp_path: Path) -> None:
    job = (
        '{"program": "f = int", "entry": "f", "before": "", "suites": {"base": "assert f(1) == 1"}}'
    )
    command = [sys.executable, "-I", "-S", "-c", bundle()]
    ran = subprocess.run(command, input=job, capture_output=True, text=True, cwd=tmp_path)
    assert (ran.stdout, ran.stderr) == ('{"suites": {"base": null}}\n', "")
